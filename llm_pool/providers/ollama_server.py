"""An Ollama server beside its chats: which models it has, what they can do, and whether one can answer now."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from llm_pool.core.errors import ProviderError
from llm_pool.core.messages import ModelFacts, ProviderState
from llm_pool.providers.capabilities import ONLY_EMBEDS, from_ollama, with_shown
from llm_pool.providers.model_names import full_name, is_cloud_name
from llm_pool.providers.replies import decode, listed_models
from llm_pool.providers.transport import Backend

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_pool.core.messages import Condition, Json
    from llm_pool.providers.transport import TlsFiles, Transport

WARM_HINT: Final = "llm-pool health --warm"


class OllamaServer:
    """
    A server, for all who ask it.

    Args:
        name: what errors call it: a provider's name.
        base_url: e.g. ``http://127.0.0.1:11434``.
        transport: shared.
        headers: sent with every request; for a proxy in front of Ollama.
        tls: files for an https address.
    """

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        transport: Transport,
        headers: Mapping[str, str] | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        self.backend = Backend(name, base_url, headers=headers, hint="ollama serve", tls=tls)
        self._transport = transport

    async def models(self) -> tuple[ModelFacts, ...]:
        """The models on its disk, with *loaded* where it says; raises ProviderError."""
        listed, loaded = await asyncio.gather(self.listed(), self.loaded_or_none())
        return tuple(map(from_ollama, listed)) if loaded is None else _with_loaded(listed, loaded)

    async def listed(self) -> list[dict[str, Any]]:
        """``/api/tags`` as it is; raises ProviderError."""
        return await self._models_at("/api/tags")

    async def loaded(self) -> dict[str, ModelFacts]:
        """The models in its memory by their full names; raises ProviderError where it does not say."""
        facts = map(from_ollama, await self._models_at("/api/ps"))
        return {full_name(one.name): one for one in facts}

    async def loaded_or_none(self) -> dict[str, ModelFacts] | None:
        """As ``loaded``; None where the server does not say, as proxies and imitations of Ollama do not."""
        with suppress(ProviderError):
            return await self.loaded()
        return None

    async def shown(self, model: str) -> Json:
        """What ``/api/show`` says of *model*, None where it says nothing of use."""
        with suppress(ProviderError):
            reply = await self._transport.request(
                self.backend, "POST", "/api/show", msgspec.json.encode({"model": model})
            )
            if reply.status == 200:
                return decode(self.backend, reply.body, dict[str, Any])
        return None

    async def state(self, model: str) -> ProviderState:
        """Whether *model* can answer; raises ProviderError where the server cannot be asked."""
        listed, loaded, shown = await asyncio.gather(self.listed(), self.loaded_or_none(), self.shown(model))
        wanted = full_name(model)
        known = {full_name(facts.name): facts for facts in map(from_ollama, listed)}
        facts = known.get(wanted)
        in_memory = tuple(loaded or ())
        if facts is None:
            if is_cloud_name(model):
                return self._state(model, "healthy", "runs in Ollama's cloud, and is not listed here", "", in_memory)
            return self._state(
                model, "model_missing", f"{model} is not pulled", f"llm-pool models pull {model}", in_memory
            )
        facts = with_shown(_merged(facts, loaded), shown)
        condition, detail, hint = _judged(model, facts)
        return self._state(model, condition, detail, hint, in_memory, facts)

    def _state(
        self,
        model: str,
        condition: Condition,
        detail: str,
        hint: str,
        loaded: Sequence[str],
        facts: ModelFacts | None = None,
    ) -> ProviderState:
        return ProviderState(
            name=self.backend.name,
            model=model,
            condition=condition,
            detail=detail,
            hint=hint,
            loaded=tuple(loaded),
            facts=facts,
        )

    async def _models_at(self, path: str) -> list[dict[str, Any]]:
        return listed_models(self.backend, await self._transport.request(self.backend, "GET", path), path)


def _judged(model: str, facts: ModelFacts) -> tuple[Condition, str, str]:
    """Condition, detail and hint by what is known of a model that is there."""
    if not facts.can_chat:
        return "failing", f"{model} {ONLY_EMBEDS}", ""
    if facts.remote:
        return "healthy", "runs in Ollama's cloud", ""
    if facts.loaded is False:
        return "warming", "not loaded yet", WARM_HINT
    return "healthy", "", ""


def _merged(facts: ModelFacts, loaded: Mapping[str, ModelFacts] | None) -> ModelFacts:
    """*facts* with what memory shows: whether it is there, and with what context."""
    if loaded is None:
        return facts
    running = loaded.get(full_name(facts.name))
    if running is None:
        return msgspec.structs.replace(facts, loaded=False)
    return msgspec.structs.replace(facts, loaded=True, context=running.context or facts.context)


def _with_loaded(listed: Sequence[dict[str, Any]], loaded: Mapping[str, ModelFacts]) -> tuple[ModelFacts, ...]:
    return tuple(_merged(from_ollama(one), loaded) for one in listed)

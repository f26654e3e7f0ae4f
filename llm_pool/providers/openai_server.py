"""An OpenAI-shaped server beside its chats: which models it has, and whether one of them can answer now."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from llm_pool.core.errors import Loading, ProviderError
from llm_pool.core.messages import ModelFacts, ProviderState
from llm_pool.providers.capabilities import ONLY_EMBEDS, entries, from_openai, name_of, with_props
from llm_pool.providers.replies import decode, error_for, listed_models
from llm_pool.providers.transport import Backend

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_pool.core.messages import Condition
    from llm_pool.providers.transport import Reply, TlsFiles, Transport

Kind: TypeAlias = Literal["llama-server", "router", "llama-swap", "lm-studio", "other"]
"""Servers that say more than the common API: a llama-server with one model, and those that load on demand."""

ON_DEMAND: Final = frozenset({"router", "llama-swap", "lm-studio"})
WARM_HINT: Final = "llm-pool health --warm"
_WAIT_HINT: Final = "llm-pool health --wait 60s"
_NOT_TOLD: Final = frozenset({404, 405, 501})
"""Statuses of a server that does not say which models it has."""
_SHOWN: Final = 5


class Catalogue(msgspec.Struct, frozen=True):
    """
    What a server has.

    Attributes:
        kind: who it is, as its list of models shows.
        models: in its order; empty where it does not say.
        aliases: other names of a model.
        troubles: why a model cannot be loaded, by its name.
        owners: whom the models belong to, by its list; empty where that does not say it of each, as every list of an
            OpenAI-shaped server does.
    """

    kind: Kind = "other"
    models: tuple[ModelFacts, ...] = ()
    aliases: dict[str, str] = {}
    troubles: dict[str, str] = {}
    owners: frozenset[str] = frozenset()

    def find(self, model: str) -> ModelFacts | None:
        """The model called *model*. A llama-server with one model answers to every name."""
        if self.kind == "llama-server":
            return self.models[0] if self.models else None
        name = self.aliases.get(model, model)
        return next((facts for facts in self.models if facts.name == name), None)


class OpenAIServer:
    """
    A server under the address that its providers share.

    Args:
        name: what errors call it: a provider's name.
        base_url: as in the configuration; ``/v1`` is added to an address without a path.
        transport: shared.
        headers: sent with every request.
        hint: what a person can do when nobody listens.
        tls: files for an https address.

    Attributes:
        backend: the server's root, above ``/v1``.
        api: the path of the API below it.
    """

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        transport: Transport,
        headers: Mapping[str, str] | None = None,
        hint: str = "",
        tls: TlsFiles | None = None,
    ) -> None:
        address = base_url.rstrip("/")
        root = address.removesuffix("/v1")
        self.api = "/v1" if root != address or not urlsplit(address).path else ""
        self.backend = Backend(name, root, headers=headers, hint=hint, tls=tls)
        self._transport = transport

    async def catalogue(self) -> Catalogue:
        """
        The models it has.

        Raises:
            ProviderError: it cannot be asked, or answers with something else.
        """
        reply = await self._get(f"{self.api}/models")
        if reply.status in _NOT_TOLD:
            return Catalogue()
        listed = listed_models(self.backend, reply, f"{self.api}/models")
        owners = _owners(listed)
        kind = _kind(listed, owners)
        if kind == "lm-studio":
            listed = await self._more("/api/v0/models", listed)
        models = tuple(map(from_openai, listed))
        if kind == "llama-server":
            props = await self._said("/props")
            models = tuple(with_props(facts, props) for facts in models)
        if kind == "llama-swap":
            models = _with_running(models, await self._running())
        return Catalogue(kind, models, _aliases(listed), _troubles(listed), owners)

    async def slots(self) -> int | None:
        """Calls that it takes at once; None where it does not say: llama-server does, others have no ``/props``."""
        return with_props(ModelFacts(name=self.backend.name), await self._said("/props")).slots

    async def state(self, model: str) -> ProviderState:
        """
        Whether *model* can answer.

        Raises:
            ProviderError: the server cannot be asked, or answers with an error.
        """
        try:
            catalogue = await self.catalogue()
            if catalogue.kind == "llama-server" and (reply := await self._get("/health")).status != 200:
                raise error_for(self.backend, reply)
        except Loading as error:
            return self._state(model, "warming", error.reason, _WAIT_HINT)
        return self._judged(model, catalogue)

    def _judged(self, model: str, catalogue: Catalogue) -> ProviderState:
        if not catalogue.models:
            return self._state(model, "healthy")
        facts = catalogue.find(model)
        if facts is None:
            return self._missing(model, catalogue)
        loaded = tuple(one.name for one in catalogue.models if one.loaded or catalogue.kind not in ON_DEMAND)
        if not facts.can_chat:
            state = self._state(model, "failing", f"{model} {ONLY_EMBEDS}", facts=facts)
        elif trouble := catalogue.troubles.get(facts.name):
            state = self._state(model, "failing", trouble, facts=facts)
        elif facts.loaded is False:
            state = self._state(model, "warming", "not loaded yet", WARM_HINT, facts)
        else:
            state = self._state(model, "healthy", facts=facts)
        return msgspec.structs.replace(state, loaded=loaded)

    def _missing(self, model: str, catalogue: Catalogue) -> ProviderState:
        names = [facts.name for facts in catalogue.models if facts.can_chat]
        near = get_close_matches(model, names, n=_SHOWN, cutoff=0.0) if len(names) > _SHOWN else names
        more = f" and {len(names) - len(near)} more" if len(names) > len(near) else ""
        detail = f"it has {', '.join(near)}{more}" if near else "it has no model that answers questions"
        return self._state(model, "model_missing", detail, f"set model of provider {self.backend.name} to one of these")

    def _state(
        self, model: str, condition: Condition, detail: str = "", hint: str = "", facts: ModelFacts | None = None
    ) -> ProviderState:
        return ProviderState(
            name=self.backend.name,
            model=model,
            condition=condition,
            detail=detail,
            hint=hint,
            loaded=(model,) if condition == "healthy" else (),
            facts=facts,
        )

    async def _get(self, path: str) -> Reply:
        return await self._transport.request(self.backend, "GET", path)

    async def _more(self, path: str, listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The list at *path*, which says more than *listed*, if the server has it."""
        try:
            return listed_models(self.backend, await self._get(path), path) or listed
        except ProviderError:
            return listed

    async def _running(self) -> frozenset[str] | None:
        """The models that llama-swap has ready now; None where it does not say."""
        running = (await self._said("/running")).get("running")
        if not isinstance(running, list):
            return None
        return frozenset(name_of(one) for one in entries(running) if one.get("state", "ready") == "ready")

    async def _said(self, path: str) -> dict[str, Any]:
        """The object at *path*; an empty one where there is none."""
        try:
            reply = await self._get(path)
            return decode(self.backend, reply.body, dict[str, Any]) if reply.status == 200 else {}
        except ProviderError:
            return {}


def _owners(listed: Sequence[dict[str, Any]]) -> frozenset[str]:
    owners = [one.get("owned_by") for one in listed]
    known = frozenset(owner for owner in owners if isinstance(owner, str))
    return known if all(isinstance(owner, str) for owner in owners) else frozenset()


def _kind(listed: Sequence[dict[str, Any]], owners: frozenset[str]) -> Kind:
    if "llamacpp" in owners:
        return "router" if any(isinstance(one.get("status"), dict) for one in listed) else "llama-server"
    if "llama-swap" in owners:
        return "llama-swap"
    return "lm-studio" if "organization_owner" in owners else "other"


def _with_running(models: Sequence[ModelFacts], running: frozenset[str] | None) -> tuple[ModelFacts, ...]:
    if running is None:
        return tuple(models)
    return tuple(msgspec.structs.replace(facts, loaded=facts.name in running) for facts in models)


def _aliases(listed: Sequence[dict[str, Any]]) -> dict[str, str]:
    return {
        alias: name_of(one)
        for one in listed
        for alias in (one.get("aliases") or () if isinstance(one.get("aliases"), list) else ())
        if isinstance(alias, str)
    }


def _troubles(listed: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Models of a router whose last load failed."""
    found = {}
    for one in listed:
        status = one.get("status")
        if isinstance(status, dict) and status.get("failed") and status.get("value") == "unloaded":
            found[name_of(one)] = f"its last load failed (exit code {status.get('exit_code', 'unknown')})"
    return found

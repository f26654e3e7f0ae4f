"""Ollama: ``/api/chat`` always streamed, and the models its server keeps."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.core.errors import Failed, ProviderError, Rejected
from llm_pool.core.messages import ModelInfo, ProviderState, PullProgress
from llm_pool.providers.chunks import ollama_chunk
from llm_pool.providers.completion import completion
from llm_pool.providers.framing import Records
from llm_pool.providers.inline_reasoning import ReasoningHabit
from llm_pool.providers.replies import chat_messages, decode, error_for, error_text, probe_state
from llm_pool.providers.transport import Backend

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from llm_pool.core.messages import Call, Delta
    from llm_pool.providers.transport import Reply, Transport

encode = msgspec.json.encode


class _Model(msgspec.Struct):
    name: str
    size: int | None = None
    digest: str = ""
    details: dict[str, Any] | None = None


class _Models(msgspec.Struct):
    models: list[_Model] | None = None


class _Step(msgspec.Struct):
    """A line of ``/api/pull``."""

    status: str = ""
    error: str | None = None
    total: int | None = None
    completed: int = 0


def full_name(model: str) -> str:
    """*model* with its tag: ``llama3.1`` means ``llama3.1:latest``."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


def ollama_backend(name: str, base_url: str, api_key: str | None = None) -> Backend:
    """An Ollama server; *api_key* is for a proxy in front of it."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else None
    return Backend(name, base_url, headers=headers, hint="ollama serve")


class OllamaProvider:
    """
    One model on an Ollama server.

    Args:
        name: the name in the configuration.
        base_url: e.g. ``http://127.0.0.1:11434``.
        model: as Ollama names it; without a tag, ``:latest`` is meant.
        transport: shared; not closed by ``aclose``.
        api_key: for a proxy in front of Ollama.
        keep_alive: how long the model stays loaded after a call: a duration such as ``30m``, or seconds, -1 for
            ever, 0 not at all; None leaves it to the server.
        context: tokens of context; None leaves it to the server, which cuts a longer prompt without a word.
    """

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        model: str,
        transport: Transport,
        api_key: str | None = None,
        keep_alive: str | int | None = None,
        context: int | None = None,
    ) -> None:
        self.name, self.model = name, model
        self._backend = ollama_backend(name, base_url, api_key)
        self._context = {} if context is None else {"num_ctx": context}
        self._transport = transport
        self._habit = ReasoningHabit(model)
        self._keep_alive: dict[str, Any] = {} if keep_alive is None else {"keep_alive": keep_alive}

    def __repr__(self) -> str:
        return f"<OllamaProvider {self.name}: {self.model} at {self._backend.authority}>"

    async def stream(self, call: Call) -> AsyncGenerator[Delta]:
        """As ``Provider.stream``."""
        body = encode(self._request_body(call))
        async with self._transport.stream(self._backend, "POST", "/api/chat", body) as response:
            if response.status == 404:
                raise _refused(self._backend, self.model, await response.read())
            async with aclosing(completion(self._backend, response, ollama_chunk, habit=self._habit)) as deltas:
                async for delta in deltas:
                    yield delta

    async def state(self) -> ProviderState:
        """As ``Provider.state``."""
        return await probe_state(self._backend, self.model, self._probe)

    async def loaded(self) -> dict[str, float]:
        """
        The models in the server's memory now, by name with tag: megabytes they take.

        Raises:
            ProviderError: the server does not say.
        """
        reply = await self._transport.request(self._backend, "GET", "/api/ps")
        return {model.name: (model.size or 0) / 1e6 for model in _listed(self._backend, reply)}

    async def load(self) -> None:
        """
        As ``Provider.load``: a request without a prompt loads the model and says nothing.

        It has the options of a call, as others would load the model anew; but not a ``keep_alive`` of 0, which unloads.
        """
        keep_alive = {} if str(self._keep_alive.get("keep_alive", "")).rstrip("hms") == "0" else self._keep_alive
        options = {"options": self._context} if self._context else {}
        body = encode({"model": self.model, "stream": False, **options, **keep_alive})
        reply = await self._transport.request(self._backend, "POST", "/api/generate", body)
        if reply.status != 200:
            raise _refused(self._backend, self.model, reply)

    async def aclose(self) -> None:
        """Nothing: the transport is shared."""

    async def _probe(self) -> ProviderState:
        reply = await self._transport.request(self._backend, "GET", "/api/tags")
        wanted = full_name(self.model)
        known = {full_name(model.name) for model in _listed(self._backend, reply)}
        loaded = await self.loaded()
        state = ProviderState(name=self.name, model=self.model, condition="healthy", loaded=tuple(loaded))
        if wanted not in known:
            return msgspec.structs.replace(
                state, condition="model_missing", detail=f"{self.model} is not pulled", hint=_pull_hint(self.model)
            )
        if wanted not in map(full_name, loaded):
            return msgspec.structs.replace(
                state, condition="warming", detail="not loaded yet", hint="llm-pool health --warm"
            )
        return state

    def _request_body(self, call: Call) -> dict[str, Any]:
        options: dict[str, Any] = {"temperature": call.temperature, **self._context}
        if call.max_tokens is not None:
            options["num_predict"] = call.max_tokens
        if call.seed is not None:
            options["seed"] = call.seed
        if call.stop:
            options["stop"] = call.stop
        question = {
            "model": self.model,
            "messages": chat_messages(call.prompt),
            "stream": True,
            "options": options,
            **self._keep_alive,
        }
        if call.schema is not None:
            question["format"] = call.schema
        if call.top_logprobs:
            question |= {"logprobs": True, "top_logprobs": call.top_logprobs}
        return question


class OllamaStore:
    """
    The models of an Ollama server, as a ModelStore.

    Args:
        name: what errors call it: a provider's name.
        base_url: e.g. ``http://127.0.0.1:11434``.
        transport: shared.
        api_key: for a proxy in front of Ollama.
    """

    def __init__(self, *, name: str, base_url: str, transport: Transport, api_key: str | None = None) -> None:
        self._backend = ollama_backend(name, base_url, api_key)
        self._transport = transport

    async def models(self) -> Sequence[ModelInfo]:
        """As ``ModelStore.models``; raises ProviderError."""
        on_disk = await self._transport.request(self._backend, "GET", "/api/tags")
        in_memory = await self._transport.request(self._backend, "GET", "/api/ps")
        loaded = {model.name for model in _listed(self._backend, in_memory)}
        return [
            ModelInfo(
                name=model.name,
                size=model.size,
                place=self._backend.authority,
                loaded=model.name in loaded,
                digest=model.digest,
                detail=model.details or {},
            )
            for model in _listed(self._backend, on_disk)
        ]

    async def pull(self, model: str) -> AsyncGenerator[PullProgress]:
        """As ``ModelStore.pull``: Ollama itself resumes, verifies and reports each layer by its digest."""
        async with self._transport.stream(self._backend, "POST", "/api/pull", encode({"model": model})) as response:
            if response.status != 200:
                raise error_for(self._backend, await response.read())
            async for batch in Records(self._backend, response):
                for record in batch:
                    step = decode(self._backend, record.data, _Step)
                    if step.error is not None:
                        raise Failed(self._backend.name, self._backend.redacted(step.error))
                    yield PullProgress(step.status, step.completed, step.total)
                    if step.status == "success":
                        return
        raise Failed(self._backend.name, f"the pull of {model} ended before it was done", hint=_pull_hint(model))

    async def show(self, model: str) -> ModelInfo:
        """As ``ModelStore.show``; *detail* is what ``/api/show`` says."""
        reply = await self._transport.request(self._backend, "POST", "/api/show", encode({"model": model}))
        if reply.status != 200:
            raise _refused(self._backend, model, reply)
        detail = decode(self._backend, reply.body, dict[str, Any])
        for known in await self.models():
            if full_name(known.name) == full_name(model):
                return msgspec.structs.replace(known, detail=detail)
        return ModelInfo(name=model, size=None, place=self._backend.authority, detail=detail)

    async def remove(self, model: str) -> None:
        """As ``ModelStore.remove``."""
        reply = await self._transport.request(self._backend, "DELETE", "/api/delete", encode({"model": model}))
        if reply.status != 200:
            raise _refused(self._backend, model, reply)


def _pull_hint(model: str) -> str:
    return f"llm-pool models pull {model}"


def _refused(backend: Backend, model: str, reply: Reply) -> ProviderError:
    if reply.status == 404:
        said = error_text(backend, reply.body)
        return Rejected(backend.name, f"404: {said}", hint=_pull_hint(model) if "not found" in said else "")
    return error_for(backend, reply)


def _listed(backend: Backend, reply: Reply) -> Sequence[_Model]:
    if reply.status != 200:
        raise error_for(backend, reply)
    return decode(backend, reply.body, _Models).models or []

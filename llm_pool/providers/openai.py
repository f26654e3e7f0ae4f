"""The OpenAI-shaped API that vLLM, llama-server, LM Studio and SGLang share: ``/v1/chat/completions``, streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.core.errors import Busy, Failed
from llm_pool.core.messages import Delta, ProviderState, TokenLogprob, Usage
from llm_pool.providers.framing import Events, Records
from llm_pool.providers.replies import chat_messages, decode, error_for, error_text, probe_state
from llm_pool.providers.transport import Backend

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from llm_pool.core.messages import Call, Condition, FinishReason
    from llm_pool.providers.transport import Transport

FINISHES: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


class _Text(msgspec.Struct):
    content: str | None = None


class _TokenLogprob(msgspec.Struct):
    token: str
    logprob: float
    top_logprobs: list[_TokenLogprob] | None = None


class _Logprobs(msgspec.Struct):
    content: list[_TokenLogprob] | None = None


class _Choice(msgspec.Struct):
    delta: _Text = msgspec.field(default_factory=_Text)
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


class _Model(msgspec.Struct):
    id: str
    owned_by: str = ""


class _Models(msgspec.Struct):
    data: list[_Model] = []


class _Props(msgspec.Struct):
    total_slots: int | None = None


class OpenAIProvider:
    """
    One model on an OpenAI-compatible server.

    Args:
        name: the name in the configuration.
        base_url: with or without ``/v1`` at its end.
        model: as the server names it. llama-server answers with the one it has, whatever is asked for.
        transport: shared; not closed by ``aclose``.
        api_key: sent as a bearer token; never shown.
        hint: what a person can do when nobody listens.
    """

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        model: str,
        transport: Transport,
        api_key: str | None = None,
        hint: str = "",
    ) -> None:
        self.name, self.model = name, model
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else None
        self._backend = Backend(name, base_url.rstrip("/").removesuffix("/v1"), headers=headers, hint=hint)
        self._transport = transport

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self.model} at {self._backend.authority}>"

    async def stream(self, call: Call) -> AsyncGenerator[Delta]:
        """As ``Provider.stream``."""
        body = msgspec.json.encode(self._request_body(call))
        async with self._transport.stream(self._backend, "POST", "/v1/chat/completions", body) as response:
            if response.status != 200:
                raise error_for(self._backend, await response.read())
            end = _End()
            async for raw in Records(self.name, response, Events()):
                if raw == b"[DONE]":
                    end.done = True
                    await response.drain()
                    break
                chunk = decode(self._backend, raw, _Chunk)
                if chunk.error:
                    raise Failed(self.name, error_text(self._backend, chunk.error))
                end.note(chunk)
                for delta in _deltas(chunk):
                    yield delta
        if not end.done and end.finish is None:
            raise Failed(self.name, "the stream ended before it was done")
        yield Delta(final=True, finish=FINISHES.get(end.finish or "", "other"), usage=end.usage)

    async def state(self) -> ProviderState:
        """As ``Provider.state``."""
        return await probe_state(self._backend, self.model, self._probe)

    async def slots(self) -> int | None:
        """
        Calls that the server takes at once; None where it does not say. llama-server does, others have no ``/props``.

        Raises:
            ProviderError: it cannot be asked.
        """
        reply = await self._transport.request(self._backend, "GET", "/props")
        return decode(self._backend, reply.body, _Props).total_slots if reply.status == 200 else None

    async def load(self) -> None:
        """Nothing to do: such a server has loaded its model before it listens, or is about to."""

    async def aclose(self) -> None:
        """Nothing: the transport is shared."""

    def _request_body(self, call: Call) -> dict[str, Any]:
        """The body that is sent; a server that understands more than the common API is asked for more."""
        return request_body(self.model, call)

    async def _probe(self) -> ProviderState:
        try:
            models = await self._models()
            if any(model.owned_by == "llamacpp" for model in models):
                return await self._llama_server(models)
        except Busy as error:
            if "loading" not in error.reason.lower():
                raise
            return self._state("warming", error.reason, "llm-pool health --wait 60s")
        if models and self.model not in {model.id for model in models}:
            known = ", ".join(model.id for model in models[:5])
            return self._state("model_missing", f"it has {known}", f"set model of provider {self.name} to one of these")
        return self._state("healthy", loaded=(self.model,))

    async def _models(self) -> list[_Model]:
        reply = await self._transport.request(self._backend, "GET", "/v1/models")
        if reply.status == 404:
            return []  # it does not say which models it has; a call will tell
        if reply.status != 200:
            raise error_for(self._backend, reply)
        return decode(self._backend, reply.body, _Models).data

    async def _llama_server(self, models: list[_Model]) -> ProviderState:
        """One model, any name; while that is being loaded ``/health`` is 503, which is Busy."""
        reply = await self._transport.request(self._backend, "GET", "/health")
        if reply.status != 200:
            raise error_for(self._backend, reply)
        return self._state("healthy", loaded=tuple(model.id for model in models))

    def _state(
        self, condition: Condition, detail: str = "", hint: str = "", loaded: tuple[str, ...] = ()
    ) -> ProviderState:
        return ProviderState(
            name=self.name, model=self.model, condition=condition, detail=detail, hint=hint, loaded=loaded
        )


class _End:
    """What a stream has said of its end: the reason comes first, the counts later, ``[DONE]`` last or never."""

    def __init__(self) -> None:
        self.done = False
        self.finish: str | None = None
        self.usage = Usage()

    def note(self, chunk: _Chunk) -> None:
        """Take what *chunk* says of it."""
        for choice in chunk.choices[:1]:
            self.finish = choice.finish_reason or self.finish
        if chunk.usage is not None:
            self.usage = Usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)


def request_body(model: str, call: Call) -> dict[str, Any]:
    """The body of ``/v1/chat/completions`` for *call*."""
    body: dict[str, Any] = {
        "model": model,
        "messages": chat_messages(call.prompt),
        "max_tokens": call.max_tokens,
        "temperature": call.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if call.seed is not None:
        body["seed"] = call.seed
    if call.stop:
        body["stop"] = call.stop
    if call.schema is not None:
        shape = {"name": call.task.name, "schema": call.schema}  # not "strict": OpenAI's own would refuse most schemas
        body["response_format"] = {"type": "json_schema", "json_schema": shape}
    if call.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": call.top_logprobs}
    return body


def _deltas(chunk: _Chunk) -> list[Delta]:
    return [
        Delta(choice.delta.content or "", logprobs=_token_logprobs(choice.logprobs))
        for choice in chunk.choices[:1]
        if choice.delta.content or choice.logprobs
    ]


def _token_logprobs(logprobs: _Logprobs | None) -> tuple[TokenLogprob, ...]:
    if logprobs is None:
        return ()
    return tuple(
        TokenLogprob(one.token, one.logprob, tuple((other.token, other.logprob) for other in one.top_logprobs or ()))
        for one in logprobs.content or ()
    )

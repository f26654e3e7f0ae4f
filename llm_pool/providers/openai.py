"""The OpenAI-shaped API that vLLM, llama-server, LM Studio and SGLang share: ``/v1/chat/completions``, streamed."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.core.errors import Loading
from llm_pool.core.messages import ProviderState
from llm_pool.providers.chunks import openai_chunk
from llm_pool.providers.completion import completion
from llm_pool.providers.inline_reasoning import ReasoningHabit
from llm_pool.providers.replies import chat_messages, decode, error_for, probe_state
from llm_pool.providers.transport import Backend

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from llm_pool.core.messages import Call, Condition, Delta
    from llm_pool.providers.transport import Transport


class _Model(msgspec.Struct):
    id: str
    owned_by: str = ""


class _Models(msgspec.Struct):
    data: list[_Model] = []


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
        self._habit = ReasoningHabit(model)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self.model} at {self._backend.authority}>"

    async def stream(self, call: Call) -> AsyncGenerator[Delta]:
        """As ``Provider.stream``."""
        body = msgspec.json.encode(self._request_body(call))
        async with (
            self._transport.stream(self._backend, "POST", "/v1/chat/completions", body) as response,
            aclosing(completion(self._backend, response, openai_chunk, habit=self._habit)) as deltas,
        ):
            async for delta in deltas:
                yield delta

    async def state(self) -> ProviderState:
        """As ``Provider.state``."""
        return await probe_state(self._backend, self.model, self._probe)

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
        except Loading as error:
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
        """One model, any name; while that is being loaded ``/health`` is 503, which is Loading."""
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


def request_body(model: str, call: Call) -> dict[str, Any]:
    """The body of ``/v1/chat/completions`` for *call*."""
    body: dict[str, Any] = {
        "model": model,
        "messages": chat_messages(call.prompt),
        "temperature": call.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if call.max_tokens is not None:
        body["max_tokens"] = call.max_tokens
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

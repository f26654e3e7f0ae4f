"""The OpenAI-shaped API that vLLM, llama-server, LM Studio and SGLang share: ``/v1/chat/completions``, streamed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from llm_pool.config.values import Driver
from llm_pool.core.messages import Abilities, Embeddings
from llm_pool.providers.asking import Asking, merged_json
from llm_pool.providers.completion import completion
from llm_pool.providers.context_window import check_fits
from llm_pool.providers.embeddings import checked, openai_embeddings
from llm_pool.providers.grammar_schemas import for_grammar
from llm_pool.providers.inline_reasoning import ReasoningHabit
from llm_pool.providers.messages import openai_messages
from llm_pool.providers.openai_server import ON_DEMAND, OpenAIServer
from llm_pool.providers.record_format import OPENAI
from llm_pool.providers.replies import error_for, probe_state
from llm_pool.providers.sampling_fields import taken_by
from llm_pool.providers.thinking import openai_fields, resolved, token_limit
from llm_pool.providers.tool_calls import openai_choice, tools_json
from llm_pool.providers.transport import with_bearer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from llm_pool.core.errors import ProviderError
    from llm_pool.core.messages import Call, Delta, Json, ProviderState, Think
    from llm_pool.providers.transport import Reply, Response, TlsFiles, Transport


class OpenAIProvider:
    """
    One model on an OpenAI-compatible server.

    Args:
        name: the name in the configuration.
        base_url: ``/v1`` is added to an address without a path; one with a path is taken as it is.
        model: as the server names it. llama-server answers with the one it has, whatever is asked for.
        transport: shared; not closed by ``aclose``.
        api_key: sent as a bearer token; never shown.
        hint: what a person can do when nobody listens.
        context: tokens of the model's context; a prompt that has more words is not sent. None: not known.
        headers: sent with every request; never shown.
        extra_body: merged into the body of every question.
        think: whether the model thinks where neither request nor task says so.
        tls: files for an https address.
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
        context: int | None = None,
        headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Json] | None = None,
        think: Think | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        self.name, self.model = name, model
        self._server = OpenAIServer(
            name=name,
            base_url=base_url,
            transport=transport,
            headers=with_bearer(headers, api_key),
            hint=hint,
            tls=tls,
        )
        self._backend, self._transport = self._server.backend, transport
        self._asking = Asking(self._backend, transport, extra_body)
        self._chat, self._embeddings = f"{self._server.api}/chat/completions", f"{self._server.api}/embeddings"
        self._think, self._context = think, context
        self._habit = ReasoningHabit(model)
        self._told: frozenset[str] | None = None
        self._longest: int | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self.model} at {self._backend.authority}>"

    def stream(self, call: Call) -> AsyncGenerator[Delta]:
        """As ``Provider.stream``."""
        return completion(self._backend, partial(self._ask, call), OPENAI, habit=self._habit)

    def _ask(self, call: Call) -> AbstractAsyncContextManager[Response]:
        check_fits(self.name, call.prompt, self._context)
        return self._asking.ask(self._chat, self._request_body(call), self._error_for, trace=call.trace)

    async def embed(self, texts: Sequence[str], *, dimensions: int | None, truncate: bool) -> Embeddings:  # noqa: ARG002
        """As ``Embedder.embed``; this API has no word for cutting a text, so one that is too long is refused."""
        if not texts:
            return Embeddings(())
        body: dict[str, Any] = {"model": self.model, "input": list(texts), "encoding_format": "float"}
        if dimensions is not None:
            body["dimensions"] = dimensions
        async with self._asking.ask(self._embeddings, body, self._error_for) as response:
            reply = await response.read()
        return checked(self._backend, openai_embeddings(self._backend, reply.body), len(texts), dimensions)

    async def state(self) -> ProviderState:
        """As ``Provider.state``."""
        return await probe_state(self._backend, self.model, lambda: self._server.state(self.model))

    async def slots(self) -> int | None:
        """Calls that the server takes at once; None where it does not say."""
        return await self._server.slots()

    @property
    def abilities(self) -> Abilities:
        """
        What is known of the model now.

        No list of models says that one calls no tools: only a refusal does. Of vision it says all or nothing.
        """
        tools = frozenset({"tools"})
        can = (self._told or frozenset()) | tools
        cannot = frozenset() if self._told is None else frozenset({"vision"}) - can
        if self._asking.refuses_tools:
            can, cannot = can - tools, cannot | tools
        return Abilities(can, cannot, self._longest)

    async def learn_abilities(self) -> None:
        """Ask the server for ``abilities``; raises ProviderError."""
        facts = (await self._server.catalogue()).find(self.model)
        self._told = None if facts is None else facts.capabilities
        self._longest = None if facts is None else facts.context

    async def load(self) -> None:
        """As ``Provider.load``: a router is asked for one token; any other has its model before it listens."""
        if (await self._server.catalogue()).kind not in ON_DEMAND:
            return
        question = [{"role": "user", "content": "."}]
        body = {"model": self.model, "messages": question, "max_tokens": 1, "stream": False}
        async with self._asking.ask(self._chat, body, self._error_for) as response:
            await response.read()

    async def aclose(self) -> None:
        """Nothing: the transport is shared."""

    def _request_body(self, call: Call) -> dict[str, Any]:
        """The body that is sent; a server that understands more than the common API is asked for more."""
        return request_body(self.model, call, resolved(call, self._think))

    def _error_for(self, reply: Reply) -> ProviderError:
        return error_for(self._backend, reply)


def request_body(model: str, call: Call, think: Think | None = None) -> dict[str, Any]:
    """The body of ``/v1/chat/completions`` for *call*, whose model shall *think* or not."""
    body: dict[str, Any] = {
        **taken_by(Driver.OPENAI, call.extra),
        "model": model,
        "messages": openai_messages(call.prompt),
        "temperature": call.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    body = merged_json(body, openai_fields(think))
    if (limit := token_limit(call, think)) is not None:
        body["max_tokens"] = limit
    if call.seed is not None:
        body["seed"] = call.seed
    if call.stop:
        body["stop"] = call.stop
    if call.schema is not None:
        shape = {
            "name": call.task.name,
            "schema": for_grammar(call.schema),
        }  # not "strict": OpenAI's own would refuse most schemas
        body["response_format"] = {"type": "json_schema", "json_schema": shape}
    if body["messages"][-1]["role"] == "assistant":  # vLLM, SGLang; llama-server and others do so by themselves
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    if call.tools:
        body["tools"] = tools_json(call.tools)
        if call.tool_choice != "auto":
            body["tool_choice"] = openai_choice(call.tool_choice)
        if not call.parallel_tool_calls:
            body["parallel_tool_calls"] = False
    if call.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": call.top_logprobs}
    return body

"""
The shape of OpenAI's chat API over the pool: ``/v1/chat/completions``, and ``/v1/models``, which Anthropic's clients
read too.

The decision rides along in a field ``llm_pool`` and a header. What cannot be served is refused by name; what only
tunes the sampling and has no counterpart here is told in ``llm_pool.ignored``.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import time
import uuid
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Query, ToolCallDelta
from llm_pool.engine import ANY_OBJECT
from llm_pool.server.chat import (
    capabilities,
    decision_details,
    find_model,
    finish,
    instant,
    model_named,
    reject_unsupported,
    respond,
    thinking_of,
)
from llm_pool.server.embeddings import listed_models
from llm_pool.server.last_word import last_word
from llm_pool.server.logprobs import check_alone, token_json, token_logprobs
from llm_pool.server.middleware import send_json
from llm_pool.server.openai_messages import (
    ChoiceBody,
    Function,
    FunctionTool,
    Message,
    ToolBody,
    choice_of,
    foreign_tools,
    legacy_choice,
    tool_of,
    tools_of,
    turns_of,
)
from llm_pool.server.openai_words import (
    StreamOptions,
    error_shape,
    meta_of,
    project_of,
    stop_texts,
    think_of_effort,
    usage,
)
from llm_pool.server.openapi_foreign import EVENTS, ForeignOperation
from llm_pool.server.queries import decode, whole
from llm_pool.server.routing import Route
from llm_pool.server.samples import respond_samples, samples
from llm_pool.server.sse import CONTENT_TYPE, PING, data
from llm_pool.server.status import status_of
from llm_pool.server.unserved_fields import fields_beyond, unserved
from llm_pool.wire.json import error_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_pool.core.errors import LlmPoolError
    from llm_pool.core.messages import Answer, Json, Think, Tool, ToolCall
    from llm_pool.engine import PoolManager
    from llm_pool.server.chat import Model, StreamEnd
    from llm_pool.server.middleware import AccessControl, Receive, Scope, Send
    from llm_pool.server.routing import Routes

UNSUPPORTED = {
    "logit_bias": "the models of a pool have no tokens in common",
    "audio": "only text is supported",
    "web_search_options": "nothing is searched here",
}
"""Fields that ask for what cannot be had, and why."""
IGNORED = ("top_p", "frequency_penalty", "presence_penalty", "verbosity", "prediction")
"""Fields that tune an answer and have no counterpart here: only a provider that is asked alone may take them."""


class _Schema(msgspec.Struct, frozen=True):
    name: str = ""
    schema: dict[str, Any] | None = None


class _Format(msgspec.Struct, frozen=True):
    type: str
    json_schema: _Schema | None = None
    schema: dict[str, Any] | None = None  # where llama-server has it


class ChatBody(msgspec.Struct, frozen=True, kw_only=True):
    """A chat request; fields that are not here are another server's, and told in ``llm_pool.ignored``."""

    model: str
    messages: list[Message]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | float | None = None
    max_completion_tokens: int | float | None = None
    temperature: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    response_format: _Format | None = None
    metadata: dict[str, Any] | None = None
    n: int | None = None
    tools: list[ToolBody] | None = None
    tool_choice: str | ChoiceBody | None = None
    parallel_tool_calls: bool | None = None
    functions: list[FunctionTool] | None = None
    function_call: str | Function | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, Any] | None = None
    audio: dict[str, Any] | None = None
    web_search_options: dict[str, Any] | None = None
    modalities: list[str] | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    reasoning_effort: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    verbosity: str | None = None
    prediction: Any = None


SERVED = frozenset(ChatBody.__struct_fields__) - {*IGNORED}


def add_routes(routes: Routes, manager: PoolManager, access: AccessControl) -> None:
    """Add the routes to *routes*."""
    api = OpenAI(manager, access)
    routes.add(*api.routes())
    for place in ("/v1/chat", "/v1/models"):
        routes.error_shapes[place] = error_shape
    models = "https://platform.openai.com/docs/api-reference/models"
    routes.document(
        ForeignOperation(
            path="/v1/chat/completions",
            summary="A conversation, answered, in OpenAI's chat shape.",
            source="https://platform.openai.com/docs/api-reference/chat",
            body=ChatBody,
            example={"model": "pool", "messages": [{"role": "user", "content": "Is 17 prime?"}]},
            streamed=EVENTS,
        ),
        ForeignOperation(path="/v1/models", summary="Every model there is to choose.", source=models, method="get"),
        ForeignOperation(path="/v1/models/{name}", summary="One of them.", source=models, method="get"),
    )


class OpenAI:
    """The routes of this API."""

    def __init__(self, manager: PoolManager, access: AccessControl) -> None:
        self._manager, self._access = manager, access

    def routes(self) -> list[Route]:
        """One for each path."""
        return [
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/models", self._models, methods=["GET"]),
            Route("/v1/models/{name:path}", self._model, methods=["GET"]),
        ]

    async def _chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = (await receive())["body"]
        body: ChatBody = decode(sent, ChatBody)
        model = await model_named(body.model, self._manager)
        beyond = unserved(fields_beyond(sent, SERVED) | _template_fields(body), model, self._manager.config)
        query = msgspec.structs.replace(query_from(body, model, project_of(scope)), extra=beyond.passed)
        fields, stream, ignored = _client_fields(body), bool(body.stream), [*beyond.ignored, *foreign_tools(body.tools)]
        if body.n in {None, 1}:
            encoder = _ChatEncoder(body, ignored)
            await respond(self._manager, self._access, scope, query, encoder, send, stream=stream, fields=fields)
            return
        answer_id = f"chatcmpl-{uuid.uuid4().hex}"
        encoders = [_ChatEncoder(body, ignored, index, answer_id) for index in range(body.n or 1)]
        await respond_samples(self._manager, self._access, scope, query, encoders, send, stream=stream, fields=fields)

    async def _models(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        known = await listed_models(self._manager)
        listed = [await self._listed(model) for model in known.values()]
        page = {"has_more": False, "first_id": listed[0]["id"], "last_id": listed[-1]["id"]}
        await send_json(send, {"object": "list", "data": listed, **page})

    async def _model(self, scope: Scope, _receive: Receive, send: Send) -> None:
        model = find_model(scope["path_params"]["name"], await listed_models(self._manager))
        await send_json(send, await self._listed(model))

    async def _listed(self, model: Model) -> dict[str, Json]:
        made = int(self._manager.last_reload.at)
        able = await capabilities(model, self._manager)
        openai = {"id": model.name, "object": "model", "created": made, "owned_by": "llm-pool"}
        anthropic = {"type": "model", "display_name": model.name, "created_at": instant(made)}
        return {**openai, **anthropic, "capabilities": able}


def query_from(body: ChatBody, model: Model, project: str = "") -> Query:
    """
    The query in *body*, put to *model*.

    Raises:
        InvalidRequest: it asks for what the pool cannot do; the field says what.
    """
    reject_unsupported(body, UNSUPPORTED)
    samples(body.n)
    if body.modalities not in (None, ["text"]):
        raise InvalidRequest("modalities", "only text is supported")
    if body.top_logprobs and not body.logprobs:
        raise InvalidRequest("top_logprobs", "expected logprobs: true with it")
    if body.logprobs:
        check_alone(model)
    asked = last_word(turns_of(body.messages), "messages")
    tools, choice = _tools(body)
    return Query(
        prompt=asked.prompt,
        turns=asked.turns,
        images=asked.images,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=body.parallel_tool_calls is not False and not body.functions,
        task=model.task,
        strategy=model.strategy,
        providers=model.providers,
        project_id=project,
        max_tokens=_length(body),
        temperature=body.temperature,
        seed=body.seed,
        stop=stop_texts(body.stop),
        output_schema=_schema(body.response_format),
        think=_think(body),
        top_logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        no_cache=bool(body.logprobs),
        meta=meta_of(body.metadata),
    )


def _tools(body: ChatBody) -> tuple[tuple[Tool, ...], str]:
    """The tools that *body* offers, by either name for them, and which shall be called."""
    if not body.functions:
        return tools_of(body.tools, body.tool_choice), choice_of(body.tool_choice)
    if body.tools:
        raise InvalidRequest("functions", "tools are there too", hint="send all of them as tools")
    return tuple(map(tool_of, body.functions)), legacy_choice(body.function_call)


def _client_fields(body: ChatBody) -> dict[str, str]:
    """Where in *body* the fields of its query stand."""
    last = max((at for at, message in enumerate(body.messages) if message.role == "user"), default=0)
    return {
        "prompt": f"messages[{last}].content",
        "turns": "messages",
        "images": "messages",
        "max_tokens": "max_tokens" if body.max_completion_tokens is None else "max_completion_tokens",
        "output_schema": "response_format.json_schema.schema",
        "think": "chat_template_kwargs.enable_thinking" if body.reasoning_effort is None else "reasoning_effort",
        "task": "model",
        "strategy": "model",
        "project_id": "OpenAI-Project",
        **({"tools": "functions", "tool_choice": "function_call"} if body.functions else {}),
    }


def _template_fields(body: ChatBody) -> dict[str, Json]:
    """What *body* says to chat templates beside the switch for thinking, which the pool serves."""
    said = {name: value for name, value in (body.chat_template_kwargs or {}).items() if name != "enable_thinking"}
    return {"chat_template_kwargs": said} if said else {}


def _length(body: ChatBody) -> int | None:
    if body.max_completion_tokens is None:
        return whole(body.max_tokens, "max_tokens")
    return whole(body.max_completion_tokens, "max_completion_tokens")


def _think(body: ChatBody) -> Think | None:
    """What *body* says of thinking: by OpenAI's word for it, or by the switch that vLLM hands to templates."""
    switch = (body.chat_template_kwargs or {}).get("enable_thinking")
    if body.reasoning_effort is None:
        return switch if isinstance(switch, bool) else None
    return think_of_effort(body.reasoning_effort, "reasoning_effort")


def _schema(response_format: _Format | None) -> dict[str, Json] | None:
    match response_format:
        case None | _Format(type="text"):
            return None
        case _Format(type="json_object" | "json_schema", json_schema=None, schema=dict() as schema):
            return schema
        case _Format(type="json_object"):
            return ANY_OBJECT
        case _Format(type="json_schema", json_schema=_Schema(schema=dict() as schema)):
            return schema
        case _Format(type="json_schema"):
            raise InvalidRequest("response_format", "json_schema.schema is missing")
        case _:
            raise InvalidRequest("response_format", "expected text, json_object or json_schema")


class _ChatEncoder:
    """What one request is told, in OpenAI's words."""

    content_type = CONTENT_TYPE

    def __init__(self, body: ChatBody, ignored: Sequence[str] = (), index: int = 0, answer_id: str = "") -> None:
        self._body, self._ignored, self._index, self._made = body, ignored, index, int(time.time())
        self._id = answer_id or f"chatcmpl-{uuid.uuid4().hex}"
        self._counts = body.stream_options is not None and bool(body.stream_options.include_usage)

    def whole(self, answer: Answer) -> dict[str, Json]:
        """The answer in one piece."""
        message = {"role": "assistant", "content": answer.content, "refusal": None, **_thinking(thinking_of(answer))}
        if answer.tool_calls:
            message |= {"content": answer.content or None, **self._calls(answer.tool_calls)}
        logprobs, reason = self._logprobs(answer), self._finish(answer)
        choice = {"index": self._index, "message": message, "logprobs": logprobs, "finish_reason": reason}
        ours = decision_details(answer, self._ignored)
        return {**self._head("chat.completion"), "choices": [choice], "usage": usage(answer), "llm_pool": ours}

    def opening(self) -> bytes:
        """The chunk that names the speaker."""
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def piece(self, text: str) -> bytes:
        """A chunk of text."""
        before, after = self._around
        return b"%b%b%b" % (before, msgspec.json.encode(text), after)

    @cached_property
    def _around(self) -> tuple[bytes, bytes]:
        """What stands around the text in each chunk of it."""
        before, _, after = self._chunk({"content": ""}).rpartition(b'""')
        return before, after

    def thought(self, text: str) -> bytes:
        """A chunk of thought."""
        return self._chunk(_thinking(text))

    def called(self, piece: ToolCallDelta) -> bytes:
        """A chunk of a call: id and name on its first, its arguments in pieces."""
        named = {"id": piece.id, "type": "function"} if piece.id else {}
        function = {"name": piece.name, "arguments": piece.arguments} if piece.id else {"arguments": piece.arguments}
        if self._body.functions:
            return self._chunk({"function_call": function})
        return self._chunk({"tool_calls": [{"index": piece.index, **named, "function": function}]})

    def heartbeat(self) -> bytes:
        """A comment."""
        return PING

    def ending(self, end: StreamEnd) -> bytes:
        """The end of the answer and of the stream."""
        return self.last(end) + self.closing([end.answer])

    def last(self, end: StreamEnd) -> bytes:
        """The rest of text and calls, and the reason for the end."""
        answer = end.answer
        output = self.piece(end.rest) if end.rest else b""
        for at, call in enumerate(end.calls):
            output += self.called(ToolCallDelta(at, call.id, call.name, call.arguments))
        ours = {"llm_pool": decision_details(answer, self._ignored)}
        return output + self._chunk({}, self._finish(answer), ours, self._logprobs(answer))

    def closing(self, answers: Sequence[Answer]) -> bytes:
        """The counts of all *answers*, if they were asked for, and the mark."""
        counts = {**self._head("chat.completion.chunk"), "choices": [], "usage": usage(*answers)}
        return (data(counts) if self._counts else b"") + b"data: [DONE]\n\n"

    def failed(self, error: LlmPoolError) -> bytes:
        """An error in a chunk's place; there is no mark after it."""
        return data(error_shape(status_of(error).http, error_json(error)))

    def _chunk(
        self,
        delta: dict[str, Json],
        reason: str | None = None,
        more: Mapping[str, Json] | None = None,
        logprobs: Json = None,
    ) -> bytes:
        choice = {"index": self._index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        usage = {"usage": None} if self._counts else {}
        return data({**self._head("chat.completion.chunk"), "choices": [choice], **usage, **(more or {})})

    def _calls(self, calls: Sequence[ToolCall]) -> dict[str, Json]:
        """*calls* by the name under which the tools were offered; of functions, as they were called first, one is."""
        if self._body.functions:
            return {"function_call": {"name": calls[0].name, "arguments": calls[0].arguments}}
        return {"tool_calls": [*map(_call, calls)]}

    def _finish(self, answer: Answer) -> str:
        reason = finish(answer)
        return "function_call" if self._body.functions and reason == "tool_calls" else reason

    def _logprobs(self, answer: Answer) -> Json:
        """How probable each token was to the model, where that was asked for; in a stream all of it is at the end."""
        if not self._body.logprobs:
            return None
        top = self._body.top_logprobs or 0
        return {"content": [token_json(token, top) for token in token_logprobs(answer)], "refusal": None}

    def _head(self, kind: str) -> dict[str, Json]:
        return {"id": self._id, "object": kind, "created": self._made, "model": self._body.model}


def _call(call: ToolCall) -> dict[str, Json]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _thinking(text: str) -> dict[str, Json]:
    """*text*, which was thought, by both names that clients look for: DeepSeek's and OpenRouter's; nothing if empty."""
    return {"reasoning_content": text, "reasoning": text} if text else {}

"""
The shape of OpenAI's chat API over the pool: ``/v1/chat/completions`` and ``/v1/models``.

The decision rides along in a field ``llm_pool`` and a header. What cannot be served is refused by name; what only
tunes the sampling and has no counterpart here is told in ``llm_pool.ignored``.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.routing import Route

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Query
from llm_pool.engine import ANY_OBJECT
from llm_pool.server.chat import (
    decision_details,
    finish,
    model_named,
    models,
    question,
    reject_unsupported,
    respond,
    turn,
)
from llm_pool.server.middleware import Asgi, send_json
from llm_pool.server.queries import decode
from llm_pool.server.sse import CONTENT_TYPE, PING
from llm_pool.server.status import status_of
from llm_pool.server.unserved_fields import fields_beyond, unserved
from llm_pool.wire.json import error_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import FastAPI

    from llm_pool.core.errors import LlmPoolError
    from llm_pool.core.messages import Answer, Json, Think, Turn
    from llm_pool.engine import PoolManager
    from llm_pool.server.chat import Model, StreamEnd
    from llm_pool.server.middleware import AccessControl, Receive, Scope, Send

UNSUPPORTED = {
    "tools": "the pool calls no tools: several models answer, and their calls cannot be weighed against each other",
    "functions": "the pool calls no functions",
    "logprobs": "an ensemble's answer has no log probabilities",
    "top_logprobs": "an ensemble's answer has no log probabilities",
    "logit_bias": "the models of a pool have no tokens in common",
    "audio": "only text is supported",
    "web_search_options": "nothing is searched here",
}
"""Fields that ask for what cannot be had, and why."""
IGNORED = ("top_p", "frequency_penalty", "presence_penalty", "verbosity", "prediction")
"""Fields that tune an answer and have no counterpart here: only a provider that is asked alone may take them."""
EFFORTS: dict[str, Think] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
"""OpenAI's words for how long a model thinks, and ours."""
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
"""OpenAI's word for a status; other 4xx are ``invalid_request_error``, 5xx ``server_error``."""


class _Part(msgspec.Struct, frozen=True):
    type: str
    text: str = ""


class _Message(msgspec.Struct, frozen=True):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: list[Any] | None = None


class _Schema(msgspec.Struct, frozen=True):
    name: str = ""
    schema: dict[str, Any] | None = None


class _Format(msgspec.Struct, frozen=True):
    type: str
    json_schema: _Schema | None = None


class _StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool | None = None


class ChatBody(msgspec.Struct, frozen=True, kw_only=True):
    """A chat request; fields that are not here are another server's, and told in ``llm_pool.ignored``."""

    model: str
    messages: list[_Message]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    response_format: _Format | None = None
    metadata: dict[str, str] | None = None
    n: int | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
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


def add_routes(app: FastAPI, manager: PoolManager, access: AccessControl) -> None:
    """Add the routes to *app*."""
    api = OpenAI(manager, access)
    app.router.routes.extend(api.routes())
    for place in ("/v1/chat", "/v1/models", "/v1/completions", "/v1/embeddings", "/v1/responses"):
        app.state.error_shapes[place] = error_shape


def error_shape(status: int, body: Mapping[str, Json]) -> dict[str, Json]:
    """*body*, from ``wire.error_json``, as OpenAI would say it under *status*."""
    error = body["error"]
    kind = TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error")
    message = f"{error['message']} ({error['hint']})" if error.get("hint") else error["message"]
    code = "model_not_found" if error["code"] == "unknown_model" else error["code"]
    return {"error": {"message": message, "type": kind, "param": error.get("field"), "code": code}}


class OpenAI:
    """The routes of this API."""

    def __init__(self, manager: PoolManager, access: AccessControl) -> None:
        self._manager, self._access = manager, access

    def routes(self) -> list[Route]:
        """One for each path."""
        return [
            Route("/v1/chat/completions", Asgi(self._chat), methods=["POST"]),
            Route("/v1/models", Asgi(self._models), methods=["GET"]),
            Route("/v1/models/{name:path}", Asgi(self._model), methods=["GET"]),
        ]

    async def _chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = (await receive())["body"]
        body: ChatBody = decode(sent, ChatBody)
        project = dict(scope["headers"]).get(b"openai-project", b"").decode("latin-1")
        model = await model_named(body.model, self._manager)
        beyond = unserved(fields_beyond(sent, SERVED) | _template_fields(body), model, self._manager.config)
        query = msgspec.structs.replace(query_from(body, model, project), extra=beyond.passed)
        encoder, stream = _ChatEncoder(body, beyond.ignored), bool(body.stream)
        await respond(
            self._manager, self._access, scope, query, encoder, send, stream=stream, fields=_client_fields(body)
        )

    async def _models(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        known = await models(self._manager)
        await send_json(send, {"object": "list", "data": [self._listed(model) for model in known.values()]})

    async def _model(self, scope: Scope, _receive: Receive, send: Send) -> None:
        await send_json(send, self._listed(await model_named(scope["path_params"]["name"], self._manager)))

    def _listed(self, model: Model) -> dict[str, Json]:
        made = int(self._manager.last_reload.at)
        return {"id": model.name, "object": "model", "created": made, "owned_by": "llm-pool"}


def query_from(body: ChatBody, model: Model, project: str = "") -> Query:
    """
    The query in *body*, put to *model*.

    Raises:
        InvalidRequest: it asks for what the pool cannot do; the field says what.
    """
    reject_unsupported(msgspec.structs.asdict(body), UNSUPPORTED)
    if body.n not in {None, 1}:
        raise InvalidRequest("n", f"the pool gives one answer, not {body.n}")
    if body.modalities not in (None, ["text"]):
        raise InvalidRequest("modalities", "only text is supported")
    prompt, turns = question([_turn(message, at) for at, message in enumerate(body.messages)])
    return Query(
        prompt=prompt,
        turns=turns,
        task=model.task,
        strategy=model.strategy,
        providers=model.providers,
        project_id=project,
        max_tokens=body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens,
        temperature=body.temperature,
        seed=body.seed,
        stop=_stop(body.stop),
        output_schema=_schema(body.response_format),
        think=_think(body),
        meta=body.metadata or {},
    )


def _client_fields(body: ChatBody) -> dict[str, str]:
    """Where in *body* the fields of its query stand."""
    last = max((at for at, message in enumerate(body.messages) if message.role == "user"), default=0)
    return {
        "prompt": f"messages[{last}].content",
        "max_tokens": "max_tokens" if body.max_completion_tokens is None else "max_completion_tokens",
        "output_schema": "response_format.json_schema.schema",
        "think": "chat_template_kwargs.enable_thinking" if body.reasoning_effort is None else "reasoning_effort",
        "task": "model",
        "strategy": "model",
        "project_id": "OpenAI-Project",
    }


def _template_fields(body: ChatBody) -> dict[str, Json]:
    """What *body* says to chat templates beside the switch for thinking, which the pool serves."""
    said = {name: value for name, value in (body.chat_template_kwargs or {}).items() if name != "enable_thinking"}
    return {"chat_template_kwargs": said} if said else {}


def _think(body: ChatBody) -> Think | None:
    """What *body* says of thinking: by OpenAI's word for it, or by the switch that vLLM hands to templates."""
    switch = (body.chat_template_kwargs or {}).get("enable_thinking")
    if body.reasoning_effort is None:
        return switch if isinstance(switch, bool) else None
    if body.reasoning_effort not in EFFORTS:
        got = body.reasoning_effort[:40]
        raise InvalidRequest("reasoning_effort", f"expected one of {', '.join(EFFORTS)}, got '{got}'")
    return EFFORTS[body.reasoning_effort]


def _turn(message: _Message, at: int) -> Turn:
    place = f"messages[{at}]"
    if message.tool_calls:
        raise InvalidRequest(f"{place}.tool_calls", UNSUPPORTED["tools"])
    if not isinstance(message.content, list):
        return turn(message.role, message.content or "", place)
    for part in message.content:
        if part.type != "text":
            raise InvalidRequest(f"{place}.content", f"only parts of type text are read, got '{part.type[:40]}'")
    return turn(message.role, "\n".join(part.text for part in message.content), place)


def _stop(stop: str | list[str] | None) -> tuple[str, ...]:
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    return tuple(text for text in stops if text)


def _schema(response_format: _Format | None) -> dict[str, Json] | None:
    match response_format:
        case None | _Format(type="text"):
            return None
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

    def __init__(self, body: ChatBody, ignored: Sequence[str] = ()) -> None:
        self._body, self._ignored = body, ignored
        self._id, self._made = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())
        self._counts = body.stream_options is not None and bool(body.stream_options.include_usage)

    def whole(self, answer: Answer) -> dict[str, Json]:
        """The answer in one piece."""
        message = {"role": "assistant", "content": answer.content, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish(answer)}
        ours = decision_details(answer, self._ignored)
        return {**self._head("chat.completion"), "choices": [choice], "usage": _usage(answer), "llm_pool": ours}

    def opening(self) -> bytes:
        """The chunk that names the speaker."""
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def piece(self, text: str) -> bytes:
        """A chunk of text."""
        return self._chunk({"content": text})

    def heartbeat(self) -> bytes:
        """A comment."""
        return PING

    def ending(self, end: StreamEnd) -> bytes:
        """The rest of the text, the reason for the end, the counts if they were asked for, and the mark."""
        answer = end.answer
        output = self.piece(end.rest) if end.rest else b""
        output += self._chunk({}, finish(answer), {"llm_pool": decision_details(answer, self._ignored)})
        if self._counts:
            output += _data({**self._head("chat.completion.chunk"), "choices": [], "usage": _usage(answer)})
        return output + b"data: [DONE]\n\n"

    def failed(self, error: LlmPoolError) -> bytes:
        """An error in a chunk's place; there is no mark after it."""
        return _data(error_shape(status_of(error).http, error_json(error)))

    def _chunk(
        self, delta: dict[str, Json], reason: str | None = None, more: Mapping[str, Json] | None = None
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        usage = {"usage": None} if self._counts else {}
        return _data({**self._head("chat.completion.chunk"), "choices": [choice], **usage, **(more or {})})

    def _head(self, kind: str) -> dict[str, Json]:
        return {"id": self._id, "object": kind, "created": self._made, "model": self._body.model}


def _usage(answer: Answer) -> dict[str, Json]:
    """What the whole panel spent; a backend that does not count adds nothing."""
    asked, output = answer.usage.prompt_tokens or 0, answer.usage.completion_tokens or 0
    return {"prompt_tokens": asked, "completion_tokens": output, "total_tokens": asked + output}


def _data(value: Json) -> bytes:
    return b"data: %s\n\n" % msgspec.json.encode(value)

"""
The shape of Ollama's API over the pool: chat, generate, and the models that can be asked.

A second llm-pool can have this one as a provider of driver ``ollama``. Models are loaded and unloaded by the pool,
so ``keep_alive`` changes nothing here. The decision rides in a field ``llm_pool`` and a header.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md, and recordings in ``tests/recordings/ollama``.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.core.errors import DeadlineExceeded, InvalidRequest
from llm_pool.core.messages import Query, Turn
from llm_pool.engine import ANY_OBJECT, NO_LIMIT
from llm_pool.server.chat import (
    capabilities,
    decision_details,
    find_model,
    finish,
    instant,
    model_named,
    models,
    reject_unsupported,
    respond,
    thinking_of,
)
from llm_pool.server.embeddings import listed_models
from llm_pool.server.last_word import last_word
from llm_pool.server.logprobs import check_alone, token_json, token_logprobs
from llm_pool.server.middleware import send_json
from llm_pool.server.ollama_messages import Message, ToolBody, images_of, tools_of, turns_of
from llm_pool.server.openapi_foreign import LINES, ForeignOperation
from llm_pool.server.queries import decode, think_of, type_error, whole
from llm_pool.server.request_context import authorized
from llm_pool.server.routing import Route
from llm_pool.server.status import status_of
from llm_pool.server.unserved_fields import Unserved, fields_beyond, unserved
from llm_pool.wire.json import error_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_pool.core.errors import LlmPoolError
    from llm_pool.core.messages import Answer, Json, Tool, ToolCall, ToolCallDelta
    from llm_pool.engine import PoolManager
    from llm_pool.server.chat import Model, StreamEnd
    from llm_pool.server.middleware import AccessControl, Receive, Scope, Send
    from llm_pool.server.routing import Routes

UNSUPPORTED = {
    "suffix": "the pool completes no text in its middle",
    "raw": "each model has a template of its own",
    "template": "each model has a template of its own",
    "context": "the models share no tokens; send the conversation to /api/chat",
}
"""Fields that ask for what cannot be had, and why."""
MAX_LOAD_TIME = 600.0
"""Seconds that the loading of a model may take where its sender sets no deadline: 40 GB from a slow disk take 300."""
SERVED_OPTIONS = ("num_predict", "temperature", "seed", "stop")
"""Options that reach the models; others reach a provider that is asked alone, or are told in ``llm_pool.ignored``."""
VERSION = "0.13.0"
"""The version of Ollama whose API this is: clients ask for it before they use what came with one."""
ARCHITECTURE = "llm-pool"
"""What stands for a model's architecture; names of its facts begin with it."""
DEFAULT_CONTEXT = 4096
"""Tokens of context that Ollama gives a model, unless it is told otherwise."""
LONGEST_THINKING = "high"
"""What its newest word for how long to think, ``max``, is here."""
MANAGING = ("/api/pull", "/api/push", "/api/create", "/api/copy", "/api/blobs/{digest}")
MANAGED = "models are installed and removed by whoever runs the pool, not through this API"
REFUSED = "Refused: models are managed by whoever runs the pool."
CLIENT_FIELDS = {
    "turns": "messages",
    "max_tokens": "options.num_predict",
    "temperature": "options.temperature",
    "seed": "options.seed",
    "output_schema": "format",
    "task": "model",
    "strategy": "model",
}
"""What a query's fields are called in this API."""
DETAILS: dict[str, Json] = {
    "parent_model": "",
    "format": "",
    "family": "llm-pool",
    "families": ["llm-pool"],
    "parameter_size": "",
    "quantization_level": "",
}


class _BaseBody(msgspec.Struct, frozen=True, kw_only=True):
    """What both ways of asking have in common."""

    model: str = ""
    stream: bool | None = None
    format: str | dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    keep_alive: str | float | None = None
    think: bool | str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


class ChatBody(_BaseBody, frozen=True, kw_only=True):
    """A body of ``/api/chat``."""

    messages: list[Message] | None = None
    tools: list[ToolBody] | None = None


class GenerateBody(_BaseBody, frozen=True, kw_only=True):
    """A body of ``/api/generate``."""

    prompt: str | None = None
    system: str | None = None
    images: list[Any] | None = None
    suffix: str | None = None
    raw: bool | None = None
    template: str | None = None
    context: list[Any] | None = None


class _Options(msgspec.Struct, frozen=True):
    num_predict: int | float | None = None
    temperature: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None


class _Show(msgspec.Struct, frozen=True):
    model: str = ""
    name: str = ""


def add_routes(routes: Routes, manager: PoolManager, access: AccessControl) -> None:
    """Add the routes to *routes*."""
    routes.add(*Ollama(manager, access).routes())
    routes.error_shapes["/api/"] = error_shape
    source = "https://github.com/ollama/ollama/blob/main/docs/api.md"
    routes.document(
        ForeignOperation(
            path="/api/chat",
            summary="A conversation, answered, in Ollama's shape.",
            source=source,
            body=ChatBody,
            example={"model": "pool", "messages": [{"role": "user", "content": "Is 17 prime?"}]},
            streamed=LINES,
        ),
        ForeignOperation(
            path="/api/generate",
            summary="A prompt, answered, in Ollama's shape.",
            source=source,
            body=GenerateBody,
            example={"model": "pool", "prompt": "Is 17 prime?"},
            streamed=LINES,
        ),
        ForeignOperation(
            path="/api/show", summary="What a model is.", source=source, body=_Show, example={"model": "pool"}
        ),
        ForeignOperation(path="/api/tags", summary="Every model there is.", source=source, method="get"),
        ForeignOperation(path="/api/ps", summary="The models in memory.", source=source, method="get"),
        ForeignOperation(path="/api/version", summary="The version.", source=source, method="get"),
        ForeignOperation(path="/api/delete", summary=REFUSED, source=source, method="delete", refuses=501),
        *(ForeignOperation(path=path, summary=REFUSED, source=source, refuses=501) for path in MANAGING),
    )


def error_shape(_status: int, body: Mapping[str, Json]) -> dict[str, Json]:
    """*body*, from ``wire.error_json``, as Ollama would say it."""
    error = body["error"]
    return {"error": f"{error['message']} ({error['hint']})" if error.get("hint") else error["message"]}


class Ollama:
    """The routes of this API."""

    def __init__(self, manager: PoolManager, access: AccessControl) -> None:
        self._manager, self._access = manager, access

    def routes(self) -> list[Route]:
        """One for each path."""
        return [
            Route("/api/chat", self._chat, methods=["POST"]),
            Route("/api/generate", self._generate, methods=["POST"]),
            Route("/api/tags", self._tags, methods=["GET"]),
            Route("/api/ps", self._ps, methods=["GET"]),
            Route("/api/show", self._show, methods=["POST"]),
            Route("/api/version", self._version, methods=["GET"]),
            Route("/api/delete", self._managed, methods=["DELETE"]),
            *(Route(path, self._managed, methods=["POST"]) for path in MANAGING),
        ]

    async def _chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = (await receive())["body"]
        body: ChatBody = decode(sent, ChatBody)
        model = await model_named(body.model, self._manager)
        beyond = self._unserved(sent, body, model)
        encoder = _ChatEncoder(body, beyond.ignored)
        if body.messages:
            last = max((at for at, message in enumerate(body.messages) if message.role == "user"), default=0)
            asked = query_from(body, model, turns_of(body.messages), tools_of(body.tools))
            query = msgspec.structs.replace(asked, extra=beyond.passed)
            await self._answer(scope, query, encoder, send, f"messages[{last}].content")
        else:
            await self._load(scope, body, model, encoder, send)

    async def _generate(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = (await receive())["body"]
        body: GenerateBody = decode(sent, GenerateBody)
        model = await model_named(body.model, self._manager)
        beyond = self._unserved(sent, body, model)
        encoder = _GenerateEncoder(body, beyond.ignored)
        if body.prompt:
            images = images_of(body.images, "images")
            turns = [Turn("system", body.system or ""), Turn("user", body.prompt, images=images)]
            query = msgspec.structs.replace(query_from(body, model, turns), extra=beyond.passed)
            await self._answer(scope, query, encoder, send, "prompt")
        else:
            await self._load(scope, body, model, encoder, send)

    async def _answer(self, scope: Scope, query: Query, encoder: _Encoder, send: Send, prompt: str) -> None:
        """Answer *query*, whose prompt the client wrote in the field *prompt*."""
        stream, fields = encoder.body.stream is not False, {**CLIENT_FIELDS, "prompt": prompt}
        await respond(self._manager, self._access, scope, query, encoder, send, stream=stream, fields=fields)

    def _unserved(self, sent: bytes, body: _BaseBody, model: Model) -> Unserved:
        """What becomes of options and fields of *body* that the pool does not serve."""
        options = {name: value for name, value in (body.options or {}).items() if name not in SERVED_OPTIONS}
        beyond = fields_beyond(sent, frozenset(type(body).__struct_fields__) - {"keep_alive"})
        found = unserved(options, model, self._manager.config)
        return Unserved(found.passed, [*found.ignored, *beyond])

    async def _load(self, scope: Scope, body: _BaseBody, model: Model, encoder: _Encoder, send: Send) -> None:
        """Make a provider ready, as a request without a question asks; the pool itself always is."""
        if body.keep_alive in {0, "0"}:
            raise InvalidRequest("keep_alive", "the pool decides what is unloaded")
        nothing = Query(prompt="", task=model.task, strategy=model.strategy, providers=model.providers)
        async with authorized(self._access, scope, nothing) as allowed:
            span = min(limit for limit in (allowed.deadline, allowed.caps.deadline, MAX_LOAD_TIME) if limit is not None)
            try:
                async with asyncio.timeout(span):
                    for name in model.providers:
                        await self._manager.app.providers[name].load()
            except TimeoutError:
                raise DeadlineExceeded(span) from None
        await send_json(send, encoder.loaded())

    async def _tags(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        known = await listed_models(self._manager)
        await send_json(send, {"models": [self._listed(model) for model in known.values()]})

    async def _ps(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        healthy = {state.name for state in (await self._manager.health()).states if state.condition == "healthy"}
        known = (await models(self._manager)).values()
        ready = [model for model in known if (healthy.issuperset(model.providers) if model.providers else healthy)]
        expires = instant(time.time() + 86_400)
        in_memory = {"expires_at": expires, "size_vram": 0}
        listed = [{**self._listed(model), **in_memory, "context_length": await self._context(model)} for model in ready]
        await send_json(send, {"models": listed})

    async def _show(self, _scope: Scope, receive: Receive, send: Send) -> None:
        body: _Show = decode((await receive())["body"], _Show)
        model = find_model(body.model or body.name, await listed_models(self._manager))
        details = {
            "modelfile": "",
            "parameters": "",
            "template": "",
            "details": DETAILS,
            "model_info": {
                "general.architecture": ARCHITECTURE,
                "general.basename": model.name,
                f"{ARCHITECTURE}.context_length": await self._context(model),
            },
            "capabilities": await capabilities(model, self._manager),
            "modified_at": instant(self._manager.last_reload.at),
        }
        await send_json(send, details)

    async def _version(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send_json(send, {"version": VERSION})

    async def _context(self, model: Model) -> int:
        """Tokens of context that every provider of *model* has, as far as it is known; else Ollama's own default."""
        known = {state.name: state.facts.context for state in (await self._manager.health()).states if state.facts}
        providers = self._manager.config.active_providers
        asked = model.providers or [one.name for one in providers if not one.last_resort]
        contexts = [one.context or known.get(one.name) for one in providers if one.name in asked]
        return min(filter(None, contexts), default=DEFAULT_CONTEXT)

    async def _managed(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send_json(send, {"error": MANAGED}, status=501)

    def _listed(self, model: Model) -> dict[str, Json]:
        tagged = model.name if ":" in model.name else f"{model.name}:latest"
        return {
            "name": tagged,
            "model": tagged,
            "modified_at": instant(self._manager.last_reload.at),
            "size": 0,
            "digest": hashlib.sha256(tagged.encode()).hexdigest(),
            "details": DETAILS,
        }


def query_from(body: _BaseBody, model: Model, turns: list[Turn], tools: tuple[Tool, ...] = ()) -> Query:
    """
    The query in *body*, put to *model*, which may call *tools*.

    Raises:
        InvalidRequest: it asks for what the pool cannot do; the field says what.
    """
    reject_unsupported(body, UNSUPPORTED)
    if body.logprobs:
        check_alone(model)
    options = _options(body)
    asked = last_word(turns, "messages")
    length = whole(options.num_predict, "options.num_predict")
    return Query(
        prompt=asked.prompt,
        turns=asked.turns,
        images=asked.images,
        tools=tools,
        task=model.task,
        strategy=model.strategy,
        providers=model.providers,
        max_tokens=max(length, NO_LIMIT) if length else None,  # -2 is "until the context is full"
        temperature=options.temperature,
        seed=options.seed,
        stop=tuple(filter(None, [options.stop] if isinstance(options.stop, str) else options.stop or ())),
        output_schema=_schema(body.format),
        think=think_of(LONGEST_THINKING if body.think == "max" else body.think),
        top_logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        no_cache=bool(body.logprobs),
    )


def _options(body: _BaseBody) -> _Options:
    try:
        return msgspec.convert(body.options or {}, _Options)
    except msgspec.ValidationError as error:
        raise type_error(str(error), _Options, "options") from None


def _schema(output_format: str | dict[str, Json] | None) -> dict[str, Json] | None:
    if isinstance(output_format, dict):
        return output_format
    if output_format not in {None, "", "json"}:
        raise InvalidRequest("format", "expected json or a JSON Schema")
    return ANY_OBJECT if output_format else None


class _Encoder:
    """What one request is told, in Ollama's words: lines of JSON."""

    content_type = b"application/x-ndjson"

    def __init__(self, body: _BaseBody, ignored: Sequence[str] = ()) -> None:
        self.body, self._ignored = body, ignored

    def text_field(self, text: str, thinking: str, calls: Sequence[ToolCall]) -> dict[str, Json]:
        """Where *text*, what was thought, and *calls* stand in a line."""
        raise NotImplementedError

    def whole(self, answer: Answer) -> dict[str, Json]:
        """The answer in one piece."""
        line = self._line(answer.content, thinking_of(answer), answer.tool_calls)
        return {**line, "done": True, **_end(answer), **self._beside(answer)}

    def loaded(self) -> dict[str, Json]:
        """The answer to no question."""
        return {**self._line(""), "done": True, "done_reason": "load"}

    def opening(self) -> bytes:
        """Nothing."""
        return b""

    def piece(self, text: str) -> bytes:
        """A line of text."""
        return _encoded({**self._line(text), "done": False})

    def thought(self, text: str) -> bytes:
        """A line of thought."""
        return _encoded({**self._line("", text), "done": False})

    def called(self, _piece: ToolCallDelta) -> bytes:
        """Nothing: calls are told whole, at the end."""
        return b""

    def heartbeat(self) -> bytes:
        """A line without text."""
        return self.piece("")

    def ending(self, end: StreamEnd) -> bytes:
        """The rest of the text, the calls, and the line that tells how it was made."""
        answer = end.answer
        output = self.piece(end.rest) if end.rest else b""
        if answer.tool_calls:
            output += _encoded({**self._line("", calls=answer.tool_calls), "done": False})
        last = {**self._line(""), "done": True, **_end(answer), **self._beside(answer)}
        return output + _encoded(last)

    def failed(self, error: LlmPoolError) -> bytes:
        """An error in a line's place."""
        return _encoded(error_shape(status_of(error).http, error_json(error)))

    def _line(self, text: str, thinking: str = "", calls: Sequence[ToolCall] = ()) -> dict[str, Json]:
        said = self.text_field(text, thinking, calls)
        return {"model": self.body.model, "created_at": instant(time.time()), **said}

    def _beside(self, answer: Answer) -> dict[str, Json]:
        """The decision, and how probable each token was, where that was asked for; in a stream at its end."""
        ours: dict[str, Json] = {"llm_pool": decision_details(answer, self._ignored)}
        if not self.body.logprobs:
            return ours
        top = self.body.top_logprobs or 0
        return {"logprobs": [token_json(token, top) for token in token_logprobs(answer)], **ours}


class _ChatEncoder(_Encoder):
    def text_field(self, text: str, thinking: str, calls: Sequence[ToolCall]) -> dict[str, Json]:
        called = {"tool_calls": [_call(call, at) for at, call in enumerate(calls)]} if calls else {}
        return {"message": {"role": "assistant", "content": text, **_thinking(thinking), **called}}


class _GenerateEncoder(_Encoder):
    def text_field(self, text: str, thinking: str, _calls: Sequence[ToolCall]) -> dict[str, Json]:
        return {"response": text, **_thinking(thinking)}


def _call(call: ToolCall, at: int) -> dict[str, Json]:
    arguments = msgspec.json.decode(call.arguments)
    return {"id": call.id, "function": {"index": at, "name": call.name, "arguments": arguments}}


def _thinking(text: str) -> dict[str, Json]:
    return {"thinking": text} if text else {}


def _end(answer: Answer) -> dict[str, Json]:
    """Why the answer ends, what it took, in nanoseconds, and what the whole panel spent, in tokens."""
    won = answer.decision.winning_attempt
    reading = (won.first_token or 0.0) if won is not None else 0.0
    writing = (won.writing if won.writing is not None else won.duration) if won is not None else answer.duration
    return {
        "done_reason": "stop" if answer.tool_calls else finish(answer),  # it has no word of its own for calls
        "total_duration": _nanoseconds(answer.duration),
        "load_duration": 0,
        "prompt_eval_count": answer.usage.prompt_tokens or 0,
        "prompt_eval_duration": _nanoseconds(reading),
        "eval_count": answer.usage.completion_tokens or 0,
        "eval_duration": _nanoseconds(writing),
    }


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


def _encoded(line: Json) -> bytes:
    return msgspec.json.encode(line) + b"\n"

"""
What a client sends, as a Query: one decoder for each shape, one place where words become fields.

Zero, the empty text and null mean "the default", as in the system this one succeeds and as in protobuf. A field
nobody knows is an error: a typing mistake shall not become another question.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from llm_pool.config.problem import nearest
from llm_pool.core.errors import DeadlineExceeded, InvalidRequest
from llm_pool.core.messages import Query, Turn
from llm_pool.engine import TOKEN_LIMIT, parse_strategy, parse_think
from llm_pool.server.body_values import is_too_much
from llm_pool.server.conversation import (
    ROLES,
    ImageBody,
    ToolBody,
    TurnBody,
    check_images,
    images_of,
    tools_of,
    turns_of,
)
from llm_pool.wire.surrogates import with_whole_characters

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from llm_pool.core.messages import Image, Json, Think, Tool, Turn


NO_CACHE = frozenset({"no-cache", "no-store"})
"""Directives by which a request is answered anew, and its answer not kept."""


def _doc(description: str, *examples: Any, **bounds: Any) -> msgspec.Meta:
    """Documents a field; *bounds* are for the reader, the pool keeps them."""
    return msgspec.Meta(description=description, examples=list(examples) or None, extra_json_schema=bounds or None)


class InferBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question to the pool."""

    prompt: Annotated[
        str | dict[str, Any] | list[Any],
        _doc("The question: text, or the JSON that the task takes.", "cinematic lounge videos"),
    ]
    task: Annotated[str | None, _doc("A task's name; left out, it is a plain question.", "expand_queries")] = None
    request_id: Annotated[
        str | None, _doc("Your own id: the same id again gives the same answer and asks no model twice.")
    ] = None
    tenant_id: Annotated[str | None, _doc("Who asks. Where clients authenticate, the key says it.")] = None
    project_id: Annotated[str | None, _doc("What for; it appears in logs and metrics.")] = None
    max_tokens: Annotated[
        int | None, _doc("Tokens at most; 0 is the default, -1 no limit.", 256, minimum=-1, maximum=TOKEN_LIMIT)
    ] = None
    deadline_ms: Annotated[float | None, _doc("An answer by then, or none; 0 is the default.", 1500, minimum=0)] = None
    strategy: Annotated[
        str | None, _doc("FASTEST, VOTING, WEIGHTED, CONSENSUS or JUDGE; left out, the task's own.", "FASTEST")
    ] = None
    meta: Annotated[dict[str, str] | None, _doc("Words of your own that travel along.")] = None
    no_cache: Annotated[bool | None, _doc("Neither use nor fill the cache.")] = None
    think: Annotated[
        bool | str | None,
        _doc("Whether the models think first: true, false, low, medium or high; left out, as task and provider say."),
    ] = None
    turns: Annotated[list[TurnBody] | None, _doc("What was said before the prompt, the oldest first.")] = None
    output_schema: Annotated[
        dict[str, Any] | None, _doc("JSON Schema of the answer, for a task without one of its own.")
    ] = None
    temperature: Annotated[float | None, _doc("Left out, the task's.", 0.2, minimum=0, maximum=2)] = None
    seed: Annotated[int | None, _doc("The same seed again asks for the same answer.", 7)] = None
    stop: Annotated[list[str] | None, _doc("Texts before which the answer ends.")] = None
    providers: Annotated[list[str] | None, _doc("The only ones that may be asked; left out, the task's panel.")] = None
    tools: Annotated[list[ToolBody] | None, _doc("What the models may call instead of answering.")] = None
    tool_choice: Annotated[str | None, _doc("auto, none, required, or the name of the tool to call.", "auto")] = None
    parallel_tool_calls: Annotated[bool | None, _doc("Whether one answer may hold several calls.", True)] = None
    images: Annotated[list[ImageBody] | None, _doc("Pictures that the prompt is about.")] = None
    stream: Annotated[bool | None, _doc("Answer with server-sent events.")] = None


class FeedbackBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How good an answer was."""

    request_id: Annotated[str, _doc("Of an answer that several models were asked for.")]
    good: Annotated[bool, _doc("Whether the answer was right.", True)]


class InferRequest(msgspec.Struct, frozen=True):
    """A decoded request; *stream*: its answer is wanted piece by piece."""

    query: Query
    stream: bool = False


def decode_infer(body: bytes) -> InferRequest:
    """The request in *body*; raises InvalidRequest."""
    decoded: InferBody = decode(body, InferBody)
    query = query_from(
        prompt=decoded.prompt if isinstance(decoded.prompt, str) else msgspec.json.encode(decoded.prompt).decode(),
        task=decoded.task,
        request_id=decoded.request_id,
        tenant_id=decoded.tenant_id,
        project_id=decoded.project_id,
        max_tokens=decoded.max_tokens,
        deadline=None if decoded.deadline_ms is None else decoded.deadline_ms / 1000,
        strategy=decoded.strategy,
        meta=decoded.meta,
        no_cache=bool(decoded.no_cache),
        think=decoded.think,
        turns=turns_of(decoded.turns),
        output_schema=decoded.output_schema,
        temperature=decoded.temperature,
        seed=decoded.seed,
        stop=decoded.stop or (),
        providers=decoded.providers or (),
        tools=tools_of(decoded.tools),
        tool_choice=decoded.tool_choice,
        parallel_tool_calls=decoded.parallel_tool_calls is not False,
        images=images_of(decoded.images),
    )
    return InferRequest(query, bool(decoded.stream))


def query_from(
    *,
    prompt: str,
    task: str | None = None,
    request_id: str | None = None,
    tenant_id: str | None = None,
    project_id: str | None = None,
    max_tokens: int | None = None,
    deadline: float | None = None,
    strategy: str | None = None,
    meta: Mapping[str, str] | None = None,
    no_cache: bool = False,
    think: bool | str | None = None,
    turns: tuple[Turn, ...] = (),
    output_schema: dict[str, Json] | None = None,
    temperature: float | None = None,
    seed: int | None = None,
    stop: Sequence[str] = (),
    providers: Sequence[str] = (),
    tools: tuple[Tool, ...] = (),
    tool_choice: str | None = None,
    parallel_tool_calls: bool = True,
    images: tuple[Image, ...] = (),
) -> Query:
    """
    A query from words and numbers as a client gives them.

    *deadline* is in seconds; 0 is the default for it and for *max_tokens*, an empty text for *think* and *tool_choice*.
    Raises InvalidRequest where *strategy* names none, *think* is no word for it, or a turn's role or a picture is none.
    """
    _check_conversation(turns, images)
    return Query(
        prompt=prompt,
        task=task or "ask",
        request_id=request_id or "",
        tenant_id=tenant_id or "",
        project_id=project_id or "",
        max_tokens=max_tokens or None,
        deadline=deadline or None,
        strategy=parse_strategy(strategy) if strategy else None,
        meta=dict(meta or {}),
        no_cache=no_cache,
        think=think_of(think),
        turns=turns,
        output_schema=output_schema,
        temperature=temperature,
        seed=seed,
        stop=tuple(filter(None, stop)),
        providers=tuple(providers),
        tools=tools,
        tool_choice=tool_choice or "auto",
        parallel_tool_calls=parallel_tool_calls,
        images=images,
    )


def _check_conversation(turns: Sequence[Turn], images: Sequence[Image]) -> None:
    check_images(images, "images")
    for at, turn in enumerate(turns):
        if turn.role not in ROLES:
            raise InvalidRequest(f"turns[{at}].role", f"expected system, user, assistant or tool, got '{turn.role}'")
        check_images(turn.images, f"turns[{at}].images")


def think_of(value: bool | str | None) -> Think | None:
    """*value* as a client gives it; None where it says nothing. Raises InvalidRequest."""
    if isinstance(value, bool):
        return value
    return parse_think(value) if value else None


def with_deadline(query: Query, left: float | None) -> Query:
    """
    *query* with a deadline of *left* seconds, or its own where that is shorter.

    *left* is how long the client still waits, None where it does not say. Raises DeadlineExceeded where that is over.
    """
    if left is None:
        return query
    if left <= 0:
        raise DeadlineExceeded(max(left, 0.0))
    return msgspec.structs.replace(query, deadline=left if query.deadline is None else min(left, query.deadline))


def with_cache_control(query: Query, headers: Iterable[tuple[bytes, bytes]]) -> Query:
    """
    *query* by the ``Cache-Control`` among *headers*: ``no-cache`` and ``no-store`` both keep the cache out of it.

    Source: RFC 9111, 5.2.1.4 and 5.2.1.5.
    """
    values = [value.decode("latin-1") for name, value in headers if name == b"cache-control"]
    if not values:
        return query
    said = ",".join(values)
    directives = {part.partition("=")[0].strip().lower() for part in said.split(",")}
    return query if directives.isdisjoint(NO_CACHE) else msgspec.structs.replace(query, no_cache=True)


def deadline_header(value: str | None) -> float | None:
    """Seconds from an ``X-Deadline-Ms`` header, None without one; raises InvalidRequest."""
    if value is None:
        return None
    if not re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,6})?", value):
        raise InvalidRequest("X-Deadline-Ms", f"expected milliseconds, got '{value[:20]}'")
    return float(value) / 1000


def whole(value: float | None, field: str) -> int | None:
    """*value*, which some clients write as ``16.0``, as a whole number; raises InvalidRequest, which names *field*."""
    if value is None:
        return None
    if value % 1 != 0:
        raise InvalidRequest(field, f"expected a whole number, got {value:g}")
    return int(value)


def decode(body: bytes, kind: Any) -> Any:
    """
    *body* as a *kind*, a struct; half a character (a lone surrogate) is read as U+FFFD.

    Raises InvalidRequest, which names the field that is wrong.
    """
    if is_too_much(body):
        raise InvalidRequest("body", "it holds too many values", hint="split it into several requests")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise type_error(str(error), kind) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        whole = with_whole_characters(body)
        if whole != body:
            return decode(whole, kind)
        raise InvalidRequest("body", f"not JSON: {error}") from None
    except RecursionError:
        raise InvalidRequest("body", "nested too deeply") from None


def type_error(decoded: str, kind: Any, within: str = "") -> InvalidRequest:
    """The sentence of msgspec, such as "Expected `int`, got `str` - at `$.max_tokens`", as ours; *within*: a field."""
    reason, _, place = decoded.partition(" - at `$")
    field = f"{within}{place.rstrip('`')}".replace("[...]", "").strip(".") or "body"
    if match := re.fullmatch(r"Object contains unknown field `(.*)`", reason, re.DOTALL):
        return InvalidRequest(match[1][:64], "no such field", hint=_hint(match[1][:64], kind))
    if match := re.fullmatch(r"Object missing required field `(.*)`", reason):
        return InvalidRequest(match[1] if field == "body" else f"{field}.{match[1]}", "it is missing")
    return InvalidRequest(field, reason[:1].lower() + reason[1:].replace("`", "").replace(" | null", ""))


@lru_cache(maxsize=256)
def _hint(name: str, kind: Any) -> str:
    """What *name*, no field of *kind*, may have meant: a client makes its mistake with each of its requests."""
    return nearest(name, kind.__struct_fields__) or f"fields are {', '.join(kind.__struct_fields__)}"

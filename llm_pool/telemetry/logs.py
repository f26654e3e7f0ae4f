"""
Log lines: one a line whatever is in them, JSON for machines, plain words on a terminal.

Everything goes through the standard library's ``logging``, so a program that embeds the pool keeps its own set-up.
Prompts and answers are left out unless they are switched on; what clients send (ids, projects, words in errors) is
data: control characters are escaped in both formats.
"""

from __future__ import annotations

import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

import msgspec

from llm_pool.config import LogFormat
from llm_pool.core.events import AccessDenied, BreakerChanged, Reloaded, RequestAnswered, RequestFailed
from llm_pool.telemetry.redaction import redacted_message
from llm_pool.wire.json import error_code

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_pool.core.errors import LlmPoolError
    from llm_pool.core.events import Event
    from llm_pool.core.messages import Json, Query

MAX_FIELD_LENGTH = 2000
"""Characters of a text in a log line; the rest is left out, and the line says how much."""
MAX_NAME_LENGTH = 200
"""Characters of an id or a name that a client sent."""
FIELDS = "fields"
"""The attribute of a log record that holds its fields."""
# What a terminal may act on or a reader be misled by: C0, DEL, C1, bidirectional marks, line and paragraph separators.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_log = logging.getLogger("llm_pool")


class JsonLines(logging.Formatter):
    """A record as one JSON object: ``time``, ``level``, ``logger``, ``message``, its fields, ``traceback`` if any."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Json] = {
            "time": _when(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _bounded(record.getMessage()),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return safe(msgspec.json.encode(_clean(line)).decode())


class Pretty(logging.Formatter):
    """A record for people: time, level, message, then ``name=value`` where there is a value."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end; a traceback follows on lines of its own."""
        fields = [f"{name}={_shown(value)}" for name, value in _fields(record).items() if value is not None]
        head = f"{_when(record).astimezone():%H:%M:%S} {record.levelname.lower():7} {safe(record.getMessage())}"
        line = "  ".join([_bounded(head), " ".join(fields)]).rstrip()
        if record.exc_info:
            line += "".join(f"\n    {safe(row)}" for row in self.formatException(record.exc_info).splitlines())
        return line


class RequestLog:
    """
    An observer that writes a line for every request that ended, every move of a breaker and every reload.

    Args:
        prompts: whether lines hold prompts and answers.
    """

    def __init__(self, *, prompts: bool = False) -> None:
        self._prompts = prompts

    def on(self, event: Event) -> None:
        """Write the line of *event*, if it has one."""
        match event:
            case RequestAnswered():
                self._answered(event)
            case RequestFailed():
                self._refused(event)
            case BreakerChanged():
                fields = {"provider": event.provider, "task": event.task, "before": event.before, "after": event.after}
                _write(logging.WARNING if event.after == "open" else logging.INFO, "breaker", fields)
            case Reloaded():
                _reloaded(event)
            case AccessDenied():
                _write(logging.WARNING, "access denied", {"reason": event.reason})
            case _:
                pass

    def _answered(self, event: RequestAnswered) -> None:
        answer, query = event.answer, event.query
        fields = _asked(query) | {
            "request_id": answer.request_id,
            "strategy": answer.strategy_used.value,
            "winner": answer.winner,
            "winner_model": answer.winner_model,
            "duration_ms": _ms(answer.duration),
            "from_cache": answer.from_cache,
            "degraded": answer.degraded,
            "prompt_tokens": answer.usage.prompt_tokens,
            "completion_tokens": answer.usage.completion_tokens,
        }
        if answer.degraded:
            fields["degraded_reason"] = _bounded(answer.decision.degraded_reason)
        if self._prompts:
            fields |= {"prompt": _bounded(query.prompt), "content": _bounded(answer.content)}
        _write(logging.INFO, "answered", fields)

    def _refused(self, event: RequestFailed) -> None:
        fields = _asked(event.query) | {
            "strategy": None if event.query.strategy is None else event.query.strategy.value,
            "duration_ms": _ms(event.duration),
            **_error(event.error),
        }
        if self._prompts:
            fields["prompt"] = _bounded(event.query.prompt)
        _write(logging.WARNING, "refused", fields)


def set_up(log_format: LogFormat, stream: TextIO | None = None) -> Callable[[], None]:
    """
    Send what llm-pool and uvicorn log to *stream*.

    Args:
        log_format: ``auto`` is pretty where *stream* is a terminal.
        stream: stderr if None.

    Returns:
        Takes it back.
    """
    out = sys.stderr if stream is None else stream
    pretty = log_format is LogFormat.PRETTY or (log_format is LogFormat.AUTO and out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(Pretty() if pretty else JsonLines())
    loggers = [_log, logging.getLogger("uvicorn"), logging.getLogger("asyncio")]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False

    def undo() -> None:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate

    return undo


def name_request(request_id: str) -> None:
    """Let the lines that this task and those it starts write name *request_id*, if they name no request themselves."""
    _request_id.set(request_id)


def _fields(record: logging.LogRecord) -> dict[str, Json]:
    fields: dict[str, Json] = getattr(record, FIELDS, {})
    named = _request_id.get(None)
    return fields if named is None or fields.get("request_id") else {**fields, "request_id": named}


_request_id: ContextVar[str] = ContextVar("the id of the request that is served")


def safe(text: str) -> str:
    """*text* on one line, with nothing in it that a terminal would act on."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _reloaded(event: Reloaded) -> None:
    if event.error is None:
        _write(logging.INFO, "serving", {"generation": event.generation})
        return
    place = {"key": getattr(event.error, "key", None), "line": getattr(event.error, "line", None)}
    _write(logging.ERROR, "reload refused", {"generation": event.generation, **_error(event.error), **place})


def _asked(query: Query) -> dict[str, Json]:
    """Who asked for what; what is too long to be true is cut, as a request that is refused may hold anything."""
    names = {
        "request_id": query.request_id or query.correlation_id,
        "tenant": query.tenant_id,
        "project": query.project_id,
        "task": query.task,
    }
    if query.request_id and query.correlation_id not in {"", query.request_id}:
        names["correlation_id"] = query.correlation_id
    return {name: value[:MAX_NAME_LENGTH] or None for name, value in names.items()}


def _error(error: LlmPoolError) -> dict[str, Json]:
    return {"error": error_code(error), "reason": _bounded(redacted_message(error))}


def _write(level: int, message: str, fields: dict[str, Json]) -> None:
    _log.log(level, message, extra={FIELDS: fields})


def _when(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _shown(value: Json) -> str:
    return safe(value) if isinstance(value, str) and re.fullmatch(r"[^\s\"=]+", value) else safe(_json(value))


def _json(value: Json) -> str:
    return msgspec.json.encode(_clean(value)).decode()


def _clean(value: Json) -> Json:
    """*value* without lone surrogates, which UTF-8 cannot hold."""
    match value:
        case str():
            return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {name: _clean(item) for name, item in value.items()}
        case _:
            return value


def _bounded(text: str) -> str:
    return (
        text if len(text) <= MAX_FIELD_LENGTH else f"{text[:MAX_FIELD_LENGTH]}… ({len(text) - MAX_FIELD_LENGTH} more)"
    )

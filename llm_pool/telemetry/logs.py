"""
Log lines: one a line whatever is in them, JSON for machines, plain words on a terminal.

Everything goes through the standard library's ``logging``, so a program that embeds the pool keeps its own set-up.
Prompts and answers are left out unless they are switched on; what clients send (ids, projects, words in errors) is
data: control characters are escaped in both formats.
"""

from __future__ import annotations

import logging
import os
import re
import select
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, TextIO

import msgspec

from llm_pool.config import LogFormat
from llm_pool.core.events import AccessDenied, BreakerChanged, Reloaded, RequestAnswered, RequestFailed
from llm_pool.telemetry.line_writer import LineWriter
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
            "time": _utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _bounded(record.getMessage()),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return safe(_json(line))


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
        fields = {
            **_asked(query),
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
        fields = {
            **_asked(event.query),
            "strategy": None if event.query.strategy is None else event.query.strategy.value,
            "duration_ms": _ms(event.duration),
            **_error(event.error),
        }
        if self._prompts:
            fields["prompt"] = _bounded(event.query.prompt)
        _write(logging.WARNING, "refused", fields)


class LineHandler(logging.Handler):
    """
    Writes records to *stream* by a thread of its own; errors at once. ``flush`` waits until all is written.

    Args:
        stream: by its file descriptor, where it has one.
        formatter: makes a line of a record.
    """

    def __init__(self, stream: TextIO, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._writer = LineWriter(_written_to(stream), self._tell_dropped)

    def emit(self, record: logging.LogRecord) -> None:
        """Have the line of *record* written."""
        try:
            line = self.format(record).encode("utf-8", "backslashreplace")
        except Exception:  # noqa: BLE001  # as every handler of the standard library: a log line breaks nothing
            self.handleError(record)
        else:
            self._writer.put(line + b"\n", at_once=record.levelno >= logging.ERROR)

    def flush(self) -> None:
        """Return once all is written."""
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
        super().close()

    def _tell_dropped(self, count: int) -> bytes:
        record = _record(logging.WARNING, f"{count} log lines were dropped: they are read too slowly", {})
        return self.format(record).encode() + b"\n"


def _written_to(stream: TextIO) -> Callable[[bytes], None]:
    """What writes to *stream*."""
    try:
        descriptor = stream.fileno()
    except (OSError, AttributeError):
        return lambda lines: (stream.write(lines.decode()), stream.flush())[1]

    def write(lines: bytes) -> None:
        left = memoryview(lines)
        while left:
            try:
                left = left[os.write(descriptor, left) :]
            except BlockingIOError:  # whoever shares it made it so
                select.select((), (descriptor,), ())

    return write


def set_up(log_format: LogFormat, stream: TextIO | None = None) -> Callable[[], None]:
    """
    Send what llm-pool and uvicorn log to *stream*.

    Args:
        log_format: ``auto`` is pretty where *stream* is a terminal.
        stream: stderr if None.

    Returns:
        Takes it back, once all is written.
    """
    out = sys.stderr if stream is None else stream
    pretty = log_format is LogFormat.PRETTY or (log_format is LogFormat.AUTO and out.isatty())
    handler = LineHandler(out, Pretty() if pretty else JsonLines())
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
        handler.close()

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
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _reloaded(event: Reloaded) -> None:
    if event.error is None:
        _write(logging.INFO, "serving", {"generation": event.generation})
        return
    place = {"key": getattr(event.error, "key", None), "line": getattr(event.error, "line", None)}
    _write(logging.ERROR, "reload refused", {"generation": event.generation, **_error(event.error), **place})


def _asked(query: Query) -> dict[str, Json]:
    """Who asked for what; what is too long to be true is cut, as a request that is refused may hold anything."""
    request_id, correlation_id = query.request_id, query.correlation_id
    asked = {
        "request_id": _name(request_id or correlation_id),
        "tenant": _name(query.tenant_id),
        "project": _name(query.project_id),
        "task": _name(query.task),
    }
    if request_id and correlation_id not in {"", request_id}:
        asked["correlation_id"] = _name(correlation_id)
    return asked


def _name(text: str) -> str | None:
    return text[:MAX_NAME_LENGTH] or None


def _error(error: LlmPoolError) -> dict[str, Json]:
    return {"error": error_code(error), "reason": _bounded(redacted_message(error))}


def _write(level: int, message: str, fields: dict[str, Json]) -> None:
    if _log.isEnabledFor(level):
        _log.handle(_record(level, message, fields))


def _record(level: int, message: str, fields: dict[str, Json]) -> logging.LogRecord:
    """A record that names no place in the code: to look for it is a third of the price of a line."""
    record = logging.LogRecord(_log.name, level, "", 0, message, (), None)
    record.__dict__[FIELDS] = fields
    return record


def _when(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _utc(unix: float) -> str:
    """The instant in RFC 3339, to the millisecond."""
    seconds, rest = divmod(int(unix * 1000), 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=4)
def _second(unix: int) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _shown(value: Json) -> str:
    return safe(value) if isinstance(value, str) and re.fullmatch(r"[^\s\"=]+", value) else safe(_json(value))


def _json(value: Json) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
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

"""
Server-sent events out of bytes that were cut anywhere.

Lines end with a line feed, a carriage return or both, and with nothing else: U+2028 and its kin are part of a text. An
event is complete with the empty line after it; what is left at the end of a stream is none.

Source: WHATWG HTML, "Server-sent events", 9.2.6.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_EVENT = 64 << 20
"""Bytes of one event, as of one message over gRPC."""
_LINE_END = re.compile(rb"\r\n|\n|\r")


class ServerEvent(NamedTuple):
    """One event: its name, ``message`` where it has none, and its data."""

    name: str
    data: bytes


class SseDecoder:
    """Puts events together from pieces."""

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._name, self._data = "", list[bytes]()
        self._size = 0
        self._after_return = False

    def feed(self, piece: bytes) -> list[ServerEvent]:
        """The events that *piece* completes; raises ValueError where one grows beyond ``MAX_EVENT``."""
        if self._after_return and piece:
            piece = piece.removeprefix(b"\n")  # the second half of a line end
            self._after_return = False
        if not piece:
            return []
        self._after_return = piece.endswith(b"\r")
        *ended, rest = _LINE_END.split(piece)
        events = [event for line in ended if (event := self._take(line)) is not None]
        self._hold(rest)
        return events

    def _take(self, ending: bytes) -> ServerEvent | None:
        """A line is complete, *ending* is its end; the event, if it was the empty one."""
        line, self._line = b"".join((*self._line, ending)), []
        self._size += len(ending)
        if not line:
            name, data = self._name, self._data
            self._name, self._data, self._size = "", [], 0
            return ServerEvent(name or "message", b"\n".join(data)) if data else None
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            self._name = value.decode("utf-8", "replace")
        elif field == b"data":
            self._data.append(value)
        return None

    def _hold(self, rest: bytes) -> None:
        if rest:
            self._line.append(rest)
            self._size += len(rest)
        if self._size > MAX_EVENT:
            raise ValueError(f"an event of more than {MAX_EVENT} bytes")

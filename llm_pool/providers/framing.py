"""Lines and server-sent events out of bytes that were cut anywhere."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from llm_pool.core.errors import BadReply

if TYPE_CHECKING:
    from llm_pool.providers.transport import Response

MAX_LINE = 4 * 1024 * 1024
"""Bytes of one line or event; a token's line has some hundred."""


class Splitter(Protocol):
    """Puts records together from pieces."""

    def feed(self, data: bytes) -> list[bytes]:
        """The records that *data* completes; ValueError where one grows beyond MAX_LINE."""

    def finish(self) -> list[bytes]:
        """What is left when nothing more comes: the last record, if its end mark is missing."""


class Lines:
    r"""Lines that end with ``\n`` or ``\r\n``; given without their ends, empty ones too."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that *data* completes."""
        *ended, rest = data.split(b"\n")
        if ended:
            ended[0] = b"".join((*self._begun, ended[0]))
            self._begun, self._size = [], 0
        self._begun.append(rest)
        self._size += len(rest)
        if self._size > MAX_LINE:
            raise ValueError(f"a line of more than {MAX_LINE} bytes")
        return [line.removesuffix(b"\r") for line in ended]

    def finish(self) -> list[bytes]:
        """The last line, if it has no end."""
        rest, self._begun, self._size = b"".join(self._begun).removesuffix(b"\r"), [], 0
        return [rest] if rest else []


class JsonLines(Lines):
    """Lines that say something: empty ones are left out."""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that *data* completes."""
        return [line for line in super().feed(data) if line]


class Events:
    """
    The ``data`` of server-sent events, its lines joined by newlines.

    Comments, which keep connections awake, and all other fields are passed over.

    Source: WHATWG HTML, "Server-sent events", 9.2.6; a lone carriage return, which nobody sends, ends no line here.
    """

    def __init__(self) -> None:
        self._lines = Lines()
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The events that *data* completes."""
        return [event for line in self._lines.feed(data) for event in self._line(line)]

    def finish(self) -> list[bytes]:
        """The last event, if the empty line after it is missing."""
        return [event for line in (*self._lines.finish(), b"") for event in self._line(line)]

    def _line(self, line: bytes) -> list[bytes]:
        if not line:
            ended, self._data, self._size = self._data, [], 0
            return [b"\n".join(ended)] if ended else []
        field, _, value = line.partition(b":")
        if field.removeprefix(b"\xef\xbb\xbf") == b"data":
            self._data.append(value.removeprefix(b" "))
            self._size += len(value)
            if self._size > MAX_LINE:
                raise ValueError(f"an event of more than {MAX_LINE} bytes")
        return []


class Records:
    """
    The records of a response, one by one.

    Raises:
        BadReply: one is too long.
        Failed: the response was cut short; also in the middle of a record.
    """

    def __init__(self, provider: str, response: Response, splitter: Splitter) -> None:
        self._provider, self._response, self._splitter = provider, response, splitter
        self._ready: deque[bytes] = deque()
        self._ended = False

    def __aiter__(self) -> Records:
        return self

    async def __anext__(self) -> bytes:
        while not self._ready:
            if self._ended:
                raise StopAsyncIteration
            piece = await self._response.piece()
            self._ended = piece is None
            try:
                self._ready.extend(self._splitter.finish() if piece is None else self._splitter.feed(piece))
            except ValueError as error:
                raise BadReply(self._provider, str(error)) from error
        return self._ready.popleft()

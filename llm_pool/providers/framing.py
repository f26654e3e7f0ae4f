"""Records out of bytes that were cut anywhere: lines of JSON, server-sent events, or one JSON value as a whole."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from llm_pool.core.errors import BadReply, Failed, Rejected
from llm_pool.providers.html import END_OF_TITLE, MAX_PAGE, described, is_markup
from llm_pool.providers.json_values import parse

if TYPE_CHECKING:
    from llm_pool.providers.transport import Backend, Response

MAX_LINE: Final = 2 * 1024 * 1024
"""Bytes of one line or event: a token's line has some hundred, and one of this size is read in 10 ms."""
MAX_BATCH: Final = 128
"""Records that are handed on at once: what is done with them is done in one turn of the event loop."""
MAX_SLICE: Final = 2 * 1024
"""Bytes that are split into records at once, for the same reason: they may be hundreds of events that say nothing."""
DONE: Final = b"[DONE]"
"""The data of the event that ends a stream of OpenAI's kind."""

_BOM: Final = b"\xef\xbb\xbf"
_FIELDS: Final = frozenset({b"data", b"event", b"id", b"retry"})
_LINE_COST: Final = 64  # bytes that one more line takes, however short
_MAX_STRAY: Final = 200  # bytes kept of text that is no event


class Record(NamedTuple):
    """What a stream says at once; *event* is the name of a server-sent event that has one."""

    data: bytes
    event: str = ""


class Splitter(Protocol):
    """Puts records together from pieces."""

    def feed(self, data: bytes) -> list[Record]:
        """The records that *data* completes; ValueError where one grows beyond MAX_LINE."""

    def finish(self) -> list[Record]:
        """What is left when nothing more comes: the last record, if its end mark is missing."""


class Lines:
    r"""Lines that end with ``\n``, ``\r\n`` or a lone ``\r``; given without their ends, empty ones too."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []
        self._size = 0
        self._after_return = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that *data* completes."""
        if self._after_return and data:
            data = data.removeprefix(b"\n")  # the second half of a line end
        if not data:
            return []
        self._after_return = data.endswith(b"\r")
        lines = data.splitlines()
        rest = b"" if data.endswith((b"\n", b"\r")) else lines.pop()
        if lines and self._begun:
            lines[0] = b"".join((*self._begun, lines[0]))
            self._begun, self._size = [], 0
        if rest:
            self._begun.append(rest)
            self._size += len(rest)
        if self._size > MAX_LINE:
            raise ValueError(f"a line of more than {MAX_LINE} bytes")
        return lines

    @property
    def has_begun(self) -> bool:
        """Whether a line has begun, or its end."""
        return self._size > 0 or self._after_return

    def finish(self) -> list[bytes]:
        """The last line, if it has no end."""
        rest, self._begun, self._size = b"".join(self._begun), [], 0
        return [rest] if rest else []


class JsonLines:
    """
    JSON values, one a line; empty lines are left out.

    Where the first line is no value by itself, all that comes is one value, written on several lines.
    """

    def __init__(self) -> None:
        self._lines = Lines()
        self._whole: list[bytes] | None = None
        self._size = 0
        self._first = True

    def feed(self, data: bytes) -> list[Record]:
        """The values that *data* completes."""
        return self._take(self._lines.feed(data))

    def finish(self) -> list[Record]:
        """The last value, if its line has no end, or the only one."""
        ended = self._take(self._lines.finish())
        return ended if self._whole is None else [Record(b"\n".join(self._whole))]

    def _take(self, lines: list[bytes]) -> list[Record]:
        said = [line for line in lines if line and not line.isspace()]
        if said and self._first:
            self._first = False
            self._whole = None if _is_json(said[0]) else []
        if self._whole is None:
            return [Record(line) for line in said]
        self._whole += said
        self._size += sum(map(len, said))
        if self._size > MAX_LINE:
            raise ValueError(f"a value of more than {MAX_LINE} bytes")
        return []


class Events:
    """
    Server-sent events; their ``data`` lines are joined by newlines.

    Comments, which keep connections awake, and fields that nobody knows are passed over. A field ``error``, as
    llama-server wrote it, and a line that is a JSON object are events too.

    Source: WHATWG HTML, "Server-sent events", 9.2.6.
    """

    def __init__(self) -> None:
        self._lines = Lines()
        self._data: list[bytes] = []
        self._event = ""
        self._size = 0
        self._stray = b""
        self._said_anything = False

    def feed(self, data: bytes) -> list[Record]:
        """The events that *data* completes."""
        if self._is_between and data.endswith(b"\n\n") and (whole := _whole_events(data)):
            self._said_anything = True
            return whole
        return self._take(self._lines.feed(data))

    @property
    def _is_between(self) -> bool:
        """Nothing of an event has begun."""
        return not (self._data or self._event or self._lines.has_begun)

    def finish(self) -> list[Record]:
        """The last event, if the empty line after it is missing; ValueError where what came was no stream of events."""
        ended = self._take([*self._lines.finish(), b""])
        if self._stray and not self._said_anything:
            raise ValueError(f"an answer that is no stream: {self._stray.decode('utf-8', 'replace')!r}")
        return ended

    def _take(self, lines: list[bytes]) -> list[Record]:
        ended: list[Record] = []
        for line in lines:
            if line[:5] == b"data:":
                self._add(line[6:] if line[5:6] == b" " else line[5:])
            elif line:
                ended += self._other_line(line)
            elif self._data:
                ended.append(Record(b"\n".join(self._data), self._event))
                self._data, self._event, self._size = [], "", 0
            else:
                self._event = ""
        return ended

    def _other_line(self, line: bytes) -> list[Record]:
        """Any line but one with data, and the empty one."""
        if line.startswith(b"{"):
            self._said_anything = True
            return [Record(line)]
        field, _, value = line.partition(b":")
        field, value = field.removeprefix(_BOM), value.removeprefix(b" ")
        if field == b"data":
            self._add(value)
        elif field == b"event":
            self._event = value.decode("utf-8", "replace")
        elif field == b"error":
            self._said_anything = True
            return [Record(value, "error")]
        elif field and field not in _FIELDS:
            self._stray = self._stray or line[:_MAX_STRAY]
        return []

    def _add(self, value: bytes) -> None:
        self._said_anything = True
        self._data.append(value)
        self._size += len(value) + _LINE_COST
        if self._size > MAX_LINE:
            raise ValueError(f"an event of more than {MAX_LINE} bytes")


class Records:
    """
    The records of a response, in batches.

    What comes decides how it is read, whatever its Content-Type: JSON begins with a bracket, HTML with ``<``, and
    all else is read as server-sent events.

    Raises:
        BadReply: a record is too long, or what came is no stream.
        Rejected: an HTML page came: somebody else answers at this address.
        Failed: the response was cut short; also in the middle of a record.
    """

    def __init__(self, backend: Backend, response: Response) -> None:
        self._backend, self._response = backend, response
        self._splitter: Splitter | None = None
        self._unread = memoryview(b"")
        self._held = b""
        self._ready: list[Record] = []  # of MAX_SLICE bytes, so that cutting it costs next to nothing
        self._ended = False

    def __aiter__(self) -> Records:
        return self

    async def __anext__(self) -> list[Record]:
        """Up to MAX_BATCH records, at least one; each batch in a turn of the event loop of its own."""
        if self._ready:
            await asyncio.sleep(0)
        while not self._ready:
            if self._ended:
                raise StopAsyncIteration
            piece = await self._slice()
            self._ended = piece is None
            if self._splitter is None:
                piece = await self._begin(piece)
            try:
                self._ready += self._split(piece)
            except ValueError as error:
                raise BadReply(self._backend.name, self._backend.redacted(str(error))) from error
        if len(self._ready) <= MAX_BATCH:
            batch, self._ready = self._ready, []
        else:
            batch, self._ready = self._ready[:MAX_BATCH], self._ready[MAX_BATCH:]
        return batch

    async def _slice(self) -> bytes | None:
        """The next MAX_SLICE bytes of the response, or fewer; None is its end."""
        if self._unread:
            await asyncio.sleep(0)
        else:
            piece = await self._response.piece()
            if piece is None or len(piece) <= MAX_SLICE:
                return piece
            self._unread = memoryview(piece)
        taken, self._unread = self._unread[:MAX_SLICE], self._unread[MAX_SLICE:]
        return bytes(taken)

    async def _begin(self, piece: bytes | None) -> bytes | None:
        """See by the first bytes how to read what comes; white space is passed over until then."""
        beginning, self._held = self._held + (piece or b""), b""
        if piece and len(beginning) < len(_BOM) and _BOM.startswith(beginning):
            self._held = beginning
            return b""
        beginning = beginning.removeprefix(_BOM).lstrip()
        if is_markup(beginning):
            raise await self._page(beginning)
        if beginning:
            self._splitter = JsonLines() if beginning.startswith((b"{", b"[", b'"')) else Events()
        return None if piece is None else beginning

    def _split(self, piece: bytes | None) -> list[Record]:
        if self._splitter is None:
            return []
        return self._splitter.finish() if piece is None else self._splitter.feed(piece)

    async def _page(self, page: bytes) -> Rejected:
        """The error that *page*, of which more may come, stands for."""
        seen = 0
        with suppress(Failed):
            while len(page) < MAX_PAGE and END_OF_TITLE.search(page, max(0, seen - len("</title"))) is None:
                seen, piece = len(page), await self._slice()
                if piece is None:
                    break
                page += piece
        hint = f"check base_url of provider {self._backend.name}: {self._backend.authority} answers as a web site does"
        return Rejected(self._backend.name, self._backend.redacted(f"it answers with {described(page)}"), hint=hint)


def _whole_events(data: bytes) -> list[Record]:
    """The events in *data* where it is nothing but whole ones of one data line each, as servers write; else empty."""
    if b"\r" in data:
        return []
    lines = data[:-2].split(b"\n\n")
    for line in lines:
        if line[:6] != b"data: " or b"\n" in line:
            return []
    return [Record(line[6:]) for line in lines]


def _is_json(line: bytes) -> bool:
    try:
        parse(line)
    except ValueError:
        return False
    return True

"""One socket to a backend: a request goes out, its answer is read as it comes."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

import httptools

MAX_HEAD = 64 * 1024
"""Bytes of status line and headers; real backends need less than one kilobyte."""

MAX_PIECE = 8 * 1024
"""
Bytes that are taken from the socket at once, and handed on at once.

What is done with a piece is done in one turn of the event loop: a backend that sends as fast as it can, a token or a
byte a chunk, must not hold the loop over 10 ms.
"""

_PAUSE, _RESUME = 256 * 1024, 64 * 1024
"""Bytes waiting to be taken at which reading from the socket stops and goes on."""


class ConnectionBroken(Exception):
    """The connection or what came over it is no good; *began* tells whether a byte of an answer had come."""

    def __init__(self, reason: str, *, began: bool) -> None:
        super().__init__(reason)
        self.began = began


class ResponseParser:
    """
    One response while it arrives. The ``on_`` methods are called by llhttp.

    Attributes:
        headers: by lower-case name; repeated ones joined by a comma.
        has_head: status and headers are here.
        complete: the body is here to its end.
        delimited: the response says itself where it ends. Where it does not, a cut looks like an end.
        reusable: the backend keeps the connection open after it.
        buffered: bytes that have arrived and nobody has taken yet.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.has_head = self.complete = self.delimited = self.reusable = False
        self.pieces: deque[bytes] = deque()
        self.buffered = self.received = 0
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """
        Take in what came.

        Raises:
            ConnectionBroken: it is not HTTP, or has no end of headers.
        """
        if self.complete:
            self.reusable = False  # it says more than it was asked: nothing after this can be trusted
        if self._parser is None:
            return
        self.received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise ConnectionBroken(f"not an HTTP answer: {error}", began=True) from error
        if not self.has_head and self.received > MAX_HEAD:
            raise ConnectionBroken(f"headers of more than {MAX_HEAD} bytes", began=True)

    def release(self) -> None:
        """Take in nothing any more. The two parsers know each other, and would wait for the garbage collector."""
        self._parser = None

    def take(self) -> bytes:
        """What is here of the body, up to about MAX_PIECE bytes; there must be something."""
        taken = [self.pieces.popleft()]
        size = len(taken[0])
        while self.pieces and size + len(self.pieces[0]) <= MAX_PIECE:
            taken.append(self.pieces.popleft())
            size += len(taken[-1])
        self.buffered -= size
        return b"".join(taken)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line."""
        if self._parser is None:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        """The head of an answer, or of an interim one such as 100 Continue, which is passed over."""
        if self._parser is None:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers.clear()
            return
        self.has_head = True
        self.delimited = "content-length" in self.headers or "transfer-encoding" in self.headers

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._parser is None:
            return
        self.pieces.append(body)
        self.buffered += len(body)

    def on_message_complete(self) -> None:
        """The end; what follows in the same bytes belongs to nobody."""
        if self._parser is None:
            self.reusable = False
        elif self.has_head:
            self.complete = True
            self.reusable = self._parser.should_keep_alive()
            self.release()


class Connection(asyncio.BufferedProtocol):
    """A socket that carries one request at a time. ``closed`` is set once it is gone."""

    def __init__(self) -> None:
        self.answer = ResponseParser()
        self.closed = asyncio.Event()
        self._buffer = bytearray(MAX_PIECE)
        self._transport: asyncio.Transport | None = None
        self._broken: str | None = None
        self._paused = False
        self._wakeup: asyncio.Future[None] | None = None

    @property
    def idle(self) -> bool:
        """The last answer is whole, and another request may follow."""
        return self.answer.complete and self.answer.reusable and self._broken is None

    def send(self, request: bytes) -> None:
        """Send a whole request; its answer becomes ``answer``."""
        self.answer.release()
        self.answer = ResponseParser()
        if self._transport is not None:
            self._transport.write(request)

    async def head(self) -> ResponseParser:
        """
        Wait for status and headers.

        Raises:
            ConnectionBroken: they do not come any more.
        """
        while not self.answer.has_head:
            await self._wait()
        return self.answer

    async def piece(self) -> bytes | None:
        """
        Wait for the next piece of the body; None is its proper end.

        Raises:
            ConnectionBroken: the connection ended before the body did.
        """
        while not self.answer.pieces:
            if self.answer.complete:
                return None
            await self._wait()
        piece = self.answer.take()
        if self._paused and self.answer.buffered < _RESUME:
            self._pause(paused=False)
        return piece

    def abort(self) -> None:
        """Close now, without waiting for anything. Idempotent."""
        self._break("closed by us")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, _sizehint: int) -> bytearray:
        """Where the next bytes go."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """The backend speaks."""
        try:
            self.answer.feed(bytes(self._buffer[:nbytes]))
        except ConnectionBroken as error:
            self._break(str(error))
        if self.answer.buffered > _PAUSE:
            self._pause(paused=True)
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed, by whichever side."""
        answer = self.answer
        if exc is None and answer.has_head and not answer.delimited and self._broken is None:
            answer.complete = True  # this is how an answer of no stated length ends
        if self._broken is None:
            self._broken = "the connection was closed" if exc is None else f"the connection broke: {exc}"
        answer.release()
        self.closed.set()
        self._wake()

    def _break(self, reason: str) -> None:
        if self._broken is None:
            self._broken = reason
        if self._transport is not None:
            self._transport.abort()

    def _pause(self, *, paused: bool) -> None:
        if self._transport is None or self._broken is not None or paused == self._paused:
            return
        self._paused = paused
        if paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    async def _wait(self) -> None:
        if self._broken is not None:
            raise ConnectionBroken(self._broken, began=self.answer.received > 0)
        self._wakeup = asyncio.get_running_loop().create_future()
        try:
            await self._wakeup
        finally:
            self._wakeup = None

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

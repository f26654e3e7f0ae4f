"""As much HTTP/1.1 as a backend speaks, and every way to speak it badly."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import TypeAlias, cast

import msgspec

Headers: TypeAlias = Sequence[tuple[str, str]]


class Request(msgspec.Struct, frozen=True):
    """A request as it came; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Handler: TypeAlias = "Callable[[Request, Connection], Awaitable[None]]"


class Connection(asyncio.Protocol):
    """
    One client: its requests are handled one after the other, and its going away cancels the handler at once.

    Args:
        handle: answers a request through the methods below.
        everyone: the server's connections; this one is in it while open.

    Attributes:
        handling: the task that answers now.
    """

    def __init__(self, handle: Handler, everyone: set[Connection]) -> None:
        self._handle, self._everyone = handle, everyone
        self._buffer = bytearray()
        self.handling: asyncio.Task[None] | None = None
        self._closing = self._last = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is here."""
        self._transport = cast(asyncio.Transport, transport)
        self._everyone.add(self)

    def data_received(self, data: bytes) -> None:
        """It speaks."""
        self._buffer += data
        self._pump()

    def connection_lost(self, _: Exception | None) -> None:
        """It is gone, by whichever side's doing."""
        self._everyone.discard(self)
        if self.handling is not None:
            self.handling.cancel()

    def _pump(self) -> None:
        if self.handling is not None or self._closing:
            return
        request = _take_request(self._buffer)
        if request is not None:
            self._last = request.headers.get("connection", "").lower() == "close"
            self.handling = asyncio.ensure_future(self._handle(request, self))
            self.handling.add_done_callback(self._handled)

    def _handled(self, task: asyncio.Task[None]) -> None:
        self.handling = None
        if not task.cancelled() and task.exception() is not None:
            self._transport.abort()
            raise cast(BaseException, task.exception())  # our own mistake: the loop reports it
        if self._last:
            self.close()
        self._pump()

    def send(self, status: int, headers: Headers, body: bytes, *, promised: int | None = None) -> None:
        """A whole response, or one that has less body than the *promised* length."""
        self._head(status, [*headers, ("Content-Length", str(len(body) if promised is None else promised))], body)
        if ("Connection", "close") in headers:
            self.close()

    def begin(self, status: int, headers: Headers) -> None:
        """The head of a streamed response; ``chunk`` and ``finish`` follow."""
        self._head(status, [*headers, ("Transfer-Encoding", "chunked")])

    def _head(self, status: int, headers: Headers, body: bytes = b"") -> None:
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers)]
        self._transport.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    def chunk(self, data: bytes) -> None:
        """A piece of a streamed response."""
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def finish(self) -> None:
        """The proper end of a streamed response."""
        self._transport.write(b"0\r\n\r\n")

    def cut(self, data: bytes) -> None:
        """Half of *data*, and the line goes dead without a word."""
        self._transport.write(b"%x\r\n%b" % (len(data), data[: len(data) // 2]))
        self.close()

    def reset(self) -> None:
        """A TCP reset instead of an end."""
        raw = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    def close(self) -> None:
        """Send what is written, then close."""
        self._closing = True
        self._transport.close()

    def abort(self) -> None:
        """Close now."""
        self._closing = True
        self._transport.abort()


def _take_request(buffer: bytearray) -> Request | None:
    """The first request in *buffer*, removed from it; None until it is whole."""
    head, found, rest = bytes(buffer).partition(b"\r\n\r\n")
    if not found:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body, used = _dechunk(rest)
    else:
        used = int(headers.get("content-length", 0))
        body = rest[:used] if len(rest) >= used else None
    if body is None:
        return None
    del buffer[: len(head) + 4 + used]
    return Request(method, path.partition("?")[0], headers, body)


def _dechunk(data: bytes) -> tuple[bytes | None, int]:
    """The body in *data* and the bytes it took; (None, 0) until it is whole."""
    body, at = b"", 0
    while (end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:end].partition(b";")[0], 16)
        if len(data) < end + 2 + size + 2:
            break
        body += data[end + 2 : end + 2 + size]
        at = end + 2 + size + 2
        if size == 0:
            return body, at
    return None, 0

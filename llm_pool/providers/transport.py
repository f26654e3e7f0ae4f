"""
The one HTTP client behind all providers: HTTP/1.1 on asyncio, llhttp as its parser.

Made for one purpose: many short-lived calls to a few backends, of which the losers are cancelled. Leaving
``stream`` before the answer is whole closes the socket at once, whatever the backend is doing. No proxies, no
redirects, no cookies. Compression is not asked for, and undone where it comes. The reasons and the figures are in
``docs/decisions/0001-http-client.md``.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from contextlib import suppress
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

import msgspec

from llm_pool.core.clock import loop_time
from llm_pool.core.errors import BadReply, Failed, OutOfResources, Rejected, Unreachable
from llm_pool.core.shortage import lacking
from llm_pool.providers.connection import MAX_PIECE, Connection, ConnectionBroken, ResponseParser
from llm_pool.providers.decompression import CorruptData, decompressor_for
from llm_pool.providers.happy_eyeballs import open_socket
from llm_pool.providers.resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path
    from types import TracebackType

MAX_BODY = 16 * 1024 * 1024
"""Bytes of an answer that is read as a whole."""

_SHORTEST_SECRET = 4
"""Characters of a header's value from which it is taken out of texts wherever it stands."""

_DRAIN_TIMEOUT = 0.05
"""Seconds an answer may take to end properly after its last meaningful piece."""


class TlsFiles(msgspec.Struct, frozen=True):
    """
    PEM files for an https address.

    Attributes:
        ca: authorities that the backend's certificate may be from; None: the system's.
        cert: the certificate shown to the backend, and its chain.
        key: its key; None: it stands in *cert*.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """
        What they come to. Reads files: tens of milliseconds.

        Raises:
            OSError: a file cannot be read, or holds something else (``ssl.SSLError``).
        """
        for file in (self.ca, self.cert, self.key):
            if file is not None:
                file.read_bytes()  # OpenSSL does not say which file is missing
        context = ssl.create_default_context(cafile=self.ca)
        if self.cert is not None:
            context.load_cert_chain(self.cert, self.key)
        return context


_PoolKey: TypeAlias = tuple[str, int, bool, TlsFiles]
_NO_TRACE: Final[Mapping[str, str]] = MappingProxyType({})


class Backend:
    """
    Who is asked. Its repr and its errors keep the headers to themselves: they hold the keys.

    Args:
        name: the provider's name, for errors.
        base_url: scheme, host, port, and whatever path comes before the API's own.
        headers: sent with every request.
        hint: what a person can do when nobody listens.
        tls: files for an https address.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        hint: str = "",
        tls: TlsFiles | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        self.name, self.hint, self.tls = name, hint, tls or TlsFiles()
        self.secure = parts.scheme == "https"
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if self.secure else 80)
        self.prefix = re.sub("/{2,}", "/", parts.path).rstrip("/")
        self.headers = dict(headers or {})

        self.pool_key: _PoolKey = (self.host, self.port, self.secure, self.tls)

    @cached_property
    def head(self) -> bytes:
        """
        The header lines of a request with a body, but for its length and a trace.

        Raises:
            Rejected: they cannot be written as HTTP.
        """
        return _header_lines(self, {"Content-Type": "application/json"})

    @cached_property
    def authority(self) -> str:
        """Host and port, as in a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def redacted(self, text: str) -> str:
        """*text*, with what our headers hold taken out, should the backend have sent it back to us."""
        for value in self.headers.values():
            for secret in (value, value.rpartition(" ")[2]):
                if len(secret) >= _SHORTEST_SECRET:
                    text = text.replace(secret, "***")
                elif secret:  # so short a one is part of many words
                    text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
        return text

    def __repr__(self) -> str:
        return f"<Backend {self.name} at {self.authority}>"


def with_bearer(headers: Mapping[str, str] | None, api_key: str | None) -> dict[str, str]:
    """*headers* with *api_key* as a bearer token, unless they hold an Authorization of their own."""
    given = dict(headers or {})
    if api_key and "authorization" not in map(str.lower, given):
        given["Authorization"] = f"Bearer {api_key}"
    return given


class Reply(msgspec.Struct, frozen=True):
    """A response read to its end; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Response:
    """A response whose body is still coming; header names in lower case."""

    def __init__(self, backend: Backend, connection: Connection) -> None:
        self._backend, self._connection = backend, connection
        self._decompressor = decompressor_for(connection.answer.headers.get("content-encoding", ""))
        self._given = 0  # bytes since others had their turn

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._answer.status

    @property
    def headers(self) -> dict[str, str]:
        """By lower-case name."""
        return self._answer.headers

    @property
    def delimited(self) -> bool:
        """The response says itself where it ends; if not, an end proves nothing."""
        return self._answer.delimited

    @property
    def _answer(self) -> ResponseParser:
        return self._connection.answer

    async def piece(self) -> bytes | None:
        """
        Wait for the next bytes of the body, decompressed; None is its proper end.

        After each MAX_PIECE bytes others have their turn of the event loop, so that a fast backend leaves them time.

        Raises:
            Failed: the connection ended before the body did.
            BadReply: the body is compressed in a way that was not asked for and cannot be undone.
        """
        if self._given >= MAX_PIECE:
            self._given = 0
            await asyncio.sleep(0)
        try:
            piece = await (self._connection.piece() if self._decompressor is None else self._unpacked())
        except ConnectionBroken as error:
            raise Failed(self._backend.name, f"the answer was cut short: {error}") from error
        except CorruptData as error:
            raise BadReply(self._backend.name, str(error)) from error
        if piece is not None:
            self._given += len(piece)
        return piece

    async def _piece_of_whole(self) -> bytes | None:
        try:
            return await self.piece()
        except BadReply:
            if self.status < 400:
                raise
            return None

    async def _unpacked(self) -> bytes | None:
        assert self._decompressor is not None
        while not (piece := self._decompressor.take()):
            packed = await self._connection.piece()
            if packed is None:
                self._decompressor.finish()
                return None
            self._decompressor.feed(packed)
        return piece

    async def read(self, limit: int = MAX_BODY) -> Reply:
        """
        Read the rest of the body.

        That of an error is empty where it cannot be unpacked: its status says what there is to know.

        Raises:
            BadReply: it has more than *limit* bytes, or is compressed in a way that cannot be undone.
            Failed: the connection ended before the body did.
        """
        body = bytearray()
        while (piece := await self._piece_of_whole()) is not None:
            body += piece
            if len(body) > limit:
                raise BadReply(self._backend.name, f"an answer of more than {limit} bytes")
        return Reply(self.status, self.headers, bytes(body))

    async def drain(self) -> None:
        """Let an answer that has said all we need come to its end, so that its connection can be used again."""
        if self._connection.idle:
            return  # it has
        with suppress(TimeoutError, ConnectionBroken):
            async with asyncio.timeout(_DRAIN_TIMEOUT):
                while await self._connection.piece() is not None:
                    pass


class Transport:
    """
    Connections to backends, opened when needed and kept while they are good.

    Args:
        connect_timeout: seconds to find, reach and greet a backend.
        max_idle: idle connections kept per backend.
        idle_timeout: seconds an idle connection is trusted; routers forget quiet ones.
    """

    def __init__(self, *, connect_timeout: float = 5.0, max_idle: int = 64, idle_timeout: float = 60.0) -> None:
        self._connect_timeout, self._max_idle, self._idle_timeout = connect_timeout, max_idle, idle_timeout
        self._idle: dict[_PoolKey, list[tuple[Connection, float]]] = {}
        self._open: set[Connection] = set()
        self._tls: dict[TlsFiles, ssl.SSLContext] = {}
        self._resolver = Resolver()

    def stream(
        self, backend: Backend, method: str, path: str, body: bytes = b"", trace: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[Response]:
        """
        Ask on entering, and give the response as soon as its headers are here; leaving ends it.

        Args:
            backend: who.
            method: e.g. ``POST``.
            path: appended to the backend's base_url.
            body: JSON, or nothing.
            trace: headers of the asker's trace context; those of *backend* go before them.

        Raises:
            Unreachable: nobody listens, or the connection ended before an answer began.
            Failed: what came is not HTTP.
            Rejected: the request cannot be written as HTTP.
        """
        return _Exchange(self, backend, _request(backend, method, path, body, trace or {}))

    async def request(
        self, backend: Backend, method: str, path: str, body: bytes = b"", *, limit: int = MAX_BODY
    ) -> Reply:
        """Ask, and give the whole response; raises what ``stream`` and ``Response.read`` raise."""
        async with self.stream(backend, method, path, body) as response:
            return await response.read(limit)

    async def aclose(self) -> None:
        """Close every connection, used or idle. Idempotent."""
        self._idle.clear()
        connections = list(self._open)
        for connection in connections:
            connection.abort()
        for connection in connections:
            await connection.closed.wait()
        self._open.clear()

    def __repr__(self) -> str:
        return f"<Transport [{len(self._open)} open, {sum(map(len, self._idle.values()))} idle]>"

    async def ask(self, backend: Backend, request: bytes) -> Connection:
        """A connection on which an answer to *request* has begun."""
        pooled = self._take(backend)
        if pooled is not None:
            try:
                return await self._send(backend, pooled, request)
            except Unreachable:
                pass  # the backend closed a kept connection as we wrote, most likely before it read the request
        return await self._send(backend, await self._connect(backend), request)

    async def _send(self, backend: Backend, connection: Connection, request: bytes) -> Connection:
        connection.send(request)
        try:
            await connection.head()
        except ConnectionBroken as error:
            self._drop(connection)
            raise _broken(backend, error) from error
        except BaseException:
            self._drop(connection)
            raise
        return connection

    async def _connect(self, backend: Backend) -> Connection:
        try:
            async with asyncio.timeout(self._connect_timeout):
                context = await self._context(backend) if backend.secure else None
                addresses = await self._resolver.resolve(backend.host, backend.port)
                connection = await self._greet(backend, await open_socket(addresses), context)
        except OSError as error:
            if (what := lacking(error)) is not None:
                raise OutOfResources(backend.name, what) from error
            raise Unreachable(backend.name, self._connect_error(backend, error), hint=backend.hint) from error
        self._open.add(connection)
        return connection

    @staticmethod
    async def _greet(backend: Backend, connected: socket.socket, context: ssl.SSLContext | None) -> Connection:
        """The connection over a socket that is *connected*, closed where that fails."""
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                Connection, sock=connected, ssl=context, server_hostname=backend.host if context else None
            )
        except BaseException:
            connected.close()
            raise
        return connection

    async def _context(self, backend: Backend) -> ssl.SSLContext:
        if backend.tls not in self._tls:
            try:
                self._tls[backend.tls] = await asyncio.to_thread(backend.tls.context)
            except OSError as error:
                reason = f"ca_file, client_cert or client_key cannot be used: {error}"
                raise Rejected(backend.name, reason, hint=f"check these of provider {backend.name}") from error
        return self._tls[backend.tls]

    def _connect_error(self, backend: Backend, error: OSError) -> str:
        match error:
            case TimeoutError():
                return f"no connection to {backend.authority} within {self._connect_timeout:g} s"
            case socket.gaierror(errno=socket.EAI_AGAIN):
                return f"{backend.host} could not be looked up: {(error.strerror or str(error)).lower()}"
            case socket.gaierror():
                return f"no such host: {backend.host}"
            case BlockingIOError():
                return f"{backend.host} could not be looked up: {error.strerror}"
            case ssl.SSLError():
                return f"no TLS with {backend.authority}: {error.reason or error}"
            case _:
                return f"nobody listens at {backend.authority}"

    def _take(self, backend: Backend) -> Connection | None:
        now = loop_time()()
        pooled = self._idle.get(backend.pool_key, [])
        while pooled:
            connection, since = pooled.pop()
            if connection.idle and now - since <= self._idle_timeout:
                return connection
            self._drop(connection)
        return None

    def release(self, backend: Backend, connection: Connection) -> None:
        """Keep *connection* for the next question where it is good for one, else close it."""
        pooled = self._idle.setdefault(backend.pool_key, [])
        if connection.idle and len(pooled) < self._max_idle and connection in self._open:
            pooled.append((connection, loop_time()()))
        else:
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        connection.abort()
        self._open.discard(connection)


class _Exchange:
    """A request and its response, while the block runs."""

    __slots__ = ("_backend", "_connection", "_request", "_transport")

    def __init__(self, transport: Transport, backend: Backend, request: bytes) -> None:
        self._transport, self._backend, self._request = transport, backend, request

    async def __aenter__(self) -> Response:
        self._connection = await self._transport.ask(self._backend, self._request)
        return Response(self._backend, self._connection)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.release(self._backend, self._connection)


def _broken(backend: Backend, error: ConnectionBroken) -> Unreachable | Failed:
    if error.began:
        return Failed(backend.name, str(error))
    return Unreachable(backend.name, f"{backend.authority} gave no answer: {error}")


def _request(backend: Backend, method: str, path: str, body: bytes, trace: Mapping[str, str]) -> bytes:
    first = f"{method} {backend.prefix}{path} HTTP/1.1"
    if not _is_a_line(first):
        raise _not_a_line(backend, "the address")
    if not body:
        return b"%b\r\n%b\r\n" % (first.encode(), _header_lines(backend, {}, trace))
    headers = _header_lines(backend, {"Content-Type": "application/json"}, trace) if trace else backend.head
    return b"%b\r\n%bContent-Length: %d\r\n\r\n%b" % (first.encode(), headers, len(body), body)


def _header_lines(backend: Backend, own: Mapping[str, str], trace: Mapping[str, str] = _NO_TRACE) -> bytes:
    headers = {"Host": backend.authority, "Accept-Encoding": "identity", **trace, **backend.headers, **own}
    headers.pop("Content-Length", None)
    for name, value in headers.items():
        if not _is_a_line(f"{name}: {value}"):
            raise _not_a_line(backend, name)
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()


def _is_a_line(text: str) -> bool:
    """Whether *text* may stand in a head: a line break would start a header of somebody else's."""
    return text.isascii() and text.isprintable()


def _not_a_line(backend: Backend, culprit: str) -> Rejected:
    return Rejected(backend.name, f"{culprit} has a character that HTTP does not allow there")

"""
The middleware around the HTTP application: body limits, access control, client disconnects, errors.

::

    receive ─▶ whole body, bounded ─▶ access control ─▶ [application, cancelled when the client leaves] ─▶ send
                                          └─ LlmPoolError, from here or from within ─▶ its status and body
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from llm_pool.core.errors import InvalidRequest, LlmPoolError, Overloaded, Stopping, Unauthenticated
from llm_pool.core.shortage import lacking
from llm_pool.server import cors, page
from llm_pool.server.body_limit import SMALLEST
from llm_pool.server.paths import meant
from llm_pool.server.request_headers import correlation_id
from llm_pool.server.status import retry_after, status_of
from llm_pool.telemetry.logs import name_request
from llm_pool.wire.json import error_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from llm_pool.core.messages import Query

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[Scope, Receive, Send], Awaitable[None]]
    ErrorShape = Callable[[int, Mapping[str, Any]], Any]
    """From a status and our own error body to the body that another API's clients expect."""

OPEN = frozenset({b"/livez", b"/readyz", *(path.encode() for path in page.FILES)})
"""
Public paths, the empty shell of the page among them; every other path, present and future, goes through access
control.
"""
BODY_TIME = 15.0
"""Seconds a body may take to arrive."""
SHORTAGE_RETRY_AFTER = 1.0
"""Seconds after which file descriptors, or what else ran out, may be back."""
HEADERS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
"""On every answer that says nothing else of its caching."""
PRINCIPAL = "llm_pool.principal"
"""Where in the scope an application finds who asks."""
REQUEST_ID = "llm_pool.request_id"
"""Where in the scope the id is that the answer goes out under."""
LINGER = 2.0
"""Seconds that a client may still send a request which is refused, so that it gets to read why."""

_log = logging.getLogger("llm_pool.server")


class ClientGone(Exception):
    """The client closed the connection: there is nobody to tell."""


class Principal(Protocol):
    """Who asks."""

    @property
    def tenant_id(self) -> str:
        """Empty where nobody authenticates."""


class AccessControl(Protocol):
    """Authenticates requests and authorizes queries."""

    async def authenticate(
        self, headers: Sequence[tuple[bytes, bytes]], method: str, raw_path: bytes, query_string: bytes, body: bytes, /
    ) -> Principal:
        """Who sent this; raises Unauthenticated, PermissionDenied, RateLimited."""

    def authorize(self, principal: Principal, query: Query, /) -> AbstractAsyncContextManager[Query]:
        """*query* as *principal* may ask it, while the block runs; raises PermissionDenied, RateLimited."""

    def readable_by(self, headers: Sequence[tuple[bytes, bytes]], /) -> bytes | None:
        """The origin of the web page that sent these headers, if it may read the answer; None where no page may."""


class Anonymous(msgspec.Struct, frozen=True):
    """Somebody on this machine."""

    tenant_id: str = ""


class AllowAll:
    """For a daemon without configured clients, which listens on loopback only: everything is allowed."""

    async def authenticate(self, *_request: object) -> Principal:
        """Somebody."""
        return Anonymous()

    @asynccontextmanager
    async def authorize(self, _principal: Principal, query: Query) -> AsyncIterator[Query]:
        """The query as it is."""
        yield query

    def readable_by(self, _headers: object) -> bytes | None:
        """No page."""
        return None


class GatewayMiddleware:
    """
    An ASGI application around another.

    Args:
        inner: the application, behind access control.
        access: decides who may.
        shapes: how errors look under paths that begin so; elsewhere they have our own shape.
        body_limit: bytes that a body may have now.
    """

    def __init__(
        self,
        inner: Application,
        access: AccessControl,
        shapes: Mapping[str, ErrorShape] | None = None,
        *,
        body_limit: Callable[[], int] = lambda: SMALLEST,
    ) -> None:
        self._inner, self._access, self._shapes, self._body_limit = inner, access, shapes or {}, body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request; anything else but the lifespan is refused."""
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
            return
        scope["path"] = meant(scope["path"])
        scope[REQUEST_ID] = correlation_id(scope["headers"])
        name_request(scope[REQUEST_ID])
        reader = self._access.readable_by(scope["headers"])
        response = _ResponseSender(send, scope, partial(format_error, self._shapes, scope["path"]), reader)
        if reader is not None and cors.is_preflight(scope["method"], scope["headers"]):
            await response.allow(cors.preflight_headers(scope["headers"]))
            return
        try:
            async with asyncio.timeout(None) as cancel_scope:
                await self._serve(scope, receive, response, cancel_scope)
        except LlmPoolError as error:
            await response.fail(*error_response(error))
        except ClientGone:
            pass
        except TimeoutError:
            if not cancel_scope.expired():
                raise
        except RecursionError:
            await response.fail(*error_response(InvalidRequest("body", "nested too deeply")))
        except Exception as error:  # noqa: BLE001  # the client gets an answer, the log gets the traceback
            if (what := lacking(error)) is not None:
                _log.warning("no more %s, while serving %s", what, scope["path"])
                await response.fail(*error_response(Overloaded("llm-pool", SHORTAGE_RETRY_AFTER)))
                return
            _log.exception("a bug in llm-pool, while serving %s", scope["path"])
            await response.fail(500, BUG)

    async def _serve(
        self, scope: Scope, receive: Receive, response: _ResponseSender, cancel_scope: asyncio.Timeout
    ) -> None:
        headers = dict(scope["headers"])
        if headers.get(b"content-encoding", b"identity") != b"identity":
            why = problem("unsupported_encoding", "send the body as it is, without encoding")
            await response.fail(415, why, unread=receive)
            return
        limit = self._body_limit()
        try:
            async with asyncio.timeout(BODY_TIME):
                body = await _body(receive, headers, limit)
        except TimeoutError:
            why = problem("slow_body", f"the body did not arrive within {BODY_TIME:g} s")
            await response.fail(408, why, unread=receive)
            return
        if body is None:
            why = problem("body_too_large", f"the body is over the limit of {limit} bytes")
            await response.fail(413, why, unread=receive)
            return
        watcher = asyncio.create_task(_watch_disconnect(receive, response, cancel_scope))
        try:
            if scope["raw_path"] not in OPEN:
                scope[PRINCIPAL] = await self._access.authenticate(
                    scope["headers"], scope["method"], scope["raw_path"], scope["query_string"], body
                )
            await self._inner(scope, _replay(body), response.send)
        finally:
            watcher.cancel()


class _ResponseSender:
    """
    The way out: adds the headers of every answer, and knows how far it is; *is_over* once all of it is sent.

    *scope* has the id that the answer goes out under, *reader* is the origin of the page that may read it.
    """

    def __init__(self, send: Send, scope: Scope, shape: ErrorShape, reader: bytes | None) -> None:
        self._send, self._scope, self._shape, self._began = send, scope, shape, False
        self._cors = cors.answer_headers(reader)
        self.is_over = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._began = True
            present = {name for name, _ in message.get("headers", ())}
            extra = [header for header in HEADERS if header[0] not in present]
            extra += [(b"x-request-id", self._scope[REQUEST_ID].encode()), *self._cors]
            message = {**message, "headers": [*message.get("headers", ()), *extra]}
        else:
            self.is_over = not message.get("more_body", False)
        await self._send(message)

    async def allow(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Answer a preflight."""
        await self.send({"type": "http.response.start", "status": 204, "headers": [*headers]})
        await self.send({"type": "http.response.body", "body": b""})

    async def fail(
        self,
        status: int,
        body: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
        *,
        unread: Receive | None = None,
    ) -> None:
        """
        Answer with an error; in the middle of an answer do nothing, and the server cuts the connection.

        *unread* gives the rest of a body that is not taken. It is read and dropped for ``LINGER`` seconds before the
        connection is closed: a reset for what is still on its way would take the answer with it (RFC 9112, 9.6).
        """
        if self._began:
            return
        own = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        if status in {408, 413, 415}:  # the rest of the body is still to come
            own.append((b"connection", b"close"))
        send = self.send if unread is None else partial(_send_lingering, self.send, unread)
        await send_json(send, self._shape(status, body), status=status, headers=own)


async def _send_lingering(send: Send, unread: Receive, message: Message) -> None:
    """Send a message of an answer, and hear *unread* out before the last of it."""
    if message["type"] == "http.response.start":
        await send(message)
        return
    await send({**message, "more_body": True})
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            while (await unread()).get("more_body", False):
                pass
    await send({"type": "http.response.body", "body": b""})


def format_error(shapes: Mapping[str, ErrorShape], path: str, status: int, body: Mapping[str, Any]) -> Any:
    """*body*, an error of ours, in the shape that clients of *path* expect."""
    shape = next((shape for begin, shape in shapes.items() if path.startswith(begin)), None)
    return body if shape is None else shape(status, body)


class Asgi:
    """An ASGI callable that Starlette's Route takes as it is; it wraps plain functions otherwise."""

    def __init__(self, call: Application) -> None:
        self._call = call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._call(scope, receive, send)


class ErrorResponse(NamedTuple):
    """An error as HTTP tells it."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]


def error_response(error: LlmPoolError) -> ErrorResponse:
    """How *error* is told."""
    headers = {}
    if (wait := retry_after(error)) is not None:
        headers["retry-after"] = wait
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, Stopping):
        headers["connection"] = "close"
    return ErrorResponse(status_of(error).http, error_json(error), headers)


async def send_json(send: Send, value: Any, *, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
    """One whole answer: *value* as JSON."""
    await send_body(send, msgspec.json.encode(value), status=status, headers=headers)


async def send_body(send: Send, body: bytes, *, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
    """One whole answer: *body*, which is JSON."""
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})


def problem(code: str, message: str) -> dict[str, Any]:
    """The body of an error that HTTP knows and the pool does not, in the shape of ``wire.error_json``."""
    return {"error": {"code": code, "message": message, "hint": None}}


BUG = problem("internal", "a bug in llm-pool; its log has the details")


async def _body(receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> bytes | None:
    """The whole body; None where it is over *limit* bytes."""
    if int(headers.get(b"content-length", b"0")) > limit:
        return None
    pieces, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > limit:
            return None
        more = message.get("more_body", False)
    return b"".join(pieces)


async def _watch_disconnect(receive: Receive, response: _ResponseSender, cancel_scope: asyncio.Timeout) -> None:
    """
    Cancel the request when the client has gone: after the body, that is the only message left.

    It also comes when the whole answer was sent; what the application then still has to tidy up is not cancelled.
    """
    await receive()
    if not response.is_over:
        cancel_scope.reschedule(asyncio.get_running_loop().time())


def _replay(body: bytes) -> Receive:
    """Gives *body* once. The client's leaving is not told, it cancels."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise ClientGone

    return receive

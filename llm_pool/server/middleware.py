"""
The middleware around the HTTP application: which pages may read, access control, errors.

::

    Exchange ─▶ access control ─▶ [application, cancelled when the client leaves] ─▶ send
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
from llm_pool.server.exchange import EXCHANGE, REQUEST_ID
from llm_pool.server.paths import meant
from llm_pool.server.queries import deadline_header
from llm_pool.server.request_headers import only
from llm_pool.server.status import retry_after, status_of
from llm_pool.telemetry.logs import name_request
from llm_pool.wire.json import error_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from llm_pool.core.messages import Query
    from llm_pool.server.exchange import Exchange

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
SHORTAGE_RETRY_AFTER = 1.0
"""Seconds after which file descriptors, or what else ran out, may be back."""
PRINCIPAL = "llm_pool.principal"
"""Where in the scope an application finds who asks."""
CHECK_RETRY_AFTER = 1.0
"""Seconds after which an issuer of tokens may be back."""
LINGER = 2.0
"""Seconds that a client may still send a request which is refused, so that it gets to read why."""
LINGERING = frozenset({408, 413, 415})
"""Statuses of such a refusal, where the rest of a body is yet to come."""

_log = logging.getLogger("llm_pool.server")


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
    An ASGI application around another, for requests of a ``Connection``.

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
        self._inner, self._access, self._shapes, self.body_limit = inner, access, shapes or {}, body_limit

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        """Serve one HTTP request."""
        exchange: Exchange = scope[EXCHANGE]
        scope["path"] = meant(scope["path"])
        name_request(scope[REQUEST_ID])
        try:
            await self._serve(scope, exchange)
        except LlmPoolError as error:
            await self._fail(exchange, *error_response(error))
        except RecursionError:
            await self._fail(exchange, *error_response(InvalidRequest("body", "nested too deeply")))
        except Exception as error:  # noqa: BLE001  # the client gets an answer, the log gets the traceback
            if (what := lacking(error)) is not None:
                _log.warning("no more %s, while serving %s", what, scope["path"])
                await self._fail(exchange, *error_response(Overloaded("llm-pool", SHORTAGE_RETRY_AFTER)))
                return
            _log.exception("a bug in llm-pool, while serving %s", scope["path"])
            await self._fail(exchange, 500, BUG)

    async def _serve(self, scope: Scope, exchange: Exchange) -> None:
        headers, access = scope["headers"], self._access
        exchange.reader = access.readable_by(headers)
        if exchange.reader is not None and cors.is_preflight(scope["method"], headers):
            await _allow(exchange, cors.preflight_headers(headers))
            return
        if exchange.problem is not None:
            status, code, message = exchange.problem
            await self._fail(exchange, status, problem(code, message), {"connection": "close"})
            return
        if scope["raw_path"] not in OPEN:
            scope[PRINCIPAL] = await self._authenticated(scope, exchange.body)
        await self._inner(scope, exchange.receive, exchange.send)

    async def _authenticated(self, scope: Scope, body: bytes) -> Principal:
        """Who sent this; raises Overloaded where that cannot be told by the deadline in its header."""
        headers = scope["headers"]
        checking = self._access.authenticate(headers, scope["method"], scope["raw_path"], scope["query_string"], body)
        left = None
        with suppress(InvalidRequest):  # a header that is none is the route's to refuse
            left = deadline_header(only(headers, b"x-deadline-ms"))
        if left is None or left <= 0:
            return await checking
        try:
            async with asyncio.timeout(left):
                return await checking
        except TimeoutError:
            raise Overloaded("the check of credentials", CHECK_RETRY_AFTER) from None

    async def _fail(
        self, exchange: Exchange, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        """
        Answer with an error; in the middle of an answer do nothing, and the connection is cut.

        The rest of a body that is not taken is read and dropped for ``LINGER`` seconds before the connection is closed:
        a reset for what is still on its way would take the answer with it (RFC 9112, 9.6).
        """
        if exchange.has_begun:
            return
        own = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        shaped = format_error(self._shapes, exchange.scope["path"], status, body)
        send = exchange.send if status not in LINGERING else partial(_send_lingering, exchange)
        await send_json(send, shaped, status=status, headers=own)


async def _allow(exchange: Exchange, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Answer a preflight."""
    await exchange.send({"type": "http.response.start", "status": 204, "headers": headers})
    await exchange.send({"type": "http.response.body", "body": b""})


async def _send_lingering(exchange: Exchange, message: Message) -> None:
    """Send a message of an answer, and hear the request out before the last of it."""
    if message["type"] == "http.response.start":
        await exchange.send(message)
        return
    await exchange.send({**message, "more_body": True})
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            await exchange.heard_out()
    await exchange.send({"type": "http.response.body", "body": b""})


def format_error(shapes: Mapping[str, ErrorShape], path: str, status: int, body: Mapping[str, Any]) -> Any:
    """*body*, an error of ours, in the shape that clients of *path* expect."""
    shape = next((shape for begin, shape in shapes.items() if path.startswith(begin)), None)
    return body if shape is None else shape(status, body)


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

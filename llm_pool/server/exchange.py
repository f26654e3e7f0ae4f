"""
One request over HTTP/1.1, and its answer.

::

    head ─▶ [body, bounded] ─▶ ready ─▶ answer: head and body ─▶ over
              └─ BodyProblem: ready at once; what still comes is dropped

The body is gathered before anybody is asked, as a signature covers all of it. The head of an answer waits for the first
of its body, and both go out in one write.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from llm_pool.server import cors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from llm_pool.server.connection import Connection
    from llm_pool.server.middleware import Application, Message, Scope

EXCHANGE = "llm_pool.exchange"
"""Where in the scope the exchange itself is."""
REQUEST_ID = "llm_pool.request_id"
"""Where in the scope the id is that the answer goes out under."""
ARRIVED = "llm_pool.arrived"
"""Where in the scope the instant is at which the request was whole."""
HEADERS = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
"""On every answer that says nothing else of its caching."""
BODILESS = frozenset({204, 304})
"""Statuses of answers without a body."""
_NO_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""What no header may hold: it would end it, and begin another."""
_log = logging.getLogger("llm_pool.server")


class BodyProblem(NamedTuple):
    """Why a body is not taken: the status, the code and the sentence that say so."""

    status: int
    code: str
    message: str


class Exchange:
    """
    A request, as it comes in, and the answer, as it goes out.

    Args:
        connection: that it is held over.
        scope: ASGI's, of the request's head.
        limit: bytes that the body may have.
        keep_alive: whether the connection may be used again.
        expects_go_ahead: the client waits for ``100 Continue`` before it sends the body.

    Attributes:
        problem: why the body is not taken; None where it is.
        reader: the origin of the web page that may read the answer; None where no page may.
        is_whole: all of the request has come.
        has_begun: the client was sent something of the answer; *is_over*: all of it.
        is_gone: the client has closed the connection.
        task: answers.
        on_writable: called when a client that was behind has read on.
    """

    __slots__ = (
        "_chunked",
        "_connection",
        "_head",
        "_limit",
        "_pieces",
        "_size",
        "_whole",
        "expects_go_ahead",
        "has_begun",
        "is_gone",
        "is_over",
        "is_whole",
        "keep_alive",
        "on_writable",
        "problem",
        "reader",
        "scope",
        "task",
    )

    def __init__(
        self, connection: Connection, scope: Scope, limit: int, *, keep_alive: bool, expects_go_ahead: bool
    ) -> None:
        self._connection, self.scope, self._limit = connection, scope, limit
        self.keep_alive, self.expects_go_ahead = keep_alive, expects_go_ahead
        self._pieces: list[bytes] = []
        self._size = 0
        self._whole: asyncio.Event | None = None
        self._head, self._chunked = b"", False
        self.problem = _problem_of(scope["headers"], limit)
        self.reader: bytes | None = None
        self.task: asyncio.Task[None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.is_whole = self.has_begun = self.is_over = self.is_gone = False

    @property
    def is_ready(self) -> bool:
        """Whether it can be answered."""
        return self.is_whole or self.problem is not None

    @property
    def body(self) -> bytes:
        """The body, once it is whole."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    @property
    def has_head(self) -> bool:
        """Whether the answer has a head, which waits for the first of its body or has been sent with it."""
        return bool(self._head) or self.has_begun

    @property
    def is_writable(self) -> bool:
        """Whether the client is there, and not behind with reading."""
        return not (self.is_gone or self.is_over or self._connection.flow.write_paused)

    def take(self, piece: bytes) -> None:
        """More of the body has come."""
        if self.problem is not None:
            return
        self._size += len(piece)
        if self._size > self._limit:
            self.give_up(_too_large(self._limit))
        else:
            self._pieces.append(piece)

    def give_up(self, problem: BodyProblem) -> None:
        """Take no more of the body."""
        self.problem = problem
        self._pieces.clear()

    def end_body(self) -> None:
        """All of the body has come."""
        self.is_whole = True
        if self._whole is not None:
            self._whole.set()

    async def heard_out(self) -> None:
        """Returns once all of the body has come."""
        if not self.is_whole:
            self._whole = asyncio.Event()
            await self._whole.wait()

    async def run(self, application: Application) -> None:
        """Have *application* answer; the connection ends with an answer that is broken off."""
        try:
            await application(self.scope, self.receive, self.send)
        except Exception:  # noqa: BLE001  # the log gets it, and nobody else is left who could
            _log.exception("a bug in llm-pool, while serving %s", self.scope["path"])
        finally:
            self._connection.tasks.discard(self.task)
            self.task = None
            self._pieces.clear()  # the connection keeps the rest until the next request
            self.scope.pop(EXCHANGE, None)  # else both would be a cycle
            if not self.is_over:
                self._connection.transport.close()

    def leave(self) -> None:
        """The client has gone: nobody waits for what is not over."""
        self.is_gone = True
        if self.task is not None and not self.is_over:
            self.task.add_done_callback(self._connection.tasks.discard)  # it may not have begun to run, and never will
            self.task.cancel()

    async def receive(self) -> Message:
        """ASGI's: the body, once. The client's leaving is not told, it cancels."""
        if self._limit >= 0:
            self._limit = -1
            return {"type": "http.request", "body": self.body, "more_body": False}
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]  # it never comes

    async def send(self, message: Message) -> None:
        """ASGI's: the answer, or a part of it."""
        if message["type"] == "http.response.start":
            self._head = self._encoded_head(message["status"], message.get("headers", ()))
            return
        if self._connection.flow.write_paused:
            await self._connection.flow.drain()
        if not (self.is_gone or self.is_over):
            self._write(message.get("body", b""), more=message.get("more_body", False))

    def begin(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """A good answer comes, under *headers*: piece by piece, as it is made."""
        self._head = self._encoded_head(200, headers)

    def write(self, piece: bytes) -> None:
        """Send *piece* of it, whether the client is behind or not."""
        if not (self.is_gone or self.is_over):
            self._write(piece, more=True)

    async def end(self, rest: bytes) -> None:
        """Send *rest* of it, once the client has read what came before."""
        await self.send({"type": "http.response.body", "body": rest})

    def _write(self, body: bytes, *, more: bool) -> None:
        if self._chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                body += b"0\r\n\r\n"
        elif self.scope["method"] == "HEAD":
            body = b""
        if self._head:
            body, self._head, self.has_begun = self._head + body, b"", True
        if body and not self._connection.transport.is_closing():  # which uvloop would take for a mistake of ours
            self._connection.transport.write(body)
        if not more:
            self.is_over = True
            self._connection.end_exchange(self)

    def _encoded_head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The head of an answer; raises ValueError where a header would become two."""
        present = dict(headers)
        if _NO_VALUE.search(b"".join(present.values())):
            raise ValueError("a header with a line break")
        content = [*self._connection.server_state.default_headers, *headers]
        content += [header for header in HEADERS if header[0] not in present]
        content += [(b"x-request-id", self.scope[REQUEST_ID].encode()), *cors.answer_headers(self.reader)]
        if b"close" in present.get(b"connection", b""):
            self.keep_alive = False
        elif not self.keep_alive:
            content.append((b"connection", b"close"))
        has_body = self.scope["method"] != "HEAD" and status not in BODILESS
        self._chunked = has_body and b"content-length" not in present and self.scope["http_version"] == "1.1"
        if self._chunked:
            content.append((b"transfer-encoding", b"chunked"))
        elif has_body and b"content-length" not in present:
            self.keep_alive = False  # an older client knows the end by it
        lines = [b"%b: %b\r\n" % header for header in content]
        return b"".join([STATUS_LINE[status], *lines, b"\r\n"])


def _problem_of(headers: Iterable[tuple[bytes, bytes]], limit: int) -> BodyProblem | None:
    """Why a body that *headers* announce is not taken."""
    for name, value in headers:
        if name == b"content-length" and int(value) > limit:
            return _too_large(limit)
        if name == b"content-encoding" and value != b"identity":
            return BodyProblem(415, "unsupported_encoding", "send the body as it is, without encoding")
    return None


def _too_large(limit: int) -> BodyProblem:
    return BodyProblem(413, "body_too_large", f"the body is over the limit of {limit} bytes")

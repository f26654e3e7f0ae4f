"""
A connection, and the exchanges over it, one after the other.

uvicorn reads and writes; what it starts with a head and a task for each request begins here once the request is whole.
A client may send the next request before the answer to the first: they wait in line, and nothing more is read then.

It subclasses a class of uvicorn that is not quite public; ``tests/server/test_request_limits.py`` checks it.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from llm_pool.server.exchange import ARRIVED, EXCHANGE, REQUEST_ID, BodyProblem, Exchange
from llm_pool.server.request_headers import correlation_id

if TYPE_CHECKING:
    import asyncio

    from llm_pool.server.middleware import GatewayMiddleware

BODY_TIME = 15.0
"""Seconds a body may take to arrive, once the answer before it is sent."""
KNOWN_TARGET = 128
"""Bytes of a target that is remembered: those of our routes are shorter."""


class Connection(HttpToolsProtocol):
    """uvicorn's HTTP protocol, answering whole requests."""

    app: GatewayMiddleware
    _body_timer: asyncio.TimerHandle | None = None
    _idle_timer: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._line = deque[Exchange]()
        self._idle_since = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self.connections.discard(self)
        for exchange in self._line:
            exchange.leave()
        self._line.clear()
        for timer in (self._body_timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        self.flow.resume_writing()
        if exc is None:
            self.transport.close()
        self.parser = None  # type: ignore[assignment]  # as uvicorn does: it holds the connection

    def shutdown(self) -> None:
        """Close with the end of the answer that is being given, now where there is none."""
        if not self._line:
            self.transport.close()
        for exchange in self._line:
            exchange.keep_alive = False

    def resume_writing(self) -> None:
        """The client has read on."""
        super().resume_writing()
        if self._line and self._line[0].on_writable is not None:
            self._line[0].on_writable()

    def on_headers_complete(self) -> None:
        """A head is whole."""
        version, target = self.parser.get_http_version(), _target(self.url)
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]  # with keys of our own
        scope["path"], scope["raw_path"], scope["query_string"] = target
        scope["method"], scope["http_version"] = self.parser.get_method().decode("ascii"), version
        scope[REQUEST_ID] = correlation_id(self.headers)
        exchange = scope[EXCHANGE] = Exchange(
            self,
            scope,
            self.app.body_limit(),
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            expects_go_ahead=self.expect_100_continue,
        )
        self._line.append(exchange)
        if len(self._line) > 1:
            self.flow.pause_reading()
        elif exchange.problem is not None:
            self._advance()

    def on_body(self, body: bytes) -> None:
        """More of a body."""
        if self._line:
            last = self._line[-1]
            last.take(body)
            if last.problem is not None:
                self._advance()

    def on_message_complete(self) -> None:
        """A body is whole."""
        if self._line:
            self._line[-1].end_body()
            self._advance()

    def data_received(self, data: bytes) -> None:
        """Read on; a body that is not whole then has its time."""
        self._feed(data)
        if self._line and not self._line[0].is_ready:
            self._advance()

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("")

    def end_exchange(self, exchange: Exchange) -> None:
        """*exchange* is over."""
        if not self._line or self._line[0] is not exchange:
            return
        self._line.popleft()
        self._idle_since = self.loop.time()
        self.server_state.total_requests += 1
        if not exchange.keep_alive:
            self.transport.close()
        elif not self.transport.is_closing():
            self.flow.resume_reading()
            self._advance()
            if self._idle_timer is None:
                self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._close_idle)

    def _advance(self) -> None:
        """Have the first in line answered if it can be, else see that it soon can."""
        if not self._line or self._line[0].task is not None:
            return
        first = self._line[0]
        if first.is_ready:
            if self._body_timer is not None:
                self._body_timer.cancel()
                self._body_timer = None
            first.scope[ARRIVED] = self.loop.time()
            first.task = self.loop.create_task(first.run(self.app))
            self.tasks.add(first.task)
            return
        if first.expects_go_ahead:
            first.expects_go_ahead = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._body_timer is None:
            self._body_timer = self.loop.call_later(BODY_TIME, self._give_up_body)

    def _give_up_body(self) -> None:
        self._body_timer = None
        self._line[0].give_up(BodyProblem(408, "slow_body", f"the body did not arrive within {BODY_TIME:g} s"))
        self._advance()

    def _close_idle(self) -> None:
        """Close where nothing was asked for the time that a connection is kept; else look again when that may be."""
        silent = 0.0 if self._line else self.loop.time() - self._idle_since
        self._idle_timer = None
        if silent >= self.timeout_keep_alive:
            self.transport.close()
        else:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive - silent, self._close_idle)


class _Target(NamedTuple):
    """A request's target, by ASGI's names."""

    path: str
    raw_path: bytes
    query_string: bytes


def _target(url: bytes) -> _Target:
    return _known_target(url) if len(url) <= KNOWN_TARGET else _parsed_target(url)


def _parsed_target(url: bytes) -> _Target:
    parsed = httptools.parse_url(url)
    path = parsed.path.decode("ascii")
    return _Target(unquote(path) if "%" in path else path, parsed.path, parsed.query or b"")


_known_target = lru_cache(maxsize=256)(_parsed_target)

"""
Monitoring: ``/metrics``, the status page and the JSON behind it.

A tenant sees its own requests and may cancel them. Metrics, the configuration and what others did need the scope
``observe``, cancelling for others ``operate``.
"""

from __future__ import annotations

import asyncio
import gzip
import re
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from llm_pool.config.show import as_toml
from llm_pool.config.values import Scope
from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import InvalidRequest
from llm_pool.server import page
from llm_pool.server.history import History
from llm_pool.server.merging import merged_hours, merged_page, merged_status
from llm_pool.server.middleware import PRINCIPAL, Anonymous, problem, send_json
from llm_pool.server.routing import Route
from llm_pool.server.siblings import Siblings, first_number, record_numbers
from llm_pool.server.snapshot import running_json, snapshot, summary
from llm_pool.telemetry import logs
from llm_pool.telemetry.last_hour import LastHour
from llm_pool.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from llm_pool.config import Config
    from llm_pool.core.interfaces import Observer
    from llm_pool.core.messages import Json
    from llm_pool.engine import PoolManager
    from llm_pool.security import Principal
    from llm_pool.server.middleware import AccessControl, Application, Receive, Send
    from llm_pool.server.middleware import Scope as Connection
    from llm_pool.server.routing import Routes
    from llm_pool.server.siblings import Handler
    from llm_pool.telemetry.tracing import Tracing

MAX_DIGITS = 15
"""Digits of a number that a client sends; longer ones name nothing."""


class Monitoring:
    """
    Everything that watches a daemon: its observers, and the routes that show what they saw.

    Args:
        config: the first one; ``[telemetry]`` counts from the start of the daemon to its end.
        siblings: the other workers, for whom it speaks too.

    Raises:
        ConfigError: traces are wanted, and OpenTelemetry is not installed.
    """

    def __init__(self, config: Config, siblings: Siblings | None = None) -> None:
        self._siblings = siblings or Siblings()
        self._settings = config.telemetry
        clock = SystemClock()
        self.metrics = Metrics()
        numbers = None if self._siblings.count == 1 else record_numbers(clock.wall, self._siblings.index)
        self.history = History(self._settings.recent, clock.wall, capture=self._settings.capture, numbers=numbers)
        self.last_hour = LastHour(clock.wall)
        self._began = clock.wall()
        self._tracing = _tracing(config)

    @property
    def observers(self) -> list[Observer]:
        """To be told of every event."""
        requests = logs.RequestLog(prompts=self._settings.log_prompts)
        own: list[Observer] = [self.metrics, self.history, self.last_hour, requests]
        return own if self._tracing is None else [*own, self._tracing]

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Log lines go to stderr while the block runs; traces are sent when it ends."""
        undo = logs.set_up(self._settings.log_format)
        try:
            async with self._siblings.opened():
                yield
        finally:
            await asyncio.to_thread(undo)
            if self._tracing is not None:
                await asyncio.to_thread(self._tracing.aclose)

    def add_routes(self, routes: Routes, manager: PoolManager, _access: AccessControl) -> None:
        """Add the routes."""
        if self._tracing is not None:
            routes.wrappers.append(_TraceContext)
        own = MonitoringRoutes(manager, self.metrics, self.history, self.last_hour, self._began, self._siblings)
        own.answer_siblings()
        routes.add(*own.api())
        if self._settings.metrics:
            routes.add(own.metrics())
        if self._settings.page:
            routes.add(*own.page())


class MonitoringRoutes:
    """
    What is shown of *manager*, and of *siblings* where there are any.

    *began*: Unix seconds of the daemon's start. A request in flight is told by its number, its worker in it.
    """

    def __init__(
        self,
        manager: PoolManager,
        metrics: Metrics,
        history: History,
        last_hour: LastHour,
        began: float,
        siblings: Siblings,
    ) -> None:
        self._manager, self._metrics, self._history, self._began = manager, metrics, history, began
        self._last_hour, self._siblings = last_hour, siblings

    def answer_siblings(self) -> None:
        """Speak for this worker when another is asked."""
        answers: dict[str, Handler] = {
            "status": lambda asked: self._own_status(asked["tenant"], asked["since"]),
            "hour": self._own_hour,
            "metrics": self._own_metrics,
            "cancel": lambda asked: self._cancel_own(asked["number"], asked["tenant"]),
            "flush": self._flush,
        }
        for name, handler in answers.items():
            self._siblings.answer(name, handler)
        self._manager.before_feedback = partial(self._siblings.ask, "flush")

    def api(self) -> list[Route]:
        """The JSON behind the page."""
        return [
            Route("/v1/status", self._status, methods=["GET"]),
            Route("/v1/hour", self._hour, methods=["GET"]),
            Route("/v1/config", self._config, methods=["GET"]),
            Route("/v1/requests/{number}", self._cancel, methods=["DELETE"]),
        ]

    def metrics(self) -> Route:
        """Prometheus's."""
        return Route("/metrics", self._metrics_page, methods=["GET"])

    def page(self) -> list[Route]:
        """The page's files: nothing in them is secret, so that a browser can load them before it has a key."""
        return [Route(path, self._file, methods=["GET"]) for path in page.FILES]

    async def _status(self, scope: Connection, _receive: Receive, send: Send) -> None:
        principal = scope[PRINCIPAL]
        tenant, since = None if has_scope(principal, Scope.OBSERVE) else principal.tenant_id, _since(scope)
        own = await self._own_status(tenant, since)
        others = await self._siblings.ask("status", {"tenant": tenant, "since": since})
        await send_json(send, own if self._siblings.count == 1 else merged_status([own, *others], self._shared))

    @property
    def _shared(self) -> set[str]:
        """The groups of which each worker may use all slots, as they are counted in Redis."""
        return {name for name, group in self._manager.config.groups.items() if group.shared}

    async def _own_status(self, tenant: str | None, since: int) -> dict[str, Json]:
        """Of this worker, what *tenant* may see; all where it is None."""
        manager, history = self._manager, self._history
        body = await summary(manager, history, self._metrics, self._began)
        now = asyncio.get_running_loop().time()
        running = [r for r in manager.running() if tenant is None or r.query.tenant_id == tenant]
        shown = [running_json(r, now, captures=history.captures) for r in running]
        return body | {
            "requests": [each | {"number": self._siblings.public(each["number"])} for each in shown],
            "recent": [ended.as_json for ended in history.since(since, tenant)],
            "latest": history.latest if self._siblings.count == 1 else first_number(body["now"]),
            "sees_all": tenant is None,
        }

    async def _hour(self, _scope: Connection, _receive: Receive, send: Send) -> None:
        own, others = self._last_hour.as_json(), await self._siblings.ask("hour")
        await send_json(send, merged_hours([own, *others]) if others else own)

    async def _own_hour(self, _: None) -> dict[str, Json]:
        return self._last_hour.as_json()

    async def _config(self, _scope: Connection, _receive: Receive, send: Send) -> None:
        config = self._manager.config
        await send_json(send, {"path": str(config.path), "toml": as_toml(config)})

    async def _cancel(self, scope: Connection, _receive: Receive, send: Send) -> None:
        principal, text = scope[PRINCIPAL], scope["path_params"]["number"]
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else -1  # -1: nobody's
        index, own = self._siblings.private(number)
        tenant = None if has_scope(principal, Scope.OPERATE) else principal.tenant_id
        if index == self._siblings.index:
            cancelled = await self._cancel_own(own, tenant)
        else:
            cancelled = await self._siblings.ask_one(index, "cancel", {"number": own, "tenant": tenant})
        if cancelled:
            await send_json(send, {"cancelled": True})
        else:  # another's request is as good as none
            await send_json(send, problem("not_found", f"no request {text[:MAX_DIGITS]} is in flight"), status=404)

    async def _cancel_own(self, number: int, tenant: str | None) -> bool:
        """Cancel request *number* of this worker, if it is *tenant*'s, or anybody's where that is None."""
        running = self._manager.running()
        allowed = tenant is None or any(r.number == number and r.query.tenant_id == tenant for r in running)
        return allowed and self._manager.cancel(number)

    async def _flush(self, _: None) -> bool:
        """Keep what was learned, so that another worker finds it."""
        if (learning := self._manager.app.learning) is not None:
            await learning.flush()
        return True

    async def _metrics_page(self, scope: Connection, _receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        accept = headers.get(b"accept", b"").decode("latin-1")
        others = await self._siblings.ask("metrics")
        make = self._metrics.page(snapshot(self._manager), accept)
        if others:
            own = await self._own_metrics(None)
            make = lambda: merged_page([own, *others], accept, self._shared)  # noqa: E731  # as the one before
        packs = takes_gzip(headers.get(b"accept-encoding", b""))
        body, content_type = await asyncio.to_thread(_packed if packs else _plain, make)
        coding = [(b"content-encoding", b"gzip")] if packs else []
        more = [(b"content-type", content_type.encode()), (b"vary", b"accept-encoding"), *coding]
        await _send(send, body, more)

    async def _own_metrics(self, _: None) -> str:
        """In Prometheus's text format."""
        page, _kind = await asyncio.to_thread(self._metrics.page(snapshot(self._manager), ""))
        return page.decode()

    async def _file(self, scope: Connection, _receive: Receive, send: Send) -> None:
        await _send(send, *await asyncio.to_thread(page.read, scope["path"]))


def takes_gzip(accept_encoding: bytes) -> bool:
    """Whether a client takes gzip, by its ``Accept-Encoding``: named, or meant by ``*``, and not weighed with 0."""
    weights = {}
    for one in accept_encoding.lower().split(b","):
        coding, _, weight = one.replace(b" ", b"").partition(b";")
        weights[coding] = not re.fullmatch(rb"q=0(\.0*)?", weight)
    return weights.get(b"gzip", weights.get(b"*", False))


def _plain(make: Callable[[], tuple[bytes, str]]) -> tuple[bytes, str]:
    return make()


def _packed(make: Callable[[], tuple[bytes, str]]) -> tuple[bytes, str]:
    page, content_type = make()
    return gzip.compress(page, 5, mtime=0), content_type


def has_scope(principal: Principal | Anonymous, scope: Scope) -> bool:
    """Whether *principal* has *scope*; somebody on this machine, where nobody authenticates, has all."""
    return isinstance(principal, Anonymous) or scope in principal.scopes


def _since(scope: Connection) -> int:
    value = parse_qs(scope["query_string"].decode("latin-1")).get("since", ["0"])[-1]
    if not value.isascii() or not value.isdigit() or len(value) > MAX_DIGITS:
        raise InvalidRequest("since", "expected a whole number")
    return int(value)


async def _send(send: Send, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


def _tracing(config: Config) -> Tracing | None:
    if config.telemetry.traces is None:
        return None
    from llm_pool.telemetry.tracing import Tracing

    return Tracing.to(config.telemetry.traces, config.telemetry.trace_share)


class _TraceContext:
    """Notes each request's trace context before it is served."""

    def __init__(self, inner: Application) -> None:
        self._inner = inner

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Serve one request."""
        from llm_pool.telemetry.tracing import set_trace_context

        set_trace_context(scope["headers"])
        await self._inner(scope, receive, send)

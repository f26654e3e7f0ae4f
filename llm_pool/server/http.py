"""
The HTTP API: requests become queries, answers become JSON or server-sent events, and nothing is decided here.

Hot routes are plain ASGI: msgspec reads and writes, pydantic is not on the way.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llm_pool import __version__
from llm_pool.core.errors import LlmPoolError
from llm_pool.core.events import TextArrived, ToolCallArrived
from llm_pool.server import sse
from llm_pool.server.body_limit import body_limit
from llm_pool.server.exchange import EXCHANGE
from llm_pool.server.middleware import PRINCIPAL, GatewayMiddleware, send_json
from llm_pool.server.queries import FeedbackBody, decode, decode_infer
from llm_pool.server.request_context import authorized
from llm_pool.server.routing import Route, Router, Routes
from llm_pool.server.stream import Stream
from llm_pool.wire.json import answer_json, error_json, state_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastapi import FastAPI

    from llm_pool.core.messages import Json, Query, Task
    from llm_pool.engine import PoolManager, ReloadResult
    from llm_pool.server.exchange import Exchange
    from llm_pool.server.middleware import AccessControl, Application, Receive, Scope, Send
    from llm_pool.wire.json import StreamEvent

    Extension = Callable[[Routes, PoolManager, AccessControl], None]

PROBE_METHODS = ["GET", "OPTIONS"]
"""HAProxy's ``option httpchk /livez`` asks with OPTIONS."""
STATUS_WAIT = 1.0
"""Seconds that a stream's status waits for the first text: until then, that nobody can answer is an error's status."""


def create_app(manager: PoolManager, access: AccessControl, extensions: Sequence[Extension] = ()) -> GatewayMiddleware:
    """
    The HTTP application.

    Args:
        manager: answers.
        access: decides who may ask for what.
        extensions: each adds its routes (other APIs, metrics, the page), and how its errors look under which paths.
    """
    routes = Routes()
    routes.add(*PoolRoutes(manager, access).routes())
    for extension in extensions:
        extension(routes, manager, access)
    application: Application = Router(routes, _framework)
    for wrap in routes.wrappers:
        application = wrap(application)
    return GatewayMiddleware(application, access, routes.error_shapes, body_limit=lambda: body_limit(manager.config))


def _framework(routes: Routes) -> FastAPI:
    from llm_pool.server.framework import create_framework

    return create_framework(routes)


class PoolRoutes:
    """The routes of our own API."""

    def __init__(self, manager: PoolManager, access: AccessControl) -> None:
        self._manager, self._access = manager, access

    def routes(self) -> list[Route]:
        """One for each path."""
        return [
            Route("/v1/infer", self._infer, methods=["POST"]),
            Route("/v1/feedback", self._feedback, methods=["POST"]),
            Route("/v1/tasks", self._tasks, methods=["GET"]),
            Route("/health", self._health, methods=["GET"]),
            Route("/livez", self._livez, methods=PROBE_METHODS),
            Route("/readyz", self._readyz, methods=PROBE_METHODS),
        ]

    async def _infer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        request = decode_infer((await receive())["body"])
        async with authorized(self._access, scope, request.query) as query:
            if request.stream or b"text/event-stream" in headers.get(b"accept", b""):
                await stream(self._manager, query, scope[EXCHANGE])
            else:
                await send_json(send, answer_json(await self._manager.infer(query)))

    async def _feedback(self, scope: Scope, receive: Receive, send: Send) -> None:
        feedback_body: FeedbackBody = decode((await receive())["body"], FeedbackBody)
        learned = await self._manager.feedback(
            feedback_body.request_id, scope[PRINCIPAL].tenant_id, good=feedback_body.good
        )
        await send_json(send, {"learned": learned})

    async def _tasks(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send_json(send, {"tasks": [self._task(task) for task in await self._manager.tasks()]})

    async def _health(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        health, manager = await self._manager.health(), self._manager
        body = {
            "healthy": health.ready and not manager.is_draining,
            "providers": [state_json(state) for state in health.states],
            "version": __version__,
            "generation": manager.generation,
            "in_flight": manager.in_flight,
            "last_reload": _reload_json(manager.last_reload),
        }
        await send_json(send, body, status=200 if body["healthy"] else 503)

    async def _livez(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send_json(send, {"live": True})

    async def _readyz(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        ready = not self._manager.is_draining and (await self._manager.health()).ready
        await send_json(send, {"ready": ready}, status=200 if ready else 503)

    def _task(self, task: Task) -> dict[str, Json]:
        config = self._manager.config
        return {
            "name": task.name,
            "description": task.description,
            "kind": task.kind,
            "enabled": config.task(task.name).enabled,
            "strategy": config.strategy_for(task.name).value,
            "input_schema": task.input_schema,
            "output_schema": task.output_schema,
        }


async def stream(manager: PoolManager, query: Query, exchange: Exchange) -> None:
    """
    Answer *query* with server-sent events.

    Raises:
        LlmPoolError: before the first text, within ``STATUS_WAIT`` seconds, so that its status can still be sent; later
            ones become an event.
    """
    events = _Events(exchange)
    with Stream(exchange, events.told, lambda: sse.PING) as out:
        events.wake = out.wake
        waiting = asyncio.get_running_loop().call_later(STATUS_WAIT, events.begin)
        try:
            events.hear(await manager.infer(query, events.hear))
        except LlmPoolError as error:
            if not exchange.has_begun:
                raise
            events.add(sse.error(error))
        finally:
            waiting.cancel()
        events.begin()
        rest = events.told()
    await exchange.end(rest)


class _Events:
    """The events of one request, kept until its status is known; *wake* is called when there are some to tell."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange, self._encoder = exchange, sse.SseEncoder()
        self._waiting: list[bytes] = []
        self._has_begun = False
        self.wake: Callable[[], None] = lambda: None

    def hear(self, event: StreamEvent) -> None:
        """Tell *event*, if clients are told of its kind."""
        self.add(self._encoder.event(event))
        if isinstance(event, TextArrived | ToolCallArrived):
            self.begin()

    def add(self, event: bytes) -> None:
        """Tell *event*, if there is any."""
        if event:
            self._waiting.append(event)
            if self._has_begun:
                self.wake()

    def begin(self) -> None:
        """The status is 200."""
        if not self._has_begun:
            self._has_begun = True
            self._exchange.begin([(b"content-type", sse.CONTENT_TYPE), (b"x-accel-buffering", b"no")])
            self.wake()

    def told(self) -> bytes:
        """What is to be told now."""
        if not self._has_begun:
            return b""
        told = b"".join(self._waiting)
        self._waiting.clear()
        return told


def _reload_json(reload: ReloadResult) -> dict[str, Json]:
    error = None if reload.error is None else error_json(reload.error)["error"]
    return {"at": reload.at, "ok": reload.ok, "generation": reload.generation, "error": error}

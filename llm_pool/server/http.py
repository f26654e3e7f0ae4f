"""
The HTTP API: requests become queries, answers become JSON or server-sent events, and nothing is decided here.

Hot routes are plain ASGI: msgspec reads and writes, pydantic is not on the way.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from llm_pool import __version__
from llm_pool.core.errors import LlmPoolError
from llm_pool.core.events import TextArrived, ToolCallArrived
from llm_pool.server import sse
from llm_pool.server.body_limit import body_limit
from llm_pool.server.middleware import PRINCIPAL, GatewayMiddleware, send_json
from llm_pool.server.queries import FeedbackBody, decode, decode_infer
from llm_pool.server.request_context import authorized
from llm_pool.server.routing import Route, Router, Routes
from llm_pool.wire.json import answer_json, error_json, state_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastapi import FastAPI

    from llm_pool.core.events import Event
    from llm_pool.core.messages import Answer, Json, Query, Task
    from llm_pool.engine import PoolManager, ReloadResult
    from llm_pool.server.middleware import AccessControl, Application, Receive, Scope, Send

    Extension = Callable[[Routes, PoolManager, AccessControl], None]

PROBE_METHODS = ["GET", "OPTIONS"]
"""HAProxy's ``option httpchk /livez`` asks with OPTIONS."""
PING_EVERY = 15.0
"""Seconds of silence after which a stream gets a comment."""
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
                await stream(self._manager, query, send)
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


async def stream(manager: PoolManager, query: Query, send: Send) -> None:
    """
    Answer *query* with server-sent events.

    Raises:
        LlmPoolError: before the first text, within ``STATUS_WAIT`` seconds, so that its status can still be sent; later
            ones become an event.
    """
    encoder, queue, begun = sse.SseEncoder(), asyncio.Queue[bytes](), asyncio.Event()

    def hear(event: Event) -> None:
        queue.put_nowait(encoder.event(event))
        if isinstance(event, TextArrived | ToolCallArrived):
            begun.set()

    def ended(_: asyncio.Task[Answer]) -> None:
        queue.put_nowait(b"")
        begun.set()

    inference = asyncio.create_task(manager.infer(query, hear))
    inference.add_done_callback(ended)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(STATUS_WAIT):
                await begun.wait()
        if inference.done():
            inference.result()  # raises, if nobody answered: the status can still say so
        first = await queue.get()
        headers = [(b"content-type", sse.CONTENT_TYPE), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await _pump(first, queue, inference, send)
        await send({"type": "http.response.body", "body": await _last(encoder, inference)})
    finally:
        inference.cancel()
        await asyncio.wait([inference])


async def _pump(first: bytes, queue: asyncio.Queue[bytes], inference: asyncio.Task[Answer], send: Send) -> None:
    """Send what comes, as soon as it comes, until all is sent and *inference* is done."""
    piece = first
    while True:
        while not queue.empty():
            piece += queue.get_nowait()
        if piece:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if inference.done() and queue.empty():
            return
        try:
            async with asyncio.timeout(PING_EVERY):
                piece = await queue.get()
        except TimeoutError:
            piece = sse.PING


async def _last(encoder: sse.SseEncoder, inference: asyncio.Task[Answer]) -> bytes:
    try:
        return encoder.event(await inference)
    except LlmPoolError as error:
        return sse.error(error)


def _reload_json(reload: ReloadResult) -> dict[str, Json]:
    error = None if reload.error is None else error_json(reload.error)["error"]
    return {"at": reload.at, "ok": reload.ok, "generation": reload.generation, "error": error}

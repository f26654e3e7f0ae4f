"""
The HTTP face: requests become queries, answers become JSON or server-sent events, and nothing is decided here.

Hot routes are plain ASGI: msgspec reads and writes, pydantic is not on the way.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route

from llm_pool import __version__
from llm_pool.errors import LlmPoolError
from llm_pool.server import sse
from llm_pool.server.entry import BUG, PRINCIPAL, Asgi, Entry, failure, problem, send_json, shaped
from llm_pool.server.openapi import document
from llm_pool.server.queries import FeedbackBody, deadline_header, decode, decode_infer, within
from llm_pool.wire import answer_json, error_json, state_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from llm_pool.live import Live, Reload
    from llm_pool.messages import Answer, Json, Query, Task
    from llm_pool.server.entry import Application, Door, Receive, Scope, Send

    Face = Callable[[FastAPI, Live, Door], None]

PING_EVERY = 15.0
"""Seconds of silence after which a stream gets a comment."""


def create_app(live: Live, door: Door, faces: Sequence[Face] = ()) -> Application:
    """
    The HTTP application.

    Args:
        live: answers.
        door: decides who may ask for what.
        faces: each adds its routes to the application (other APIs, metrics, the page), and to
            ``app.state.error_shapes`` how its errors look under which paths.
    """
    app = FastAPI(title="llm-pool", version=__version__, docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    app.exception_handler(HTTPException)(_http_problem)
    app.state.error_shapes = {}
    app.exception_handler(LlmPoolError)(_pool_problem)
    app.exception_handler(Exception)(_bug)
    app.openapi = lambda: document(app)  # type: ignore[method-assign]  # FastAPI's documented way to extend it
    own = Own(live, door)
    app.router.routes.extend(own.routes())
    for face in faces:
        face(app, live, door)
    return Entry(app, door, app.state.error_shapes)


class Own:
    """The routes of our own API."""

    def __init__(self, live: Live, door: Door) -> None:
        self._live, self._door = live, door

    def routes(self) -> list[Route]:
        """One for each path."""
        return [
            Route("/v1/infer", Asgi(self._infer), methods=["POST"]),
            Route("/v1/feedback", Asgi(self._feedback), methods=["POST"]),
            Route("/v1/tasks", Asgi(self._tasks), methods=["GET"]),
            Route("/health", Asgi(self._health), methods=["GET"]),
            Route("/livez", Asgi(self._livez), methods=["GET"]),
            Route("/readyz", Asgi(self._readyz), methods=["GET"]),
        ]

    async def _infer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        request = decode_infer((await receive())["body"])
        left = deadline_header(headers[b"x-deadline-ms"].decode("latin-1") if b"x-deadline-ms" in headers else None)
        async with self._door.admit(scope[PRINCIPAL], within(request.query, left)) as query:
            if request.stream or b"text/event-stream" in headers.get(b"accept", b""):
                await stream(self._live, query, send)
            else:
                await send_json(send, answer_json(await self._live.infer(query)))

    async def _feedback(self, scope: Scope, receive: Receive, send: Send) -> None:
        said: FeedbackBody = decode((await receive())["body"], FeedbackBody)
        learned = await self._live.feedback(said.request_id, scope[PRINCIPAL].tenant_id, good=said.good)
        await send_json(send, {"learned": learned})

    async def _tasks(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send_json(send, {"tasks": [self._task(task) for task in await self._live.tasks()]})

    async def _health(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        health, live = await self._live.health(), self._live
        body = {
            "healthy": health.ready and not live.is_draining,
            "providers": [state_json(state) for state in health.states],
            "version": __version__,
            "generation": live.generation,
            "in_flight": live.in_flight,
            "last_reload": _reload_json(live.last_reload),
        }
        await send_json(send, body, status=200 if body["healthy"] else 503)

    async def _livez(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send_json(send, {"live": True})

    async def _readyz(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        ready = not self._live.is_draining and (await self._live.health()).ready
        await send_json(send, {"ready": ready}, status=200 if ready else 503)

    def _task(self, task: Task) -> dict[str, Json]:
        config = self._live.config
        return {
            "name": task.name,
            "description": task.description,
            "kind": task.kind,
            "enabled": config.task(task.name).enabled,
            "strategy": config.strategy_for(task.name).value,
            "input_schema": task.input_schema,
            "output_schema": task.output_schema,
        }


async def stream(live: Live, query: Query, send: Send) -> None:
    """
    Answer *query* with server-sent events.

    Raises:
        LlmPoolError: before the first event, so that its status can still be sent; later ones become an event.
    """
    told, waiting = sse.Told(), asyncio.Queue[bytes]()
    asking = asyncio.create_task(live.infer(query, lambda event: waiting.put_nowait(told.event(event))))
    asking.add_done_callback(lambda _: waiting.put_nowait(b""))
    try:
        first = await waiting.get()
        if asking.done() and not first:
            await asking  # raises
        headers = [(b"content-type", sse.CONTENT_TYPE), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await _pump(first, waiting, asking, send)
        await send({"type": "http.response.body", "body": await _last(told, asking)})
    finally:
        asking.cancel()
        await asyncio.wait([asking])


async def _pump(first: bytes, waiting: asyncio.Queue[bytes], asking: asyncio.Task[Answer], send: Send) -> None:
    """Send what comes, as soon as it comes, until all is sent and *asking* is done."""
    piece = first
    while True:
        while not waiting.empty():
            piece += waiting.get_nowait()
        if piece:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if asking.done() and waiting.empty():
            return
        try:
            async with asyncio.timeout(PING_EVERY):
                piece = await waiting.get()
        except TimeoutError:
            piece = sse.PING


async def _last(told: sse.Told, asking: asyncio.Task[Answer]) -> bytes:
    try:
        return told.event(await asking)
    except LlmPoolError as error:
        return sse.error(error)


async def _http_problem(request: Request, error: Any) -> Response:
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    return _told(request, error.status_code, problem(code, str(error.detail)), error.headers)


async def _pool_problem(request: Request, error: Any) -> Response:
    return _told(request, *failure(error))


async def _bug(request: Request, _error: Exception) -> Response:
    return _told(request, 500, BUG)


def _told(request: Request, status: int, body: dict[str, Json], headers: Mapping[str, str] | None = None) -> Response:
    shapes = request.app.state.error_shapes
    return JSONResponse(shaped(shapes, request.url.path, status, body), status_code=status, headers=headers)


def _reload_json(reload: Reload) -> dict[str, Json]:
    error = None if reload.error is None else error_json(reload.error)["error"]
    return {"at": reload.at, "ok": reload.ok, "generation": reload.generation, "error": error}

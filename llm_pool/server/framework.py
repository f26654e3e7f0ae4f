"""FastAPI behind our own routing: paths with parts, what is not there, and the OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route

from llm_pool import __version__
from llm_pool.core.errors import LlmPoolError
from llm_pool.server.middleware import BUG, error_response, format_error, problem
from llm_pool.server.openapi import document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from llm_pool.core.messages import Json
    from llm_pool.server.middleware import Application, Receive, Scope, Send
    from llm_pool.server.routing import Routes


def create_framework(routes: Routes) -> FastAPI:
    """FastAPI with all of *routes*."""
    app = FastAPI(title="llm-pool", version=__version__, docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    app.state.error_shapes = routes.error_shapes
    app.exception_handler(HTTPException)(_http_problem)
    app.exception_handler(LlmPoolError)(_pool_problem)
    app.exception_handler(Exception)(_bug)
    app.openapi = lambda: document(app, routes.operations)  # type: ignore[method-assign]  # FastAPI's documented way
    app.router.routes.extend(Route(path, _Asgi(answer), methods=[*methods]) for path, answer, methods in routes.all)
    return app


class _Asgi:
    """An ASGI callable that Starlette's Route takes as it is; it wraps plain functions otherwise."""

    def __init__(self, call: Application) -> None:
        self._call = call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._call(scope, receive, send)


async def _http_problem(request: Request, error: Any) -> Response:
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    return _json_error(request, error.status_code, problem(code, str(error.detail)), error.headers)


async def _pool_problem(request: Request, error: Any) -> Response:
    return _json_error(request, *error_response(error))


async def _bug(request: Request, _error: Exception) -> Response:
    return _json_error(request, 500, BUG)


def _json_error(
    request: Request, status: int, body: dict[str, Json], headers: Mapping[str, str] | None = None
) -> Response:
    shapes = request.app.state.error_shapes
    return JSONResponse(format_error(shapes, request.url.path, status, body), status_code=status, headers=headers)

"""
The routes of the daemon, and the way of a request to one of them.

A path without a part that varies is found by one look-up, the few others by their patterns. FastAPI has the rest:
methods and paths that are not there, and the OpenAPI document. It takes as long to import as all else together, so it
is made when the first such request comes, on a thread of its own.
"""

from __future__ import annotations

import asyncio
import gc
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastapi import FastAPI

    from llm_pool.server.middleware import Application, ErrorShape, Receive, Scope, Send
    from llm_pool.server.openapi_foreign import ForeignOperation


class Route(NamedTuple):
    """*answer* serves *path*, which may hold ``{name}`` or ``{name:path}``; GET includes HEAD."""

    path: str
    answer: Application
    methods: Sequence[str]


class Routes:
    """
    What is served.

    Attributes:
        error_shapes: how errors look under paths that begin so, where not in our own shape.
        operations: what the OpenAPI document tells of the APIs of others.
        wrappers: each makes of the application another around it.
    """

    def __init__(self) -> None:
        self.all: list[Route] = []
        self.error_shapes: dict[str, ErrorShape] = {}
        self.operations: list[ForeignOperation] = []
        self.wrappers: list[Callable[[Application], Application]] = []

    def add(self, *routes: Route) -> None:
        """Serve *routes* too."""
        self.all += routes

    def document(self, *operations: ForeignOperation) -> None:
        """Have the OpenAPI document tell of *operations*."""
        self.operations += operations


class Router:
    """
    The application behind the middleware.

    Args:
        routes: what is served.
        make_framework: FastAPI with all of *routes*.
    """

    def __init__(self, routes: Routes, make_framework: Callable[[Routes], FastAPI]) -> None:
        self.routes, self._make_framework = routes, make_framework
        self._framework: asyncio.Task[FastAPI] | None = None
        self._exact: dict[tuple[str, str], Application] = {}
        self._patterns: list[tuple[re.Pattern[str], Route]] = []
        for route in routes.all:
            if "{" in route.path:
                self._patterns.append((_pattern(route.path), route))
            else:
                keys = ((method, route.path) for method in _with_head(route.methods))
                self._exact |= dict.fromkeys(keys, route.answer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        answer = self._exact.get((scope["method"], scope["path"])) or self._by_pattern(scope) or await self.framework()
        await answer(scope, receive, send)

    def _by_pattern(self, scope: Scope) -> Application | None:
        """What serves a path with parts, which are in *scope* then."""
        for pattern, route in self._patterns:
            if (match := pattern.fullmatch(scope["path"])) and scope["method"] in _with_head(route.methods):
                scope["path_params"] = match.groupdict()
                return route.answer
        return None

    async def framework(self) -> FastAPI:
        """FastAPI, made once."""
        if self._framework is None:
            self._framework = asyncio.create_task(asyncio.to_thread(self._made))
        return await asyncio.shield(self._framework)

    def _made(self) -> FastAPI:
        """It, while the collector rests: it would go through all that is imported, again and again."""
        settled = bool(gc.get_freeze_count())
        gc.disable()
        try:
            return self._make_framework(self.routes)
        finally:
            if settled:
                gc.freeze()
            gc.enable()


def _pattern(path: str) -> re.Pattern[str]:
    """*path* as Starlette reads it: ``{name}`` is one part, ``{name:path}`` any number of them."""
    pieces = re.split(r"{(\w+)(:path)?}", path)
    named = [
        f"{re.escape(text)}(?P<{name}>{'.*' if many else '[^/]+'})"
        for text, name, many in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=False)
    ]
    return re.compile("".join([*named, re.escape(pieces[-1])]))


def _with_head(methods: Sequence[str]) -> Sequence[str]:
    return [*methods, "HEAD"] if "GET" in methods else methods

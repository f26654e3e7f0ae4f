"""Who answers a program's questions: an engine in this process, or a daemon, which is asked in the same words."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Protocol

from llm_pool.client import Health
from llm_pool.core.errors import Cancelled, ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from llm_pool.client import Credentials, Tls
    from llm_pool.config import Config
    from llm_pool.core.interfaces import Emit
    from llm_pool.core.messages import Answer, Query
    from llm_pool.engine import App
    from llm_pool.wire.json import StreamEvent


class Backend(Protocol):
    """What ``client.AsyncClient`` does, as far as a pool needs it."""

    async def infer(self, query: Query) -> Answer:
        """The answer; raises LlmPoolError."""

    def stream(self, query: Query) -> AsyncGenerator[StreamEvent]:
        """What happens while *query* is answered, last the answer; raises LlmPoolError."""

    async def health(self) -> Health:
        """How the models are."""

    async def feedback(self, request_id: str, *, good: bool) -> bool:
        """Say how good an answer was; whether something was learned of it."""

    async def aclose(self) -> None:
        """Release everything. Idempotent."""


class LocalPool:
    """
    An engine in this process; ``open`` makes one.

    Args:
        app: the engine.
        stack: closes it.
    """

    def __init__(self, app: App, stack: AsyncExitStack) -> None:
        self._app, self._stack = app, stack
        self._running: set[asyncio.Task[Answer]] = set()
        self._is_closing = False

    @classmethod
    async def open(cls, config: Config) -> LocalPool:
        """An engine for *config*; raises ConfigError."""
        from llm_pool.engine import open_app

        async with AsyncExitStack() as stack:
            app = await stack.enter_async_context(open_app(config))
            return cls(app, stack.pop_all())

    async def infer(self, query: Query) -> Answer:
        """The answer; a first load does not count against a default deadline."""
        return await self._result_of(self._begin(query))

    async def stream(self, query: Query) -> AsyncGenerator[StreamEvent]:
        """What happens, last the answer."""
        events: asyncio.Queue[StreamEvent | None] = asyncio.Queue()
        inference = self._begin(query, events.put_nowait)
        inference.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            yield await self._result_of(inference)
        finally:
            inference.cancel()
            await asyncio.wait([inference])

    async def health(self) -> Health:
        """How the models are."""
        from llm_pool import __version__

        health = await self._app.health()
        return Health(health.ready, health.states, __version__)

    async def feedback(self, request_id: str, *, good: bool) -> bool:
        """Whether something was learned of it."""
        return await self._app.feedback(request_id, "", good=good)

    async def aclose(self) -> None:
        """Stop what is in flight, and close the engine; what was learned is kept."""
        self._is_closing = True
        for inference in self._running:
            inference.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._stack.aclose()

    def _begin(self, query: Query, emit: Emit | None = None) -> asyncio.Task[Answer]:
        inference = asyncio.create_task(self._app.infer(query, emit))
        self._running.add(inference)
        inference.add_done_callback(self._running.discard)
        return inference

    async def _result_of(self, inference: asyncio.Task[Answer]) -> Answer:
        """What *inference* gives; raises Cancelled where the pool was closed before it did."""
        try:
            return await inference
        except asyncio.CancelledError:
            if not self._is_closing:
                raise
            raise Cancelled("closing the pool") from None


async def open_daemon(url: str, credentials: Credentials | None, tls: Tls | None) -> Backend:
    """
    The daemon at *url*.

    Args:
        url: as ``AsyncClient`` takes it.
        credentials: who we are; None: as the environment says, like for the command line.
        tls: likewise.

    Raises:
        ConfigError: the environment's credentials cannot be used, or the extra ``client`` is not installed.
    """
    from llm_pool.client import AsyncClient
    from llm_pool.client.credentials import load_credentials

    own_credentials, own_tls = await asyncio.to_thread(load_credentials)
    try:
        return AsyncClient(url, credentials=credentials or own_credentials, tls=tls or own_tls)
    except ModuleNotFoundError as error:
        raise ConfigError(
            path=None,
            key="url",
            got=f"no package '{error.name}'",
            want="the extra 'client' to be installed",
            hint="pip install 'llm-pool[client]'",
        ) from error

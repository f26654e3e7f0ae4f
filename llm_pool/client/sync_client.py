"""The client without ``await``: the other one, on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

from llm_pool.client.async_client import AsyncClient

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Generator
    from types import TracebackType

    from llm_pool.client.transport import Health
    from llm_pool.core.messages import Answer, Query
    from llm_pool.wire.json import StreamEvent

T = TypeVar("T")


class Client:
    """
    A daemon's client; close it, or use it as a context manager. Threads may share one.

    Arguments and errors are those of ``AsyncClient``.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="llm-pool client", daemon=True)
        self._thread.start()
        try:
            self._client = self._wait(_made(url, options))
        except BaseException:
            self._stop()
            raise

    def infer(self, query: Query | str, **fields: Any) -> Answer:
        """The answer, as ``AsyncClient.infer``."""
        return self._wait(self._client.infer(query, **fields))

    def stream(self, query: Query | str, **fields: Any) -> Generator[StreamEvent]:
        """What happens, as ``AsyncClient.stream``; close the generator to cancel the request."""
        events = self._client.stream(query, **fields)
        try:
            while (event := self._wait(_next(events))) is not None:
                yield event
        finally:
            self._wait(_close(events))

    def health(self) -> Health:
        """How the server's backends are, as ``AsyncClient.health``."""
        return self._wait(self._client.health())

    def feedback(self, request_id: str, *, good: bool) -> bool:
        """Say how good an answer was, as ``AsyncClient.feedback``."""
        return self._wait(self._client.feedback(request_id, good=good))

    def close(self) -> None:
        """Close connections. Idempotent."""
        if not self._loop.is_closed():
            self._wait(self._client.aclose())
            self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C in the caller's thread ends the request, too
            raise

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _made(url: str, options: dict[str, Any]) -> AsyncClient:
    """A client made on the loop that it will run on."""
    return AsyncClient(url, **options)


async def _next(events: AsyncGenerator[StreamEvent]) -> StreamEvent | None:
    return await anext(events, None)


async def _close(events: AsyncGenerator[StreamEvent]) -> None:
    await events.aclose()

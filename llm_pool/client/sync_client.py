"""The client without ``await``: the other one, on an event loop in a thread of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from llm_pool.client.async_client import AsyncClient
from llm_pool.core.loop_thread import LoopThread

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType

    from llm_pool.client.transport import Health
    from llm_pool.core.messages import Answer, Query
    from llm_pool.wire.json import StreamEvent


class Client:
    """
    A daemon's client; close it, or use it as a context manager. Threads may share one.

    Arguments and errors are those of ``AsyncClient``.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self._thread = LoopThread("llm-pool client")
        try:
            self._client = self._thread.wait(_made(url, options))
        except BaseException:
            self._thread.stop()
            raise

    def infer(self, query: Query | str, **fields: Any) -> Answer:
        """The answer, as ``AsyncClient.infer``."""
        return self._thread.wait(self._client.infer(query, **fields))

    def stream(self, query: Query | str, **fields: Any) -> Generator[StreamEvent]:
        """What happens, as ``AsyncClient.stream``; close the generator to cancel the request."""
        return self._thread.iterate(self._client.stream(query, **fields))

    def health(self) -> Health:
        """How the server's backends are, as ``AsyncClient.health``."""
        return self._thread.wait(self._client.health())

    def feedback(self, request_id: str, *, good: bool) -> bool:
        """Say how good an answer was, as ``AsyncClient.feedback``."""
        return self._thread.wait(self._client.feedback(request_id, good=good))

    def close(self) -> None:
        """Close connections. Idempotent."""
        if not self._thread.is_stopped:
            self._thread.wait(self._client.aclose())
            self._thread.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


async def _made(url: str, options: dict[str, Any]) -> AsyncClient:
    """A client made on the loop that it will run on."""
    return AsyncClient(url, **options)

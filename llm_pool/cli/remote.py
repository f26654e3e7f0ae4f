"""``--url``: a daemon is asked instead of a pool in this process."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

from llm_pool.core.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from llm_pool.client import AsyncClient, Health
    from llm_pool.core.interfaces import Emit
    from llm_pool.core.messages import Answer, Query

T = TypeVar("T")
DEFAULT_DEADLINE = 60.0
"""Seconds that a daemon is expected to take at most, where the question sets no deadline: its own counts."""


class Inferrer(Protocol):
    """Who is asked: a pool, or a daemon."""

    async def infer(self, query: Query, emit: Emit | None = None) -> Answer:
        """The answer; *emit* is told what happens meanwhile."""


class DaemonPool:
    """A daemon, asked as a pool is."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def infer(self, query: Query, emit: Emit | None = None) -> Answer:
        """The answer; *emit* is told what happens meanwhile."""
        from llm_pool.core.messages import Answer

        if emit is None:
            return await self._client.infer(query)
        async for event in self._client.stream(query):
            if isinstance(event, Answer):
                return event
            emit(event)
        raise AssertionError("a stream ends with its answer, or raises")

    async def feedback(self, request_id: str, *, good: bool) -> bool:
        """Say how good an answer was; whether something was learned."""
        return await self._client.feedback(request_id, good=good)

    async def health(self) -> Health:
        """How its backends are."""
        return await self._client.health()


def reject_local_only(**given: object) -> None:
    """Raise InvalidRequest for an option among *given* that is set and that a daemon does not know."""
    for name, value in given.items():
        if value:
            raise InvalidRequest(
                f"--{name.replace('_', '-')}", "a daemon is not asked for that", hint="leave out --url"
            )


@asynccontextmanager
async def daemon_at(url: str) -> AsyncIterator[DaemonPool]:
    """The daemon at *url*, connected while the block runs; raises what the client raises."""
    import asyncio

    from llm_pool.client import AsyncClient
    from llm_pool.client.credentials import load_credentials

    credentials, tls = await asyncio.to_thread(load_credentials)
    async with AsyncClient(url, credentials=credentials, tls=tls) as client:
        yield DaemonPool(client)


async def with_daemon(url: str, work: Callable[[DaemonPool], Awaitable[T]]) -> T:
    """Do *work* with the daemon at *url*; raises what the client raises."""
    async with daemon_at(url) as daemon:
        return await work(daemon)


async def expected_deadline(query: Query) -> float:
    """Instant by which a daemon has answered, as far as we know."""
    import asyncio

    return asyncio.get_running_loop().time() + (DEFAULT_DEADLINE if query.deadline is None else query.deadline)

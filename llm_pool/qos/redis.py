"""
A Redis server that is asked within a budget: gone, frozen or slow, it costs a request little, and then nothing.

A request waits for Redis no longer than its user says; one such wait, or an error, opens a breaker, and until that lets
a single request probe again, nobody waits at all. What was asked goes on behind the request that left it: a
connection that takes longer to open is there for the next one, and none is given up half-way through a reply.
"""

from __future__ import annotations

import asyncio
from random import SystemRandom
from typing import TYPE_CHECKING, Any, TypeVar

from llm_pool.core.errors import ConfigError
from llm_pool.qos.breaker import Breaker, Refusal, Rules

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Redis

    from llm_pool.core.interfaces import Clock
    from llm_pool.qos.breaker import Result

T = TypeVar("T")

REDIS_TIMEOUT = 1.0
"""Seconds after which Redis itself is given up on, behind the request that left it long ago."""
CONNECTIONS = 16
RULES = Rules(fail_rate=1.0, window_size=1, min_calls=1, cooldown=1.0, max_cooldown=30.0)


class RedisUnavailable(Exception):
    """Redis did not answer within the budget, or is left alone for a moment because it did not before."""


class BudgetedRedis:
    """
    One Redis server.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``; a secret, as it may hold a password.
        clock: the time.
        key: where *url* stands in the configuration, for errors.

    Attributes:
        client: for registering scripts; ask through ``ask`` only.

    Raises:
        ConfigError: *url* is no such address, or the package ``redis`` is not installed.
    """

    def __init__(self, url: str, clock: Clock, *, key: str) -> None:
        self.client = _client(url, key)
        self._clock, self._breaker = clock, Breaker(RULES, SystemRandom())
        self._running: set[asyncio.Future[Any]] = set()

    async def ask(self, operation: Callable[[], Awaitable[T]], *, max_wait: float, force: bool = False) -> T:
        """
        What *operation* gets from Redis within *max_wait* seconds; *force*: though it did not answer of late.

        Raises:
            RedisUnavailable: nothing came, or nobody may ask now.
        """
        permit = self._breaker.admit(self._clock.now(), lease=REDIS_TIMEOUT, force=force)
        if isinstance(permit, Refusal):
            raise RedisUnavailable
        result: Result = "neutral"
        task = self._start(operation)
        try:
            await self._wait(task, max_wait)
            result = "ok" if task.done() and not task.cancelled() and task.exception() is None else "failed"
        finally:
            self._breaker.record(permit, result, self._clock.now())
        if result != "ok":
            raise RedisUnavailable
        return task.result()

    async def _wait(self, task: asyncio.Future[T], max_wait: float) -> None:
        """*max_wait* seconds at most; those that the event loop stood still are none of Redis's doing."""
        began = self._clock.now()
        await asyncio.wait([task], timeout=max_wait)
        stood_still = self._clock.now() - began - max_wait
        if not task.done() and stood_still > 0:
            await asyncio.wait([task], timeout=min(stood_still, max_wait))

    async def aclose(self) -> None:
        """Close the connections; what Redis holds stays there. Idempotent."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self.client.aclose()

    def _start(self, operation: Callable[[], Awaitable[T]]) -> asyncio.Future[T]:
        task = asyncio.ensure_future(operation())
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Future[T]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # its asker may have left; nothing else is to be done about it

    def __repr__(self) -> str:
        return f"<BudgetedRedis [{self._breaker!r}]>"


def _client(url: str, key: str) -> Redis:
    try:
        from redis.asyncio import BlockingConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError:
        raise ConfigError(
            path=None, key=key, got="redis", want="the redis package with it", hint="pip install 'llm-pool[redis]'"
        ) from None
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=REDIS_TIMEOUT,
            socket_timeout=REDIS_TIMEOUT,
            socket_connect_timeout=REDIS_TIMEOUT,
            driver_info=None,  # to tell who we are, redis-py would look its version up on disk, at each connection
            retry=Retry(NoBackoff(), 1),  # once, for a kept connection that a restarted server has closed
        )
    except ValueError:  # its message would quote the address, and a password in it
        raise ConfigError(
            path=None, key=key, got="another address", want="a redis://, rediss:// or unix:// address"
        ) from None
    return Redis.from_pool(pool)

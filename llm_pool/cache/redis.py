"""
Answers in a Redis server, shared between processes. Redis gone, slow or flapping means no cache, not a failure.

A request waits for Redis no longer than the cache's patience; one such wait, or an error, opens a breaker, and until
it lets a single request probe again, nobody waits at all. What was asked of Redis goes on behind the request that
left it: a connection that takes longer than the patience to open is there for the next one, and no connection is
given up half-way through a reply.
"""

from __future__ import annotations

import asyncio
from random import SystemRandom
from typing import TYPE_CHECKING, TypeVar

import msgspec

from llm_pool.cache.encoding import pack, unpack
from llm_pool.core.errors import ConfigError
from llm_pool.qos.breaker import Breaker, Refusal, Rules

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from redis.asyncio import Redis

    from llm_pool.core.interfaces import Clock
    from llm_pool.core.messages import Answer
    from llm_pool.qos.breaker import Result

T = TypeVar("T")

PREFIX = "llm-pool:1:"
"""Before every key; the number is the format of what lies under it."""
REDIS_TIMEOUT = 1.0
"""Seconds after which Redis itself is given up on, behind the request that left it long ago."""
CONNECTIONS = 16
RULES = Rules(fail_rate=1.0, window_size=1, min_calls=1, cooldown=1.0, max_cooldown=30.0)


class RedisCache:
    """
    The cache of all processes that use one Redis server.

    Redis ends entries at their TTL and evicts as its own ``maxmemory-policy`` says. Ages go by the wall clock, the only
    one that processes share.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``; a secret, as it may hold a password.
        clock: the time.
        max_wait: seconds that a request waits at most.

    Raises:
        ConfigError: *url* is no such address, or the package ``redis`` is not installed.
    """

    def __init__(self, url: str, clock: Clock, *, max_wait: float = 0.02) -> None:
        self._client = _client(url)
        self._clock, self._max_wait = clock, max_wait
        self._breaker = Breaker(RULES, SystemRandom())
        self._running: set[asyncio.Task[object]] = set()

    async def get(self, key: str) -> Answer | None:
        """The answer under *key* with its age in seconds; None where there is none, or no Redis."""
        packed = await self._run(self._get(key))
        if packed is None:
            return None
        try:
            return unpack(packed, now=self._clock.wall())
        except msgspec.DecodeError:  # written by another version of ours
            return None

    async def put(self, key: str, answer: Answer, ttl: float) -> None:
        """Keep *answer* for *ttl* seconds, if Redis takes it."""
        if ttl > 0:
            await self._run(self._put(key, pack(answer, made=self._clock.wall()), ttl))

    async def aclose(self) -> None:
        """Close the connections; what Redis holds stays there."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._client.aclose()

    async def _get(self, key: str) -> bytes | None:
        value = await self._client.get(PREFIX + key)
        return value if isinstance(value, bytes) else None

    async def _put(self, key: str, packed: bytes, ttl: float) -> None:
        await self._client.set(PREFIX + key, packed, px=max(1, round(ttl * 1000)))

    async def _run(self, operation: Coroutine[object, object, T]) -> T | None:
        """What Redis answers in time; None if it does not, or rests."""
        permit = self._breaker.admit(self._clock.now(), lease=REDIS_TIMEOUT)
        if isinstance(permit, Refusal):
            operation.close()
            return None
        result: Result = "neutral"
        task = self._start(operation)
        try:
            done, _ = await asyncio.wait([task], timeout=self._max_wait)
            result = "ok" if done and not task.cancelled() and task.exception() is None else "failed"
        finally:
            self._breaker.record(permit, result, self._clock.now())
        return task.result() if result == "ok" else None

    def _start(self, operation: Coroutine[object, object, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(operation, name="redis")
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[T]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # its asker may have left; nothing else is to be done about it

    def __repr__(self) -> str:
        return f"<RedisCache [{self._breaker!r}]>"


def _client(url: str) -> Redis:
    try:
        from redis.asyncio import BlockingConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError:
        raise ConfigError(
            path=None, key="cache.driver", got="redis", want="the redis package", hint="pip install 'llm-pool[redis]'"
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
    except ValueError:  # its words may quote the password
        raise ConfigError(
            path=None, key="cache.url", got="another address", want="a redis://, rediss:// or unix:// address"
        ) from None
    return Redis.from_pool(pool)

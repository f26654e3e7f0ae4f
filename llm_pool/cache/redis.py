"""Answers in a Redis server, shared between processes. Redis gone or slow means no cache, not a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.cache.encoding import SPOILT, pack, unpack
from llm_pool.qos.redis import BudgetedRedis, RedisUnavailable

if TYPE_CHECKING:
    from llm_pool.core.interfaces import Clock
    from llm_pool.core.messages import Answer

PREFIX = "llm-pool:1:"
"""Before every key; the number is the format of what lies under it."""


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
        self._redis = BudgetedRedis(url, clock, key="cache.url")
        self._clock, self._max_wait = clock, max_wait

    async def get(self, key: str) -> Answer | None:
        """The answer under *key* with its age in seconds; None where there is none, or no Redis."""
        try:
            packed = await self._redis.ask(lambda: self._get(key), max_wait=self._max_wait)
            return None if packed is None else unpack(packed, now=self._clock.wall())
        except RedisUnavailable:
            return None
        except SPOILT:
            await self._forget(key)
            return None

    async def put(self, key: str, answer: Answer, ttl: float) -> None:
        """Keep *answer* for *ttl* seconds, if Redis takes it."""
        if ttl <= 0:
            return
        packed = pack(answer, made=self._clock.wall())
        try:
            await self._redis.ask(lambda: self._put(key, packed, ttl), max_wait=self._max_wait)
        except RedisUnavailable:
            return

    async def aclose(self) -> None:
        """Close the connections; what Redis holds stays there."""
        await self._redis.aclose()

    async def _get(self, key: str) -> bytes | None:
        """The bytes under *key*; those of something else than a string are none that anybody can read."""
        from redis.exceptions import ResponseError

        try:
            value = await self._redis.client.get(PREFIX + key)
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            return b""
        return value if isinstance(value, bytes) else None

    async def _put(self, key: str, packed: bytes, ttl: float) -> None:
        await self._redis.client.set(PREFIX + key, packed, px=max(1, round(ttl * 1000)))

    async def _forget(self, key: str) -> None:
        """Remove an entry that nobody can read, so that it is a miss once and not until its time is over."""
        try:
            await self._redis.ask(lambda: self._redis.client.delete(PREFIX + key), max_wait=self._max_wait)
        except RedisUnavailable:
            return

    def __repr__(self) -> str:
        return f"<RedisCache {self._redis!r}>"

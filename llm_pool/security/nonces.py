"""
Which nonces were seen: each is good once per key.

The memory of one process forgets when it ends. So it takes no timestamp from before it began, apart from two seconds
for clocks that go slow; and with more than one process the memory must be Redis.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from llm_pool.core.errors import Overloaded, Unauthenticated
from llm_pool.security.hmac import NONCE_TTL

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from llm_pool.core.interfaces import Clock

START_TOLERANCE = 2.0
"""Seconds before its own start from which a memory still takes timestamps."""


class Nonces(Protocol):
    """Where they are remembered."""

    async def use(self, key: str, nonce: str, timestamp: float) -> None:
        """
        Note that *nonce* was used with *key*.

        Raises:
            Unauthenticated: it was used before, or nobody can tell.
            Overloaded: it cannot be remembered.
        """


class MemoryNonces:
    """
    In this process.

    Args:
        clock: the time.
        limit: nonces remembered for a key; one more is refused, so that no replay slips through a full memory.
    """

    def __init__(self, clock: Clock, *, limit: int = 200_000) -> None:
        self._clock, self._limit = clock, limit
        self._began = clock.wall()
        self._seen: dict[str, _Seen] = {}

    async def use(self, key: str, nonce: str, timestamp: float) -> None:
        """As the seam says."""
        now = self._clock.now()
        if timestamp < self._began - START_TOLERANCE:
            raise Unauthenticated("fence")
        seen = self._seen.setdefault(key, _Seen())
        seen.forget(now - NONCE_TTL)
        if nonce in seen.nonces:
            raise Unauthenticated("replay")
        if len(seen.nonces) >= self._limit:
            raise Overloaded("the memory of nonces", 1.0)
        seen.add(nonce, now)


class RedisNonces:
    """
    In Redis, for all processes that share it.

    Args:
        redis: connected; its errors mean that nobody can tell.
        prefix: of its keys.
    """

    def __init__(self, redis: Redis, *, prefix: str = "llm-pool:nonce:") -> None:
        self._redis, self._prefix = redis, prefix

    async def use(self, key: str, nonce: str, timestamp: float) -> None:  # noqa: ARG002  # the seam's signature
        """As the seam says."""
        from redis.exceptions import RedisError

        try:
            is_new = await self._redis.set(f"{self._prefix}{key}:{nonce}", b"", nx=True, ex=int(NONCE_TTL))
        except (RedisError, OSError):
            raise Overloaded("the memory of nonces", 1.0) from None
        if not is_new:
            raise Unauthenticated("replay")


class _Seen:
    """The nonces of one key, the oldest first."""

    def __init__(self) -> None:
        self.nonces = set[str]()
        self._order = deque[tuple[float, str]]()

    def add(self, nonce: str, now: float) -> None:
        self.nonces.add(nonce)
        self._order.append((now, nonce))

    def forget(self, before: float) -> None:
        while self._order and self._order[0][0] <= before:
            self.nonces.discard(self._order.popleft()[1])

"""
Which nonces were seen: each is good once per key.

A memory forgets when its process ends. So none takes a timestamp from before it began, apart from two seconds for
clocks that go slow: neither this process nor a Redis server, which may come back empty. With more than one process the
memory must be Redis; while that does not answer, what is signed is refused, since nobody can tell a replay.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from llm_pool.core.errors import Overloaded, Unauthenticated
from llm_pool.qos.redis import RedisUnavailable
from llm_pool.security.hmac import NONCE_TTL

if TYPE_CHECKING:
    from llm_pool.core.interfaces import Clock
    from llm_pool.qos.redis import BudgetedRedis

START_TOLERANCE = 2.0
"""Seconds before its own start from which a memory still takes timestamps."""
MAX_WAIT = 0.25
"""Seconds that a request waits for Redis; after that it is refused, with a word when to come back."""


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
        self._began = clock.now()
        self._seen: dict[str, _Seen] = {}

    async def use(self, key: str, nonce: str, timestamp: float) -> None:
        """As the seam says."""
        now = self._clock.now()
        began = self._clock.wall() - (now - self._began)  # by today's wall clock, which may have been set since
        if timestamp < began - START_TOLERANCE:
            raise Unauthenticated("fence")
        seen = self._seen.setdefault(key, _Seen())
        seen.forget(now - NONCE_TTL)
        if nonce in seen.nonces:
            raise Unauthenticated("replay")
        if len(seen.nonces) >= self._limit:
            raise Overloaded("the memory of nonces", 1.0)
        seen.add(nonce, now)


SCRIPT = """
local clock = redis.call('TIME')
local uptime = string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)')
if tonumber(ARGV[1]) < clock[1] - uptime - ARGV[2] then return 'fence' end
if redis.call('SET', KEYS[1], '', 'NX', 'EX', ARGV[3]) then return 'new' end
return 'replay'
"""
"""One step on the server, by the server's clock: a server that has just begun may have forgotten nonces."""


class RedisNonces:
    """
    In Redis, for all processes that share it.

    Args:
        redis: while it does not answer, nobody can tell.
        prefix: of its keys.
    """

    def __init__(self, redis: BudgetedRedis, *, prefix: str = "llm-pool:nonce:") -> None:
        self._redis, self._prefix = redis, prefix
        self._script = redis.client.register_script(SCRIPT)

    async def use(self, key: str, nonce: str, timestamp: float) -> None:
        """As the seam says."""
        keys, arguments = [f"{self._prefix}{key}:{nonce}"], [timestamp, START_TOLERANCE, int(NONCE_TTL)]
        try:
            found = await self._redis.ask(lambda: self._script(keys=keys, args=arguments), max_wait=MAX_WAIT)
        except RedisUnavailable:
            raise Overloaded("the memory of nonces", 1.0) from None
        if found != b"new":
            raise Unauthenticated("fence" if found == b"fence" else "replay")


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

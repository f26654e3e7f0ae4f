"""
Decisions that feedback can name at any process on one Redis, whichever of them answered.

::

    a decision of several models ─▶ kept for TTL ─▶ the first word on it takes it ─▶ heard, for TTL again

Feedback is learned where it came; the others hear of it as of everything that is learned (``engine.shared_trust``).
While Redis does not answer, a process takes feedback on what it answered itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from llm_pool.qos.redis import RedisUnavailable
from llm_pool.trust.learning import AlreadyHeard, StoredDecision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.qos.redis import BudgetedRedis

PREFIX = "llm-pool:decision:"
SEPARATOR = "\x1f"
TTL = 3600
"""Seconds that feedback may come after an answer to another process than the one that gave it."""
PENDING = 1000
"""Decisions that wait to be kept; the oldest are lost first."""
AT_ONCE = 100
"""Decisions that are kept in one step."""
MAX_WAIT = 0.25
"""Seconds that feedback waits for Redis."""
HEARD = b"heard"

TAKE = """
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'string' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
local kept = redis.call('GET', KEYS[1])
if kept then redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) end
return kept
"""


class SharedDecisions:
    """
    Keeps decisions in Redis; one of ``trust.learning.DecisionExchange``.

    Args:
        redis: where they are.
    """

    def __init__(self, redis: BudgetedRedis) -> None:
        self._redis = redis
        self._take = redis.client.register_script(TAKE)
        self._pending: deque[StoredDecision] = deque(maxlen=PENDING)
        self._keeping: asyncio.Task[None] | None = None

    def keep(self, stored: StoredDecision) -> None:
        """Keep it, behind the request."""
        self._pending.append(stored)
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.create_task(self._keep_pending(), name="keep decisions")

    async def take(self, request_id: str, tenant_id: str) -> StoredDecision | None:
        """
        The decision, for the first word on it; None where it is not kept, or Redis does not answer.

        Raises:
            AlreadyHeard: another word was there before.
        """
        take = partial(self._take, keys=[_key(request_id, tenant_id)], args=[HEARD, TTL])
        try:
            kept = await self._redis.ask(take, max_wait=MAX_WAIT)
            if kept == HEARD:
                raise AlreadyHeard
            return None if kept is None else msgspec.msgpack.decode(kept, type=StoredDecision)
        except (RedisUnavailable, msgspec.DecodeError):
            return None

    async def give_back(self, stored: StoredDecision) -> None:
        """The word that took it could not be learned: the next one is the first."""
        with suppress(RedisUnavailable):
            await self._redis.ask(partial(self._set, [stored], only_new=False), max_wait=MAX_WAIT)

    async def aclose(self) -> None:
        """Keep what is left to keep; who gave the Redis closes it. Idempotent."""
        if self._keeping is not None:
            await asyncio.gather(self._keeping, return_exceptions=True)

    async def _keep_pending(self) -> None:
        while self._pending:
            some = [self._pending.popleft() for _ in range(min(AT_ONCE, len(self._pending)))]
            with suppress(RedisUnavailable):  # feedback on these is taken here alone
                await self._redis.ask(partial(self._set, some, only_new=True), max_wait=MAX_WAIT)

    async def _set(self, some: Sequence[StoredDecision], *, only_new: bool) -> None:
        pipeline = self._redis.client.pipeline(transaction=False)
        for stored in some:
            key = _key(stored.request_id, stored.tenant_id)
            pipeline.set(key, msgspec.msgpack.encode(stored), ex=TTL, nx=only_new)
        await pipeline.execute()


def _key(request_id: str, tenant_id: str) -> str:
    return f"{PREFIX}{tenant_id}{SEPARATOR}{request_id}"

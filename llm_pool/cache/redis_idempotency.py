"""
One run for one request id among all processes that share a Redis server: a claim, a lease, a result.

::

    claim ─▶ won ─▶ run, renewing the lease ─▶ the result is kept for the TTL
        ├──▶ running elsewhere ─▶ look again until it is done, or its lease ended ─▶ claim
        └──▶ done ─▶ the result

A process that dies leaves a claim that ends with its lease, and another runs: soon enough for who sends a request of
some seconds again. While Redis does not answer, each process keeps its own ids, as without Redis: an id may then run
once in each. One whose claim was only slow to come still has it; one that cannot tell its result goes on trying for as
long as its claim lasts. A process that is cut off from Redis for longer than ``LEASE`` while it runs may be joined by
another run elsewhere.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from llm_pool.cache.encoding import SPOILT, pack, unpack
from llm_pool.cache.idempotency import used_for_another
from llm_pool.core.errors import DeadlineExceeded
from llm_pool.qos.redis import RedisUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from llm_pool.cache.idempotency import IdempotencyStore
    from llm_pool.core.interfaces import Clock
    from llm_pool.core.messages import Answer
    from llm_pool.qos.redis import BudgetedRedis

PREFIX = "llm-pool:once:"
LEASE = 3.0
"""Seconds that a claim lasts without being renewed."""
POLL = 0.05
"""Seconds between two looks for a run that goes on elsewhere."""
MAX_WAIT = 0.25
"""Seconds that a request waits for Redis."""
RETELL = 0.25
"""Seconds between two attempts to tell a result that Redis did not take."""

CLAIM = """
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
local fingerprint = redis.call('HGET', KEYS[1], 'fingerprint')
if not fingerprint then
  redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'token', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return {'won'}
end
if fingerprint ~= ARGV[1] then return {'other'} end
local answer = redis.call('HGET', KEYS[1], 'answer')
if answer then return {'done', answer} end
return {'running'}
"""
RENEW = "if redis.call('HGET', KEYS[1], 'token') == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end"
FINISH = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return end
redis.call('HSET', KEYS[1], 'answer', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
"""
DROP = "if redis.call('HGET', KEYS[1], 'answer') == ARGV[1] then redis.call('DEL', KEYS[1]) end"
"""Of two who read the same spoilt answer, the second must not remove what the first claimed since."""
RELEASE = "if redis.call('HGET', KEYS[1], 'token') == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class RedisIdempotency:
    """
    Among processes; within each, the local store sees to it.

    Args:
        local: one run in this process.
        redis: one run among processes, while it answers.
        clock: the time.
        ttl: seconds an answer is remembered after it was made.
    """

    def __init__(self, local: IdempotencyStore, redis: BudgetedRedis, clock: Clock, *, ttl: float) -> None:
        self._local, self._redis, self._clock, self._ttl = local, redis, clock, ttl
        self._scripts = {text: redis.client.register_script(text) for text in (CLAIM, RENEW, FINISH, DROP, RELEASE)}
        self._behind: set[asyncio.Task[None]] = set()

    async def run(
        self,
        owner: str,
        request_id: str,
        fingerprint: str,
        make: Callable[[], Awaitable[Answer]],
        *,
        deadline: float,
    ) -> Answer:
        """As ``Idempotency.run``."""

        async def claimed() -> Answer:
            return await self._claimed(owner, request_id, fingerprint, make, deadline)

        return await self._local.run(owner, request_id, fingerprint, claimed, deadline=deadline)

    def with_ttl(self, ttl: float) -> RedisIdempotency:
        """As ``Idempotency.with_ttl``."""
        return RedisIdempotency(self._local.with_ttl(ttl), self._redis, self._clock, ttl=ttl)

    async def aclose(self) -> None:
        """Wait until claims are given back and results told; who gave the Redis closes it. Idempotent."""
        await asyncio.gather(*self._behind, return_exceptions=True)

    async def _claimed(
        self, owner: str, request_id: str, fingerprint: str, make: Callable[[], Awaitable[Answer]], deadline: float
    ) -> Answer:
        key, token, began = f"{PREFIX}{owner}:{request_id}", uuid.uuid4().hex, self._clock.now()
        while True:
            try:
                state, *packed = await self._ask(CLAIM, key, fingerprint, token, int(LEASE * 1000))
            except RedisUnavailable:
                return await self._run(key, token, make)  # what was asked goes on, and may win yet
            match state:
                case b"won":
                    return await self._run(key, token, make)
                case b"other":
                    raise used_for_another(request_id)
                case b"done":
                    try:
                        return unpack(packed[0], now=self._clock.wall())
                    except SPOILT:  # as if it were not there
                        await self._drop(key, packed[0])
                        continue
            if self._clock.now() + POLL >= deadline:
                raise DeadlineExceeded(deadline - began)
            await asyncio.sleep(POLL)

    async def _drop(self, key: str, packed: bytes) -> None:
        """Remove an entry whose answer nobody can read, so that the next claim wins."""
        with suppress(RedisUnavailable):
            await self._ask(DROP, key, packed)

    async def _run(self, key: str, token: str, make: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            async with self._renewing(key, token):
                answer = await make()
        except BaseException:  # cancelled, too: the claim must not outlive the run
            self._release(key, token)
            raise
        packed = pack(answer.without_reasoning(), made=self._clock.wall())
        try:
            await self._finish(key, token, packed)
        except RedisUnavailable:
            self._start_behind(self._finish_later(key, token, packed), "tell a result")
        return answer

    async def _finish(self, key: str, token: str, packed: bytes) -> None:
        await self._ask(FINISH, key, token, packed, int(self._ttl * 1000))

    async def _finish_later(self, key: str, token: str, packed: bytes) -> None:
        """Until the claim has ended: who waits for it elsewhere would run again."""
        until = self._clock.now() + LEASE
        while self._clock.now() < until:
            await asyncio.sleep(RETELL)
            with suppress(RedisUnavailable):
                await self._finish(key, token, packed)
                return

    @asynccontextmanager
    async def _renewing(self, key: str, token: str) -> AsyncIterator[None]:
        async def renew() -> None:
            while True:
                await asyncio.sleep(LEASE / 3)
                with suppress(RedisUnavailable):
                    await self._ask(RENEW, key, token, int(LEASE * 1000))

        task = asyncio.create_task(renew(), name="renew a claim")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    def _release(self, key: str, token: str) -> None:
        """Give the claim back behind the request, which may be being cancelled."""

        async def release() -> None:
            with suppress(RedisUnavailable):
                await self._ask(RELEASE, key, token)

        self._start_behind(release(), "release a claim")

    def _start_behind(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)

    async def _ask(self, script: str, key: str, *arguments: str | bytes | int) -> Any:
        return await self._redis.ask(lambda: self._scripts[script](keys=[key], args=list(arguments)), max_wait=MAX_WAIT)

"""
Trust that several processes learn together: the records are in Redis, and each process has a copy.

What is learned counts here at once. Every ``INTERVAL`` seconds it is added to the records in Redis, with the same
decay, and the copy is made anew where others have added something: so all come to the same records, an observation
counts once, and it takes twice the interval at most until everybody knows it. A Redis without records takes those of
the first process that comes. While Redis does not answer, each process goes on with its copy, and tells later what it
learned, up to ``PENDING`` observations.
"""

from __future__ import annotations

import asyncio
import math
import uuid
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.qos.redis import RedisUnavailable
from llm_pool.trust.model import HALF_LIFE, Observation, TrustRecord  # msgspec reads Observation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from llm_pool.qos.redis import BudgetedRedis
    from llm_pool.trust.model import Trust

PREFIX = "llm-pool:trust:"
INTERVAL = 2.0
"""Seconds between two exchanges."""
PENDING = 10_000
"""Observations that are kept for Redis; the oldest are lost first."""
AT_ONCE = 200
"""Observations in one step on the server, which does nothing else meanwhile."""
MAX_WAIT = 0.5
"""Seconds that an exchange waits for Redis, behind all requests."""

TOLD_TTL = 3600
"""Seconds that Redis remembers what a process told it last."""
SEPARATOR = "\x1f"

ADD = """
if tonumber(redis.call('GET', KEYS[3]) or 0) >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[3], ARGV[1], 'EX', ARGV[2])
for at = 4, #ARGV, 3 do
  local field, right, strength = ARGV[at], ARGV[at + 1] == '1', tonumber(ARGV[at + 2])
  local wins, losses = string.match(redis.call('HGET', KEYS[1], field) or '', '^(%S+) (%S+)$')
  local fade = 0.5 ^ (strength / tonumber(ARGV[3]))
  wins = (tonumber(wins) or 0) * fade + (right and strength or 0)
  losses = (tonumber(losses) or 0) * fade + (right and 0 or strength)
  redis.call('HSET', KEYS[1], field, string.format('%.9g %.9g', wins, losses))
end
redis.call('SET', KEYS[2], KEYS[3] .. ARGV[1])
return 1
"""
"""
``trust.model.Record.add`` for each field, right or not, and strength; then the records have a new version. A step that
was told before, and whose reply was lost, does nothing.
"""
SEED = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
for at = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end
redis.call('SET', KEYS[2], ARGV[1])
return 1
"""


class _Step(msgspec.Struct, frozen=True):
    """Observations that are told together; *number* counts a process's steps."""

    number: int
    observations: tuple[Observation, ...]


class SharedTrust:
    """
    Keeps a process's trust the same as the others'.

    Args:
        redis: where the records are.
        trust: this process's copy; what it learns is heard once this was started.
    """

    def __init__(self, redis: BudgetedRedis, trust: Trust) -> None:
        self._redis, self._trust = redis, trust
        self._keys = [f"{PREFIX}{what}" for what in ("records", "version", f"told:{uuid.uuid4().hex}")]
        self._pending: deque[Observation] = deque(maxlen=PENDING)
        self._step = _Step(0, ())
        self._version: bytes | None = None
        self._add, self._seed = redis.client.register_script(ADD), redis.client.register_script(SEED)
        self._exchanging: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Listen, and exchange from time to time. Idempotent."""
        self._trust.tell = self._hear
        if self._exchanging is None:
            self._exchanging = asyncio.create_task(self._exchange_always(), name="share what was learned")

    async def exchange(self) -> None:
        """Tell what was learned here, and take in what was elsewhere; raises RedisUnavailable."""
        if await self._read_version() is None:
            await self._begin()
        while self._pending or self._step.observations:
            await self._tell()
        version = await self._read_version()
        if version is not None and version != self._version:
            records = await self._ask(partial(self._redis.client.hgetall, self._keys[0]))
            self._trust.replace(_records(records), [*self._step.observations, *self._pending])
            self._version = version

    async def aclose(self) -> None:
        """Tell what is left to tell. Idempotent; nothing where it was never started."""
        if self._exchanging is None:
            return
        if self._trust.tell == self._hear:  # else another Redis has it by now
            self._trust.tell = None
        self._exchanging.cancel()
        await asyncio.gather(self._exchanging, return_exceptions=True)
        with suppress(RedisUnavailable):
            await self.exchange()

    def _hear(self, observation: Observation) -> None:
        self._pending.append(observation)

    async def _exchange_always(self) -> None:
        while True:
            with suppress(RedisUnavailable):
                await self.exchange()
            await asyncio.sleep(INTERVAL)

    async def _begin(self) -> None:
        """Give a Redis that has no records those that are here, what was not told yet among them."""
        known = len(self._pending)
        words = [
            word
            for one in self._trust.trust_records()
            for word in (_field(one.task, one.expert), f"{one.wins:.9g} {one.losses:.9g}")
        ]
        version = uuid.uuid4().hex  # one that no server had before
        if words and await self._ask(partial(self._seed, keys=self._keys, args=[version, *words])):
            self._step = _Step(self._step.number, ())
            for _ in range(min(known, len(self._pending))):
                self._pending.popleft()

    async def _tell(self) -> None:
        if not self._step.observations:
            some = [self._pending.popleft() for _ in range(min(AT_ONCE, len(self._pending)))]
            self._step = _Step(self._step.number + 1, tuple(some))
        words: list[str | float] = [self._step.number, TOLD_TTL, HALF_LIFE]
        for seen in self._step.observations:
            words += [_field(seen.task, seen.expert), int(seen.right), seen.strength]
        await self._ask(partial(self._add, keys=self._keys, args=words))
        self._step = _Step(self._step.number, ())

    async def _read_version(self) -> bytes | None:
        version: bytes | None = await self._ask(partial(self._redis.client.get, self._keys[1]))
        return version

    async def _ask(self, operation: Callable[[], Awaitable[Any]]) -> Any:
        return await self._redis.ask(operation, max_wait=MAX_WAIT)


def _field(task: str, expert: str) -> str:
    return f"{task}{SEPARATOR}{expert}"


def _records(fields: Mapping[bytes, bytes]) -> Iterator[TrustRecord]:
    """The records in a reply, without what is none."""
    for field, value in fields.items():
        with suppress(ValueError):
            task, expert = field.decode().split(SEPARATOR)
            wins, losses = map(float, value.split())
            if 0 <= wins < math.inf and 0 <= losses < math.inf:
                yield TrustRecord(task, expert, wins, losses)

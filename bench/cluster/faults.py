"""What goes wrong, in turn, and when it did."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from bench.cluster.configuration import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.cluster.configuration import MountedConfig
    from bench.cluster.processes import Redis, Replica

SETTLING = 8.0
"""Seconds after each fault in which nothing new happens."""
AFTERWARDS = 3.0
"""Seconds after a fault has ended in which a replica may still find its way back to Redis."""
RELOAD_TIME = 10.0
"""Seconds that a replica may take to notice a new configuration."""


class Phase(NamedTuple):
    """
    One fault and the quiet after it.

    Attributes:
        began, over, until: instants: the fault began, it ended, the next phase begins.
        hit: names of the replicas that may lose track of what they run; empty where none may.
    """

    name: str
    began: float
    over: float
    until: float
    hit: frozenset[str] = frozenset()

    def overlaps(self, began: float, ended: float) -> bool:
        """Whether the fault, and the way back from it, touch this span."""
        return began <= self.over + AFTERWARDS and ended >= self.began


class Faults:
    """Everything that can go wrong in this cluster."""

    def __init__(self, replicas: Sequence[Replica], redis: Redis, config: MountedConfig) -> None:
        self._replicas, self._redis, self._config = replicas, redis, config
        self.phases: list[Phase] = []
        self.rounds = 0
        self.exit_statuses: list[int] = []
        self.rollouts: list[bool] = []

    async def run(self, seconds: float) -> None:
        """Round after round, as long as another one may end within *seconds*; one at least."""
        began = time.monotonic()
        await self._quiet()
        longest = 0.0
        while self.rounds == 0 or time.monotonic() - began + longest <= seconds:
            round_began = time.monotonic()
            await self._round()
            longest = max(longest, time.monotonic() - round_began)

    async def _round(self) -> None:
        first, second, third = (self._replicas[(self.rounds + n) % len(self._replicas)] for n in range(3))
        self.rounds += 1
        await self._killed(first)
        await self._cut_from_redis(second)
        await self._cut_off(third)
        await self._redis_restarted()
        await self._rolling_restart()
        await self._rollout()

    async def _quiet(self) -> None:
        with self._noted("nothing", frozenset()):
            pass
        await self._settle()

    async def _killed(self, replica: Replica) -> None:
        with self._noted("a replica killed", {replica.host.name}):
            await replica.kill()
            await asyncio.sleep(2)
            await replica.start()
        await self._settle()

    async def _cut_from_redis(self, replica: Replica) -> None:
        with self._noted("a replica cut off from Redis", {replica.host.name}):
            await replica.host.cut_from(self._redis.host)
            await asyncio.sleep(6)
            await replica.host.mend_to(self._redis.host)
        await self._settle()

    async def _cut_off(self, replica: Replica) -> None:
        with self._noted("a replica cut off from everything", {replica.host.name}):
            await replica.host.cut()
            await asyncio.sleep(6)
            await replica.host.mend()
        await self._settle()

    async def _redis_restarted(self) -> None:
        with self._noted("Redis stopped, back empty", {replica.host.name for replica in self._replicas}):
            await self._redis.stop()
            await asyncio.sleep(4)
            await self._redis.start()
        await self._settle()

    async def _rolling_restart(self) -> None:
        with self._noted("rolling restart", frozenset()):
            for replica in self._replicas:
                self.exit_statuses.append(await replica.stop())
                await replica.start()
                await asyncio.sleep(1)
        await self._settle()

    async def _rollout(self) -> None:
        with self._noted("configuration rollout", frozenset()):
            before = [await replica.generation(KEY) for replica in self._replicas]
            self._config.swap()
            for replica, generation in zip(self._replicas, before, strict=True):
                self.rollouts.append(await _has_taken(replica, generation))
        await self._settle()

    @contextmanager
    def _noted(self, name: str, hit: frozenset[str] | set[str]) -> Iterator[None]:
        began = time.monotonic()
        yield
        over = time.monotonic()
        self.phases.append(Phase(name, began, over, over, frozenset(hit)))

    async def _settle(self) -> None:
        await asyncio.sleep(SETTLING)
        self.phases[-1] = self.phases[-1]._replace(until=time.monotonic())


async def _has_taken(replica: Replica, generation: int) -> bool:
    try:
        async with asyncio.timeout(RELOAD_TIME):
            while await replica.generation(KEY) <= generation:  # noqa: ASYNC110  another process
                await asyncio.sleep(0.2)
    except TimeoutError:
        return False
    return True

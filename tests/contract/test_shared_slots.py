"""Slots that processes share through Redis: each ``SharedSlots`` here is a process of its own to the server."""

from __future__ import annotations

import asyncio
import math
import random
import re
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from llm_pool.config import parse
from llm_pool.core.clock import SystemClock
from llm_pool.core.messages import Query
from llm_pool.engine import open_app
from llm_pool.qos.redis import BudgetedRedis
from llm_pool.qos.shared_slots import ALONE, FENCE, SharedSlots
from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.contract.conftest import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop, pytest.mark.timeout(120)]

CLOCK = SystemClock()
CONFIG = """
[security]
redis_url = "{redis}"
[groups.one]
slots = 3
shared = true
[[providers]]
name = "a"
driver = "ollama"
model = "phi3:mini"
base_url = "{url}"
group = "one"
"""
MACHINE = "http://ollama:11434"


class Usage:
    """How many calls are on the machine."""

    def __init__(self) -> None:
        self.now = self.most = self.done = 0

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            yield
        finally:
            self.now -= 1
            self.done += 1


@asynccontextmanager
async def processes(redis_server: RedisServer, count: int) -> AsyncIterator[list[SharedSlots]]:
    """*count* of them; the server is old enough to be believed."""
    async with asyncio.timeout(20):
        while _uptime(redis_server) < FENCE:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.1)
    redises = [BudgetedRedis(redis_server.url, CLOCK, key="cache.url") for _ in range(count)]
    all_slots = [SharedSlots(redis, CLOCK) for redis in redises]
    try:
        yield all_slots
    finally:
        for slots, redis in zip(all_slots, redises, strict=True):
            await slots.aclose()
            await redis.aclose()


def _uptime(redis_server: RedisServer) -> int:
    found = re.search(rb"uptime_in_seconds:(\d+)", redis_server.ask("INFO", "server"))
    return int(found[1]) if found else 0


async def work(slots: SharedSlots, usage: Usage, *, size: int, seconds: float, wait: float = 20.0) -> bool:
    """One call of so many *seconds*; whether it had a slot."""
    now = CLOCK.now()
    lease = await slots.acquire(MACHINE, size, before=now + wait, until=now + wait + seconds)
    if lease is None:
        return False
    async with usage.call():
        await asyncio.sleep(seconds)
    slots.release(MACHINE, lease)
    return True


@pytest.mark.parametrize("size", [3, 5])
async def test_together_they_never_take_more_than_there_are(redis_server: RedisServer, size: int) -> None:
    usage, rng = Usage(), random.Random(size)
    gates = [asyncio.Semaphore(size) for _ in range(3)]  # each process has a gate of its own before them

    async def ask(slots: SharedSlots, gate: asyncio.Semaphore) -> None:
        async with gate:
            await work(slots, usage, size=size, seconds=rng.uniform(0, 0.03))

    async with processes(redis_server, 3) as all_slots, asyncio.TaskGroup() as group:
        for n in range(60):
            group.create_task(ask(all_slots[n % 3], gates[n % 3]))

    assert usage.done == 60
    assert usage.most <= size


async def test_one_process_keeps_a_slot_free_for_each_other(redis_server: RedisServer) -> None:
    """So that each may go on with one should Redis not answer the next moment."""
    usage = Usage()
    async with processes(redis_server, 3) as all_slots:
        for slots in all_slots:
            await work(slots, usage, size=5, seconds=0)
        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(work(all_slots[0], usage, size=5, seconds=0.05))

    assert usage.most == 3


async def test_who_waits_longest_is_next(redis_server: RedisServer) -> None:
    order: list[int] = []
    async with processes(redis_server, 2) as all_slots:
        first = await all_slots[0].acquire(MACHINE, 1, before=CLOCK.now() + 9, until=CLOCK.now() + 9)
        assert first is not None

        async def wait(n: int) -> None:
            slots = all_slots[n % 2]
            lease = await slots.acquire(MACHINE, 1, before=CLOCK.now() + 9, until=CLOCK.now() + 9)
            assert lease is not None
            order.append(n)
            slots.release(MACHINE, lease)

        async with asyncio.TaskGroup() as group:
            for n in range(6):
                group.create_task(wait(n))
                await asyncio.sleep(0.05)
            all_slots[0].release(MACHINE, first)

    assert order == [0, 1, 2, 3, 4, 5]


async def test_who_waits_in_vain_leaves_nothing_behind(redis_server: RedisServer) -> None:
    async with processes(redis_server, 2) as all_slots:
        lease = await all_slots[0].acquire(MACHINE, 1, before=CLOCK.now() + 9, until=math.inf)
        assert lease is not None
        late = await all_slots[1].acquire(MACHINE, 1, before=CLOCK.now() + 0.1, until=math.inf)
        cancelled = asyncio.create_task(all_slots[1].acquire(MACHINE, 1, before=CLOCK.now() + 9, until=math.inf))
        await asyncio.sleep(0.1)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        all_slots[0].release(MACHINE, lease)
        next_one = await all_slots[0].acquire(MACHINE, 1, before=CLOCK.now() + 1, until=math.inf)

        assert late is None
        assert next_one is not None


async def test_what_a_dead_process_held_comes_back_when_its_call_would_have_ended(redis_server: RedisServer) -> None:
    async with processes(redis_server, 2) as (dead, living):
        until = CLOCK.now() + 1.0
        assert await dead.acquire(MACHINE, 1, before=until, until=until) is not None
        assert dead._beating is not None
        dead._beating.cancel()  # as by kill -9: nothing is given back

        lease = await living.acquire(MACHINE, 1, before=CLOCK.now() + 9, until=math.inf)

        assert lease is not None
        assert CLOCK.now() >= until


async def test_a_lease_is_renewed_while_its_call_runs(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm_pool.qos.shared_slots.MAX_LEASE", 1.5)
    async with processes(redis_server, 2) as (one, other):
        lease = await one.acquire(MACHINE, 1, before=CLOCK.now() + 9, until=math.inf)
        assert lease is not None

        assert await other.acquire(MACHINE, 1, before=CLOCK.now() + 3, until=math.inf) is None


async def test_without_redis_each_uses_one(redis_server: RedisServer) -> None:
    """Frozen or cut off: nobody waits for it, and nobody takes more than the one that was kept for it."""
    usage = Usage()
    async with processes(redis_server, 3) as all_slots:
        for slots in all_slots:
            await work(slots, usage, size=4, seconds=0)
        with redis_server.frozen():
            async with asyncio.TaskGroup() as group:
                for n in range(12):
                    group.create_task(work(all_slots[n % 3], usage, size=4, seconds=0.1, wait=5))

    assert usage.done == 15
    assert usage.most == 3 * ALONE


async def test_a_server_that_comes_back_empty_is_told_before_it_is_believed(redis_server: RedisServer) -> None:
    """Calls that run all along: nobody takes their slots, neither while it is away nor when it has forgotten them."""
    usage = Usage()
    async with processes(redis_server, 3) as all_slots:
        for slots in all_slots:
            await work(slots, usage, size=4, seconds=0)
        ends = CLOCK.now() + 10

        async def stream_of_calls(slots: SharedSlots) -> None:
            while CLOCK.now() < ends:
                await work(slots, usage, size=4, seconds=0.3, wait=4)

        async with asyncio.TaskGroup() as group:
            for slots in all_slots:
                for _ in range(3):
                    group.create_task(stream_of_calls(slots))
            await asyncio.sleep(1)
            redis_server.stop()
            await asyncio.sleep(1)
            redis_server.start()

    assert usage.most <= 4
    assert usage.done > 60


async def test_pools_on_one_redis_share_a_machine(redis_server: RedisServer, tmp_path: Path) -> None:
    """Three engines, each with a gate of three: the backend never has more than three calls."""
    async with processes(redis_server, 0), Upstream(ttft="const:0.02") as upstream, AsyncExitStack() as stack:
        text = CONFIG.format(redis=redis_server.url, url=upstream.url)
        apps = [await stack.enter_async_context(open_app(parse(text, path=tmp_path / "c.toml"))) for _ in range(3)]
        queries = [Query(prompt=f"number {n}?", deadline=30.0) for n in range(30)]
        answers = await asyncio.gather(*(apps[n % 3].infer(query) for n, query in enumerate(queries)))

    assert len(answers) == 30
    assert upstream.counts.most_in_flight == 3

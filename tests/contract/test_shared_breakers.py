"""What the breaker of one process tells the others through Redis."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import pytest

from llm_pool.core.clock import SystemClock
from llm_pool.engine import shared_breakers
from llm_pool.engine.shared_breakers import SharedBreakers
from llm_pool.qos.breaker import Permit, Rules
from llm_pool.qos.breaking import Breakers
from llm_pool.qos.latency import Latencies
from llm_pool.qos.patience import Patience
from llm_pool.qos.redis import BudgetedRedis
from llm_pool.qos.suspecting import Suspicions
from llm_pool.testing import a_call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from llm_pool.qos.suspecting import Hints
    from tests.contract.conftest import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

CLOCK = SystemClock()
RULES = Rules(fail_rate=1.0, window_size=1, min_calls=1, cooldown=2.0, jitter=0.0)


class Process:
    """What of a process is in play here."""

    def __init__(self) -> None:
        hints: Hints = {}
        self.shared = SharedBreakers(CLOCK, hints)
        self.breakers = Breakers(RULES, CLOCK, Random(1), self.shared.on)
        self.suspicions = Suspicions(CLOCK, hints)

    def ask(self, *, fails: bool) -> None:
        permit = self.breakers.admit("a", a_call(deadline=CLOCK.now() + 9), force=True)
        assert isinstance(permit, Permit)
        self.breakers.record("a", a_call().task.name, permit, "failed" if fails else "ok")

    def suspects(self, provider: str) -> bool:
        return self.suspicions.is_suspect(
            provider, a_call(deadline=CLOCK.now() + 9), Patience(Latencies(), CLOCK, hedge_after=0.3)
        )


@asynccontextmanager
async def processes(server: RedisServer, count: int) -> AsyncIterator[list[Process]]:
    redises = [BudgetedRedis(server.url, CLOCK, key="cache.url") for _ in range(count)]
    made = [Process() for _ in redises]
    for redis, one in zip(redises, made, strict=True):
        await redis.client.ping()
        one.shared.connect(redis)
    yield made
    for redis, one in zip(redises, made, strict=True):
        await one.shared.aclose()
        await redis.aclose()


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_breakers, "INTERVAL", 0.02)


async def until(what: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not what():  # noqa: ASYNC110  # it comes from a server
            await asyncio.sleep(0.01)


async def test_an_open_breaker_is_a_hint_to_the_others_until_it_rests_no_more(redis_server: RedisServer) -> None:
    async with processes(redis_server, 2) as (one, other):
        one.ask(fails=True)
        await until(lambda: other.suspects("a"))

        assert other.breakers.refusal("a", a_call().task.name) is None
        assert not other.suspects("b")
        assert not one.suspects("a")  # its own breaker says more
        await until(lambda: not other.suspects("a"))


async def test_one_that_closes_takes_it_back(redis_server: RedisServer) -> None:
    async with processes(redis_server, 2) as (one, other):
        one.ask(fails=True)
        await until(lambda: other.suspects("a"))
        one.ask(fails=False)

        await until(lambda: not other.suspects("a"), 1.0)


async def test_without_redis_there_are_none(redis_server: RedisServer) -> None:
    async with processes(redis_server, 2) as (one, other):
        with redis_server.frozen():
            one.ask(fails=True)
            await asyncio.sleep(0.3)
            assert not other.suspects("a")


async def test_rubbish_in_redis_is_no_hint(redis_server: RedisServer) -> None:
    redis_server.ask("ZADD", shared_breakers.KEY, "99999999999999", "rubbish")
    async with processes(redis_server, 2) as (one, other):
        one.ask(fails=True)

        await until(lambda: other.suspects("a"))

"""Every limiter: one rule, on whatever it counts with."""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import TYPE_CHECKING

import pytest

from llm_pool.core.clock import SystemClock
from llm_pool.qos.redis import BudgetedRedis
from llm_pool.security.ratelimit import MAX_WAIT, MemoryLimiter, Rate, RedisLimiter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from llm_pool.security.ratelimit import Limiter
    from tests.contract.conftest import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

NAMES = (f"sender-{number}" for number in itertools.count())


@pytest.fixture(params=["memory", "redis"])
async def limiter(request: pytest.FixtureRequest) -> AsyncIterator[Limiter]:
    if request.param == "memory":
        yield MemoryLimiter(SystemClock())
        return
    redis = BudgetedRedis(request.getfixturevalue("redis_server").url, SystemClock(), key="security.redis_url")
    await redis.client.ping()
    yield RedisLimiter(redis, SystemClock())
    await redis.aclose()


async def test_a_burst_is_taken_whole_and_no_more(limiter: Limiter) -> None:
    """The next one is told when to come again."""
    sender, rate = next(NAMES), Rate(0.5, 5)

    verdicts = [await limiter.take(sender, rate) for _ in range(6)]

    assert [verdict.allowed for verdict in verdicts] == [True] * 5 + [False]
    assert verdicts[0].remaining == pytest.approx(4, abs=0.2)
    assert verdicts[5].retry_after == pytest.approx(2.0, abs=0.2)
    assert verdicts[5].reset == pytest.approx(10.0, abs=0.3)


async def test_who_waits_as_told_is_let_in(limiter: Limiter) -> None:
    """Neither earlier nor later."""
    sender, rate = next(NAMES), Rate(10, 1)
    await limiter.take(sender, rate)
    refused = await limiter.take(sender, rate)

    await asyncio.sleep(refused.retry_after + 0.01)

    assert refused.retry_after <= 0.1
    assert (await limiter.take(sender, rate)).allowed


async def test_senders_do_not_meet(limiter: Limiter) -> None:
    """What one spent, another has still."""
    rate, one, other = Rate(0.1, 1), next(NAMES), next(NAMES)
    await limiter.take(one, rate)

    assert (await limiter.take(other, rate)).allowed
    assert not (await limiter.take(one, rate)).allowed


async def test_of_many_at_once_the_burst_is_let_in(limiter: Limiter) -> None:
    """Taking is one step, however many do it."""
    sender, rate = next(NAMES), Rate(0.01, 7)

    verdicts = await asyncio.gather(*(limiter.take(sender, rate) for _ in range(50)))

    assert sum(verdict.allowed for verdict in verdicts) == 7


async def test_a_debt_is_booked_whatever_is_left(limiter: Limiter) -> None:
    """Then nothing more is given, not even nothing, until it is paid back."""
    sender, rate = next(NAMES), Rate(1, 10)

    before = await limiter.take(sender, rate, 0.0)
    await limiter.charge(sender, rate, 25.0)
    after = await limiter.take(sender, rate, 0.0)

    assert before.allowed
    assert not after.allowed
    assert after.retry_after == pytest.approx(15.0, abs=0.2)
    assert after.remaining == 0.0


async def test_what_is_more_than_a_burst_is_never_given(limiter: Limiter) -> None:
    """Waiting would not help."""
    verdict = await limiter.take(next(NAMES), Rate(1, 10), 11.0)

    assert not verdict.allowed
    assert verdict.retry_after == float("inf")


async def test_two_processes_share_one_rate(redis_server: RedisServer) -> None:
    """Each brings its own connection; the server's clock counts."""
    connections = [BudgetedRedis(redis_server.url, SystemClock(), key="security.redis_url") for _ in range(2)]
    for redis in connections:
        await redis.client.ping()
    one, other = (RedisLimiter(redis, SystemClock()) for redis in connections)
    sender, rate = next(NAMES), Rate(0.01, 3)

    verdicts = [await limiter.take(sender, rate) for limiter in (one, other, one, other)]

    assert [verdict.allowed for verdict in verdicts] == [True, True, True, False]
    for redis in connections:
        await redis.aclose()


async def test_what_is_paid_back_leaves_no_key_behind(redis_server: RedisServer) -> None:
    """Each key ends soon after its debt."""
    redis, sender = BudgetedRedis(redis_server.url, SystemClock(), key="security.redis_url"), next(NAMES)
    await redis.client.ping()
    await RedisLimiter(redis, SystemClock()).take(sender, Rate(1, 5))

    assert 0 < await redis.client.pttl(f"llm-pool:rate:{{{sender}}}") <= 2100
    await redis.aclose()


async def test_without_redis_a_process_counts_for_itself(caplog: pytest.LogCaptureFixture) -> None:
    """Limits hold on, and the log says that they are this process's own."""
    redis = BudgetedRedis("redis://127.0.0.1:9/0", SystemClock(), key="security.redis_url")
    limiter, sender = RedisLimiter(redis, SystemClock()), next(NAMES)

    with caplog.at_level(logging.WARNING):
        verdicts = [await limiter.take(sender, Rate(0.01, 1)) for _ in range(2)]

    assert [verdict.allowed for verdict in verdicts] == [True, False]
    assert "alone" in caplog.text
    await redis.aclose()


async def test_a_frozen_redis_costs_a_request_its_budget_once(redis_server: RedisServer) -> None:
    """Then this process counts, and nobody waits."""
    redis = BudgetedRedis(redis_server.url, SystemClock(), key="security.redis_url")
    await redis.client.ping()
    limiter, sender, loop = RedisLimiter(redis, SystemClock()), next(NAMES), asyncio.get_running_loop()
    with redis_server.frozen():
        began = loop.time()
        verdicts = [await limiter.take(sender, Rate(0.01, 3)) for _ in range(5)]
        took = loop.time() - began

    assert [verdict.allowed for verdict in verdicts] == [True, True, True, False, False]
    assert took < 3 * MAX_WAIT
    await redis.aclose()


@pytest.mark.parametrize("kept", [("LPUSH", "a"), ("SET", "rubbish"), ("SET", "nan"), ("SET", "inf"), ("SET", "-1")])
async def test_what_is_no_time_counts_as_none(redis_server: RedisServer, kept: tuple[str, str]) -> None:
    """And is written anew, so that the rate is counted in Redis again."""
    redis, sender, rate = BudgetedRedis(redis_server.url, SystemClock(), key="k"), next(NAMES), Rate(0.01, 2)
    await redis.client.ping()
    redis_server.ask(kept[0], f"llm-pool:rate:{{{sender}}}", kept[1])

    one, other = (RedisLimiter(redis, SystemClock()) for _ in range(2))
    verdicts = [await limiter.take(sender, rate) for limiter in (one, other, one)]

    assert [verdict.allowed for verdict in verdicts] == [True, True, False]
    await redis.aclose()

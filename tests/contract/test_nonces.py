"""Every memory of nonces: once per key, for longer than the window, and closed when it cannot tell."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import Overloaded, Unauthenticated
from llm_pool.qos.redis import BudgetedRedis
from llm_pool.security.hmac import NONCE_TTL, WINDOW
from llm_pool.security.nonces import MAX_WAIT, MemoryNonces, RedisNonces

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from llm_pool.security.nonces import Nonces
    from tests.contract.conftest import RedisServer

pytestmark = pytest.mark.anyio


class Time:
    """A clock that a test sets; its two scales begin together."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> float:
        return self.passed

    def wall(self) -> float:
        return 1_800_000_000.0 + self.passed


@pytest.fixture(params=["memory", "redis"])
async def nonces(request: pytest.FixtureRequest) -> AsyncIterator[Nonces]:
    if request.param == "memory":
        yield MemoryNonces(Time())
        return
    redis = BudgetedRedis(request.getfixturevalue("redis_server").url, SystemClock(), key="security.redis_url")
    await redis.client.ping()
    yield RedisNonces(redis)
    await redis.aclose()


@pytest.mark.real_loop
async def test_a_nonce_is_good_once_for_its_key(nonces: Nonces) -> None:
    """Another key's nonces are its own."""
    await nonces.use("acme", "n1", 1_800_000_000.0)
    await nonces.use("other", "n1", 1_800_000_000.0)

    with pytest.raises(Unauthenticated, match="replay"):
        await nonces.use("acme", "n1", 1_800_000_000.0)


@pytest.mark.real_loop
async def test_of_many_at_once_one_is_first(nonces: Nonces) -> None:
    """Two copies of a request in the same moment: one is served."""
    took = await asyncio.gather(*(nonces.use("acme", "n2", 1_800_000_000.0) for _ in range(20)), return_exceptions=True)

    assert took.count(None) == 1
    assert sum(isinstance(each, Unauthenticated) for each in took) == 19


@pytest.mark.real_loop
async def test_redis_remembers_for_every_process_and_long_enough(redis_server: RedisServer) -> None:
    """Two connections are two processes; the time to live covers the window twice."""
    one, other = (BudgetedRedis(redis_server.url, SystemClock(), key="security.redis_url") for _ in range(2))
    await RedisNonces(one).use("acme", "n3", time.time())

    with pytest.raises(Unauthenticated, match="replay"):
        await RedisNonces(other).use("acme", "n3", time.time())
    assert 2 * WINDOW < await one.client.ttl("llm-pool:nonce:acme:n3") <= NONCE_TTL
    await one.aclose()
    await other.aclose()


@pytest.mark.real_loop
async def test_without_redis_nobody_comes_in() -> None:
    """S1: what cannot be remembered is refused."""
    redis = BudgetedRedis("redis://127.0.0.1:9/0", SystemClock(), key="security.redis_url")

    with pytest.raises(Overloaded):
        await RedisNonces(redis).use("acme", "n4", time.time())
    await redis.aclose()


async def test_memory_forgets_only_what_cannot_come_again() -> None:
    """A request stamped five minutes ahead may be sent again for ten: its nonce is still there."""
    clock = Time()
    nonces = MemoryNonces(clock)
    await nonces.use("acme", "n", clock.wall() + WINDOW)

    clock.passed = 2 * WINDOW
    with pytest.raises(Unauthenticated, match="replay"):
        await nonces.use("acme", "n", clock.wall() - WINDOW)
    clock.passed = NONCE_TTL
    await nonces.use("acme", "n", clock.wall())


async def test_memory_takes_nothing_from_before_it_began() -> None:
    """S1: a restart forgets nonces, so what could be a replay is refused; slow clocks have two seconds."""
    clock = Time()
    clock.passed = 100.0
    nonces = MemoryNonces(clock)

    await nonces.use("acme", "n", clock.wall() - 2.0)
    with pytest.raises(Unauthenticated, match="fence"):
        await nonces.use("acme", "m", clock.wall() - 2.1)


async def test_a_full_memory_is_closed_for_that_key_alone() -> None:
    """No replay slips in because a nonce was dropped early."""
    clock = Time()
    nonces = MemoryNonces(clock, limit=3)
    for number in range(3):
        await nonces.use("acme", f"n{number}", clock.wall())

    with pytest.raises(Overloaded):
        await nonces.use("acme", "n3", clock.wall())
    await nonces.use("other", "n3", clock.wall())
    clock.passed = NONCE_TTL
    await nonces.use("acme", "n3", clock.wall())


async def test_a_clock_that_is_set_right_after_the_start_refuses_nobody() -> None:
    """The fence is so many seconds ago, whatever the wall clock said then: an hour ahead, and corrected."""
    clock = Time()
    clock.wall = lambda: 1_800_003_600.0 + clock.passed  # type: ignore[method-assign]
    nonces = MemoryNonces(clock)
    clock.passed = 10.0
    clock.wall = lambda: 1_800_000_000.0 + clock.passed  # type: ignore[method-assign]

    await nonces.use("acme", "n", 1_800_000_009.0)
    with pytest.raises(Unauthenticated, match="fence"):
        await nonces.use("acme", "other", 1_799_999_990.0)


@pytest.mark.real_loop
async def test_a_server_that_came_back_empty_accepts_no_replay(redis_server: RedisServer) -> None:
    """Redis has a fence of its own: what was signed before it began is refused."""
    redis = BudgetedRedis(redis_server.url, SystemClock(), key="security.redis_url")
    await redis.client.ping()
    signed = time.time() - 5
    nonces = RedisNonces(redis)
    with pytest.raises(Unauthenticated, match="fence"):
        await nonces.use("acme", "n5", time.time() - 3600)
    await nonces.use("acme", "n5", time.time())
    redis_server.stop()
    redis_server.start()
    await redis.client.ping()

    with pytest.raises(Unauthenticated, match="fence"):
        await nonces.use("acme", "n5", signed)
    await redis.aclose()


@pytest.mark.real_loop
async def test_a_frozen_server_refuses_soon(redis_server: RedisServer) -> None:
    """With the seconds after which to come back; the next ones do not wait at all."""
    redis = BudgetedRedis(redis_server.url, SystemClock(), key="security.redis_url")
    await redis.client.ping()
    nonces, loop = RedisNonces(redis), asyncio.get_running_loop()
    with redis_server.frozen():
        began = loop.time()
        for number in range(20):
            with pytest.raises(Overloaded):
                await nonces.use("acme", f"f{number}", time.time())
        took = loop.time() - began

    assert took < 2 * MAX_WAIT
    await redis.aclose()

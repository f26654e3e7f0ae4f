"""Every memory of nonces: once per key, for longer than the window, and closed when it cannot tell."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from llm_pool.core.errors import Overloaded, Unauthenticated
from llm_pool.security.hmac import NONCE_TTL, WINDOW
from llm_pool.security.nonces import MemoryNonces, RedisNonces
from llm_pool.security.redis import redis_client

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
    redis = redis_client(request.getfixturevalue("redis_server").url)
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
    one, other = redis_client(redis_server.url), redis_client(redis_server.url)
    await RedisNonces(one).use("acme", "n3", 0.0)

    with pytest.raises(Unauthenticated, match="replay"):
        await RedisNonces(other).use("acme", "n3", 0.0)
    assert 2 * WINDOW < await one.ttl("llm-pool:nonce:acme:n3") <= NONCE_TTL
    await one.aclose()
    await other.aclose()


@pytest.mark.real_loop
async def test_without_redis_nobody_comes_in() -> None:
    """S1: what cannot be remembered is refused."""
    redis = redis_client("redis://127.0.0.1:9/0")

    with pytest.raises(Overloaded):
        await RedisNonces(redis).use("acme", "n4", 0.0)
    await redis.aclose()


async def test_memory_forgets_only_what_cannot_come_again() -> None:
    """A request stamped five minutes ahead may be sent again for ten: its nonce is still there."""
    time = Time()
    nonces = MemoryNonces(time)
    await nonces.use("acme", "n", time.wall() + WINDOW)

    time.passed = 2 * WINDOW
    with pytest.raises(Unauthenticated, match="replay"):
        await nonces.use("acme", "n", time.wall() - WINDOW)
    time.passed = NONCE_TTL
    await nonces.use("acme", "n", time.wall())


async def test_memory_takes_nothing_from_before_it_began() -> None:
    """S1: a restart forgets nonces, so what could be a replay is refused; slow clocks have two seconds."""
    time = Time()
    time.passed = 100.0
    nonces = MemoryNonces(time)

    await nonces.use("acme", "n", time.wall() - 2.0)
    with pytest.raises(Unauthenticated, match="fence"):
        await nonces.use("acme", "m", time.wall() - 2.1)


async def test_a_full_memory_is_closed_for_that_key_alone() -> None:
    """No replay slips in because a nonce was dropped early."""
    time = Time()
    nonces = MemoryNonces(time, limit=3)
    for number in range(3):
        await nonces.use("acme", f"n{number}", time.wall())

    with pytest.raises(Overloaded):
        await nonces.use("acme", "n3", time.wall())
    await nonces.use("other", "n3", time.wall())
    time.passed = NONCE_TTL
    await nonces.use("acme", "n3", time.wall())

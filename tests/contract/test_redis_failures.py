"""R14 and R15 for the cache: Redis gone, frozen or restarted costs a moment, then nothing, and never an answer."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import time
from typing import TYPE_CHECKING

import pytest

from llm_pool.cache.redis import PREFIX, RedisCache
from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import ConfigError
from llm_pool.testing import an_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.contract.conftest import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

PATIENCE = 0.02
SLACK = 0.1
"""Seconds a busy machine of two cores may add to the patience."""


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
async def cache(redis_server: RedisServer) -> AsyncIterator[RedisCache]:
    made = RedisCache(redis_server.url, SystemClock(), max_wait=PATIENCE)
    await warmed(made)
    yield made
    await made.aclose()


async def warmed(cache: RedisCache) -> None:
    """Its connection is open and holds an answer under k."""
    async with asyncio.timeout(20):
        while await cache.get("k") is None:
            await cache.put("k", an_answer(), 60.0)
            await asyncio.sleep(0.02)


async def timed_get(cache: RedisCache) -> tuple[bool, float]:
    """Whether there was an answer, and the seconds that took."""
    began = asyncio.get_running_loop().time()
    found = await cache.get("k") is not None
    return found, asyncio.get_running_loop().time() - began


async def test_an_event_loop_that_stood_still_is_not_redis_being_slow(cache: RedisCache) -> None:
    """The reply was there in time; nobody looked."""

    def stand_still() -> None:
        until = time.monotonic() + 5 * PATIENCE
        while time.monotonic() < until:
            pass

    for _ in range(10):
        asyncio.get_running_loop().call_later(0.0001, stand_still)

        found, _ = await timed_get(cache)

        assert found


async def test_a_frozen_server_costs_the_patience_once(cache: RedisCache, redis_server: RedisServer) -> None:
    """Then nobody waits; when it thaws, the cache is back by itself."""
    with redis_server.frozen():
        first = await timed_get(cache)
        others = [await timed_get(cache) for _ in range(50)]
        await cache.put("other", an_answer(), 60.0)

    assert first[0] is False
    assert PATIENCE <= first[1] <= PATIENCE + SLACK
    assert not any(found for found, _ in others)
    assert sum(seconds for _, seconds in others) < SLACK
    await asyncio.sleep(1.2)
    await warmed(cache)


async def test_a_hundred_at_once_wait_together(cache: RedisCache, redis_server: RedisServer) -> None:
    """Not one after the other, and behind them everything ends."""
    before = asyncio.all_tasks()
    with redis_server.frozen():
        began = asyncio.get_running_loop().time()
        found = await asyncio.gather(*(cache.get("k") for _ in range(100)))
        took = asyncio.get_running_loop().time() - began
        await cache.aclose()

    assert found == [None] * 100
    assert took <= 0.5  # one after the other they would take two seconds
    assert asyncio.all_tasks() == before


async def test_a_server_that_is_gone_is_a_miss(cache: RedisCache, redis_server: RedisServer) -> None:
    """Nobody listens: at once. Started again: at most one miss before the new connection."""
    redis_server.stop()
    try:
        found, took = await timed_get(cache)
        await cache.put("k", an_answer(), 60.0)
    finally:
        redis_server.start()

    assert (found, await cache.get("k")) == (False, None)
    assert took <= PATIENCE + SLACK
    await asyncio.sleep(1.2)
    await warmed(cache)


async def test_nobody_listens_from_the_start(unused_port: int) -> None:
    """The pool opens all the same."""
    cache = RedisCache(f"redis://127.0.0.1:{unused_port}/0", SystemClock(), max_wait=PATIENCE)

    assert await cache.get("k") is None
    await cache.put("k", an_answer(), 60.0)
    await cache.aclose()


async def test_bytes_of_another_version_are_a_miss(cache: RedisCache, redis_server: RedisServer) -> None:
    """An entry that nobody can read does not hurt, and is removed: it is a miss once."""
    for rubbish in ("rubbish", "[" * 5000, "\\xff"):
        redis_server.ask("SET", f"{PREFIX}k", rubbish)

        assert await cache.get("k") is None
        assert redis_server.ask("EXISTS", f"{PREFIX}k") == b":0\r\n"


async def test_a_value_of_another_kind_is_a_miss_and_removed(cache: RedisCache, redis_server: RedisServer) -> None:
    """It stops nobody: the next key is read at once."""
    await cache.put("other", an_answer("red"), 60.0)
    redis_server.ask("DEL", f"{PREFIX}k")
    redis_server.ask("LPUSH", f"{PREFIX}k", "a")

    assert await cache.get("k") is None
    assert redis_server.ask("EXISTS", f"{PREFIX}k") == b":0\r\n"
    kept = await cache.get("other")
    assert kept is not None
    assert kept.content == "red"


async def test_a_wrong_password_is_a_miss_and_stays_ours(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither log nor repr nor output tell it, nor the right one."""
    caplog.set_level(logging.DEBUG)
    wrong = "hunter2-hunter2"
    cache = RedisCache(redis_server.url.replace(redis_server.password, wrong), SystemClock(), max_wait=1.0)

    assert await cache.get("k") is None
    told = repr(cache)
    await cache.aclose()
    del cache
    gc.collect()

    output = capsys.readouterr()
    for secret in (wrong, redis_server.password):
        assert secret not in told + caplog.text + output.out + output.err


@pytest.mark.parametrize("url", ["http://u:hunter2@h", "redis://u:hun#ter2@h:6379", "redis://u:p@h:hunter2/0"])
async def test_an_address_that_is_none_is_told_without_its_secret(url: str) -> None:
    """Before the pool opens, naming the key."""
    with pytest.raises(ConfigError, match=r"cache\.url") as caught:
        RedisCache(url, SystemClock())

    assert "hun" not in str(caught.value)
    assert caught.value.__suppress_context__


async def test_an_asker_who_leaves_takes_nobody_along(cache: RedisCache, redis_server: RedisServer) -> None:
    """Cancelled while waiting: the connection is not left half-way through a reply, and the breaker stays closed."""
    with redis_server.frozen():
        asking = asyncio.create_task(cache.get("k"))
        await asyncio.sleep(0.005)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    assert asking.cancelled()
    await asyncio.sleep(0.1)
    await cache.put("other", an_answer("red"), 60.0)
    kept = [await cache.get(key) for key in ("k", "other")]
    assert [None if each is None else each.content for each in kept] == ["blue", "red"]

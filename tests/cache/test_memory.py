"""The memory cache is bounded by bytes: what was not used for longest goes first."""

from __future__ import annotations

import msgspec
import pytest

from llm_pool.cache.memory import MemoryCache
from llm_pool.testing import ManualClock, an_answer

pytestmark = pytest.mark.anyio


async def test_the_least_recently_used_goes_first() -> None:
    """Reading is using."""
    cache = MemoryCache(ManualClock(), max_bytes=7_000)
    for key in "abc":
        await cache.put(key, an_answer("x" * 300), 60.0)
    assert await cache.get("a") is not None

    await cache.put("d", an_answer("x" * 300), 60.0)

    kept = [key for key in "abcd" if await cache.get(key) is not None]
    assert "b" not in kept
    assert {"a", "d"} <= set(kept)


async def test_the_bound_holds_whatever_is_put() -> None:
    """In bytes, over a thousand answers of all sizes, some put twice."""
    cache = MemoryCache(ManualClock(), max_bytes=50_000)

    for number in range(1000):
        await cache.put(str(number % 700), an_answer("x" * (number * 37 % 5_000)), 60.0)

        assert cache._bytes <= 50_000
    assert cache._bytes == sum(len(key) + len(packed) + 300 for key, (packed, _) in cache._entries.items())
    assert len(cache._entries) > 3


async def test_an_oversized_answer_is_not_kept() -> None:
    """And puts nobody out."""
    cache = MemoryCache(ManualClock(), max_bytes=2_000)
    await cache.put("small", an_answer(), 60.0)

    await cache.put("large", an_answer("x" * 5_000), 60.0)

    assert await cache.get("large") is None
    assert await cache.get("small") is not None


async def test_an_expired_answer_gives_its_bytes_back() -> None:
    """When it is looked for."""
    clock = ManualClock()
    cache = MemoryCache(clock, max_bytes=2_000)
    await cache.put("k", an_answer(), 5.0)

    clock.advance(5.0)

    assert await cache.get("k") is None
    assert cache._bytes == 0


async def test_an_answer_comes_back_as_it_was() -> None:
    """Numbers of forty digits among it, which models write."""
    cache = MemoryCache(ManualClock(), max_bytes=7_000)
    answer = msgspec.structs.replace(an_answer(), json={"n": 10**40, "x": 1.0, "of": [None, True, "é"]})

    await cache.put("k", answer, 5.0)

    assert await cache.get("k") == msgspec.structs.replace(answer, from_cache=True, age=0.0)

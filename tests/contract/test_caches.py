"""What every cache promises, whoever keeps the answers: this process or a Redis server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from llm_pool.cache.memory import MemoryCache
from llm_pool.cache.redis import RedisCache
from llm_pool.core.clock import SystemClock
from llm_pool.core.messages import Attempt, Cluster, Decision, Reading, StrategyName, TokenLogprob, Usage
from llm_pool.testing import an_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from llm_pool.core.interfaces import Cache
    from llm_pool.core.messages import Answer

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]


class SteppedClock:
    """The system's time, moved by as many seconds as a test likes; Redis goes on counting its own TTL."""

    def __init__(self) -> None:
        self._system, self.ahead = SystemClock(), 0.0

    def now(self) -> float:
        return self._system.now() + self.ahead

    def wall(self) -> float:
        return self._system.wall() + self.ahead


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture(params=["memory", "redis"])
async def cache(request: pytest.FixtureRequest, clock: SteppedClock) -> AsyncIterator[Cache]:
    made: Cache
    if request.param == "memory":
        made = MemoryCache(clock, max_bytes=1 << 20)
    else:
        made = RedisCache(request.getfixturevalue("redis_server").url, clock, max_wait=2.0)
    yield made
    await made.aclose()


def a_rich_answer() -> Answer:
    """Every field set, to something that is not its default."""
    reading = Reading('{"a": 1}', {"a": [1, 2.5, None, "ü\u0000"]}, "fences")
    usage = Usage(7, 9)
    attempt = Attempt(
        provider="phi3",
        model="phi3:mini",
        outcome="ok",
        started=0.25,
        duration=1.5,
        why="vote",
        ttft=0.5,
        usage=usage,
        finish="stop",
        reading=reading,
        logprobs=(TokenLogprob("A", -0.1, (("A", -0.1), ("B", -2.0))),),
    )
    failed = Attempt(
        provider="gemma2",
        model="gemma2:9b",
        outcome="failed",
        started=0.0,
        duration=0.1,
        error="refused",
        error_kind="unreachable",
        hint="start it",
        retry_after=2.0,
    )
    decision = Decision(
        asked=StrategyName.CONSENSUS,
        used=StrategyName.JUDGE,
        winner="phi3",
        model="phi3:mini",
        reading=reading,
        reason="because",
        attempts=(attempt, failed),
        scores={"phi3": 0.75},
        clusters=(Cluster(("phi3",), 0.75, "one"),),
        agreement=0.5,
        notes=("a note",),
        saved=1,
        degraded=True,
        degraded_reason="quorum lost",
        missing=("gemma2",),
        judge={"phi3": {"phi3": 0.9}},
    )
    return an_answer('{"a": 1}', json={"a": [1]}, decision=decision, usage=usage, duration=2.0)


async def test_every_field_comes_back(cache: Cache) -> None:
    """As it was, apart from what says that it was kept."""
    answer = a_rich_answer()

    await cache.put("k", answer, 60.0)
    kept = await cache.get("k")

    assert kept is not None
    assert kept.from_cache
    assert msgspec.structs.replace(kept, from_cache=False, age=None) == answer
    changed = msgspec.structs.replace(answer.decision, winner="", scores={})  # the comparison above can fail
    assert msgspec.structs.replace(kept, from_cache=False, age=None, decision=changed) != answer


async def test_nothing_is_there_before_it_is_put(cache: Cache) -> None:
    """A miss is None."""
    assert await cache.get("k") is None


async def test_keys_do_not_meet(cache: Cache) -> None:
    """And the last answer under a key is the one that counts."""
    await cache.put("a", an_answer("old"), 60.0)
    await cache.put("a", an_answer("blue"), 60.0)
    await cache.put("b", an_answer("red"), 60.0)

    assert [await said(cache, key) for key in "abc"] == ["blue", "red", None]


async def test_an_answer_tells_its_age(cache: Cache, clock: SteppedClock) -> None:
    """In seconds since it was put."""
    await cache.put("k", an_answer(), 60.0)

    clock.ahead = 12.0
    kept = await cache.get("k")

    assert kept is not None
    assert kept.age == pytest.approx(12.0, abs=1.0)


async def test_a_clock_that_steps_back_makes_no_negative_age(cache: Cache, clock: SteppedClock) -> None:
    """R22: at worst the answer seems new."""
    await cache.put("k", an_answer(), 60.0)

    clock.ahead = -3600.0
    kept = await cache.get("k")

    assert kept is not None
    assert kept.age == 0.0


async def test_an_answer_ends_with_its_ttl(cache: Cache) -> None:
    """Each its own."""
    await cache.put("short", an_answer(), 0.15)
    await cache.put("long", an_answer(), 60.0)
    assert await said(cache, "short") == "blue"

    await asyncio.sleep(0.2)

    assert [await said(cache, key) for key in ("short", "long")] == [None, "blue"]


@pytest.mark.parametrize("ttl", [0.0, -1.0])
async def test_no_ttl_keeps_nothing(cache: Cache, ttl: float) -> None:
    """``ttl_seconds = 0`` for a task switches its cache off."""
    await cache.put("k", an_answer(), ttl)

    assert await cache.get("k") is None


async def test_closing_twice_is_closing_once(cache: Cache) -> None:
    """Idempotent, and no task stays behind."""
    await cache.put("k", an_answer(), 60.0)

    await cache.aclose()
    await cache.aclose()

    assert [task for task in asyncio.all_tasks() if task.get_name() == "redis"] == []


async def said(cache: Cache, key: str) -> Any:
    kept = await cache.get(key)
    return None if kept is None else kept.content

"""What is kept for others, and what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from llm_pool.cache.idempotency import IdempotencyStore
from llm_pool.cache.layer import CacheLayer
from llm_pool.cache.memory import MemoryCache
from llm_pool.cache.single_flight import SingleFlight
from llm_pool.core.clock import SystemClock
from llm_pool.core.messages import Query, StrategyName
from llm_pool.engine.panel import Panel, Plan
from llm_pool.testing import a_call, an_answer

if TYPE_CHECKING:
    from llm_pool.core.interfaces import Emit
    from llm_pool.core.messages import Answer

pytestmark = pytest.mark.anyio


def cache_layer() -> CacheLayer:
    clock = SystemClock()
    store, memory = IdempotencyStore(clock, ttl=60.0), MemoryCache(clock, max_bytes=100_000)
    return CacheLayer(store, memory, SingleFlight(), key_fields=(), ttl=lambda _: 60.0)


def a_plan() -> Plan:
    return Plan(a_call(), StrategyName.FASTEST, Panel(regular=(), last_resort=()))


@pytest.mark.parametrize(
    ("changes", "runs"),
    [({}, 1), ({"degraded": True}, 2), ({"finish": "length"}, 2), ({"finish": "repetition"}, 2)],
)
async def test_only_a_whole_answer_is_kept(changes: dict[str, Any], runs: int) -> None:
    """What was cut or degraded is asked for again."""
    asked = 0

    async def run(_: Emit) -> Answer:
        nonlocal asked
        asked += 1
        return an_answer(**changes)

    layer = cache_layer()
    plan = a_plan()
    for _ in range(2):
        await layer.answer(Query(prompt="which colour?"), plan, run, None)

    assert asked == runs


async def test_what_models_thought_is_told_once_and_not_kept() -> None:
    """Neither under the request's id nor for others: it may be long."""
    thoughtful = an_answer()
    attempts = tuple(msgspec.structs.replace(one, reasoning="hm") for one in thoughtful.decision.attempts)
    decision = msgspec.structs.replace(thoughtful.decision, attempts=attempts)

    async def run(_: Emit) -> Answer:
        return msgspec.structs.replace(thoughtful, decision=decision)

    layer = cache_layer()
    answers = [await layer.answer(Query(prompt="?", request_id=name), a_plan(), run, None) for name in ("a", "a", "b")]

    assert [answer.decision.attempts[0].reasoning for answer in answers] == ["hm", "", ""]
    assert answers[2].from_cache

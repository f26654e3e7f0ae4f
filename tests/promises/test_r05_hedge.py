"""R5: hedging takes most of the tail away, at a price that is bounded."""

from __future__ import annotations

import asyncio
import runpy
from pathlib import Path
from random import Random
from typing import Any

import pytest

from llm_pool.core.errors import LlmPoolError
from llm_pool.core.messages import Query, StrategyName
from llm_pool.testing import Reply

pytestmark = pytest.mark.anyio

BENCH = Path(__file__).parents[2] / "bench" / "tail.py"
REQUESTS = 800


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_tail_is_cut_for_a_tenth_more_calls(seed: int) -> None:
    """One call in twenty is five times slower; ``auto`` finds the delay by itself."""
    tail = runpy.run_path(str(BENCH))
    arrivals = tail["synthetic"](Random(seed), REQUESTS)

    off, auto = [await tail["replay"](arrivals, StrategyName.FASTEST, hedge, seed) for hedge in ("off", "auto")]

    p99 = tail["quantiles"](auto.waits)[2] / tail["quantiles"](off.waits)[2]
    assert p99 <= 0.6
    assert REQUESTS < auto.models.calls <= REQUESTS * 1.1 + 1


async def test_when_all_are_slow_the_budget_holds(on_virtual_time: Any) -> None:
    """Every first token is late: load grows by a tenth and the floor, and every request is answered all the same."""
    late = Reply("blue", ttft=1.0, duration=1.2)
    async with on_virtual_time(late, late, text="hedge_after_ms = 100") as (app, models):
        answers = []
        for number in range(300):
            answers.append(asyncio.create_task(app.orchestrator.infer(Query(prompt=str(number), deadline=1.5))))
            await asyncio.sleep(0.05)
        ended = await asyncio.gather(*answers, return_exceptions=True)

        assert not [each for each in ended if isinstance(each, LlmPoolError)]
        assert sum(len(model.calls) for model in models) <= 300 * 1.1 + 5


@pytest.mark.parametrize(("slots", "asked"), [(1, [1, 0, 1]), (2, [1, 1, 0])])
async def test_no_hedge_to_where_the_trouble_is(on_virtual_time: Any, slots: int, asked: list[int]) -> None:
    """The next provider is on the late one's machine: it is asked where that has a slot left, and passed over else."""
    quick = Reply("blue", ttft=0.05)
    scripts = Reply.hanging(), quick, quick
    groups = ("box", "box", "other")
    async with on_virtual_time(*scripts, text="hedge_after_ms = 100", groups=groups, slots=slots) as (app, models):
        answer = await app.orchestrator.infer(Query(prompt="q", deadline=1.5))

        assert answer.content == "blue"
        assert [len(model.calls) for model in models] == asked

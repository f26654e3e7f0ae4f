"""R31: an answer that came in time counts, even where the machine is too busy to decide on it in time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llm_pool.core.messages import Query, StrategyName
from llm_pool.testing import Reply

pytestmark = pytest.mark.anyio

DEADLINE = 0.8
VOTES = [name for name in StrategyName if name is not StrategyName.FASTEST]


@pytest.mark.parametrize("late", [0.0, 0.005, 0.2])
@pytest.mark.parametrize("strategy", VOTES)
async def test_what_is_in_hand_is_not_dropped(on_virtual_time: Any, strategy: StrategyName, late: float) -> None:
    """The event loop sleeps from before the margin until after the deadline, with two answers in and one out."""
    loop = asyncio.get_running_loop()
    scripts = Reply("blue", ttft=0.1, duration=0.2), Reply("red", ttft=0.1, duration=0.3), Reply.hanging()
    async with on_virtual_time(*scripts, text="hedge_after_ms = 5000") as (app, models):
        began = loop.time()
        loop.call_at(began + DEADLINE - 0.03, lambda: setattr(loop, "_now", began + DEADLINE + late))
        app.pool_state.latencies.quantile = lambda *_, **__: 60.0  # silence is usual: all are waited for to the end

        answer = await app.orchestrator.infer(Query(prompt="q", deadline=DEADLINE, strategy=strategy))

        assert answer.content in {"blue", "red"}
        assert (answer.degraded, answer.decision.missing) == (True, ("p2",)) or strategy is StrategyName.JUDGE
        assert loop.time() - began <= DEADLINE + late + 1e-6
        assert sum(model.in_flight for model in models) == 0

"""R3: who leaves takes the work along: the backend sees the connection closed, and no task stays behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llm_pool.core.messages import Query, StrategyName
from llm_pool.testing.upstream import Upstream

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

LATEST = 0.1


@pytest.mark.parametrize("mode", ["hang", "stall:1", "trickle:2"])
async def test_a_cancel_reaches_the_backends(over_loopback: Any, mode: str) -> None:
    """p99 under a tenth of a second, before or after the first token, for every strategy; all of them, in fact."""
    ups = [Upstream(ttft="const:0.01") for _ in range(3)]
    async with ups[0], ups[1], ups[2], over_loopback(*ups, text="hedge_after_ms = 20") as app:
        await app.orchestrator.infer(Query(prompt="warm"))
        before, loop = asyncio.all_tasks(), asyncio.get_running_loop()
        for up in ups:
            up.set_mode("*", mode)
        asking = [
            asyncio.create_task(app.orchestrator.infer(Query(prompt=f"{strategy} {at}", deadline=9, strategy=strategy)))
            for strategy in StrategyName
            for at in range(8)
        ]
        async with asyncio.timeout(9):
            while (in_flight := sum(up.counts.in_flight for up in ups)) < len(asking):  # noqa: ASYNC110  no event tells
                await asyncio.sleep(0.01)

        cut = loop.time()
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await asyncio.sleep(LATEST)

        seen = [e.ended - cut for up in ups for e in up.journal.inferences() if e.ending == "cancelled" and e.ended]
        assert sum(up.counts.in_flight for up in ups) == 0
        assert max(seen[-in_flight:]) < LATEST
        assert asyncio.all_tasks() <= before

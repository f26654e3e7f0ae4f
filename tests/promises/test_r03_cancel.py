"""R3: who leaves takes the work along: the backend sees the connection closed, and no task stays behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llm_pool.core.messages import Query, StrategyName
from llm_pool.testing.upstream import Upstream

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

LATEST, TURN = 0.1, 0.001


@pytest.mark.parametrize("mode", ["hang", "stall:1", "trickle:2"])
async def test_a_cancel_reaches_the_backends(over_loopback: Any, mode: str) -> None:
    """
    All of them within a tenth of a second, before or after the first token, for every strategy.

    The time is told in turns of a millisecond of the loop that does it all: on a busy machine they are longer.
    """
    ups = [Upstream(ttft="const:0.01") for _ in range(3)]
    async with ups[0], ups[1], ups[2], over_loopback(*ups, text="hedge_after_ms = 20\nmax_deadline_ms = 60000") as app:
        await app.orchestrator.infer(Query(prompt="warm"))
        before = asyncio.all_tasks()
        for up in ups:
            up.set_mode("*", mode)
        asking = [
            asyncio.create_task(
                app.orchestrator.infer(Query(prompt=f"{strategy} {at}", deadline=50, strategy=strategy))
            )
            for strategy in StrategyName
            for at in range(8)
        ]
        async with asyncio.timeout(30):
            while (in_flight := sum(up.counts.in_flight for up in ups)) < len(asking):  # noqa: ASYNC110  no event tells
                await asyncio.sleep(0.01)

        for task in asking:
            task.cancel()
        turns = 0
        while sum(up.counts.in_flight for up in ups):
            await asyncio.sleep(TURN)
            turns += 1
        await asyncio.gather(*asking, return_exceptions=True)

        endings = [entry.ending for up in ups for entry in up.journal.inferences()]
        assert endings[-in_flight:] == ["cancelled"] * in_flight
        assert turns * TURN <= LATEST
        assert asyncio.all_tasks() <= before

"""R1: the deadline is hard, whatever the backends do and whichever strategy waits for them."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.core.errors import DeadlineExceeded
from llm_pool.core.messages import Query, StrategyName
from llm_pool.testing import Reply
from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    from llm_pool.core.messages import Answer
    from llm_pool.engine.composition import App

DEADLINE, SLACK = 0.3, 0.05

pytestmark = pytest.mark.anyio


def moody(rng: Random) -> Any:
    """Hangs, is slow, trickles one word a second, stalls half-way, or answers around the deadline."""
    replies = [
        Reply.hanging(),
        Reply("blue", ttft=2.0, duration=3.0),
        Reply("one two three four five six seven eight", ttft=0.05, duration=7.0),
        Reply("blue", ttft=0.1, duration=10_000.0),
        Reply("blue", ttft=0.2, duration=0.29),
        Reply("blue", ttft=0.2, duration=0.31),
    ]
    return lambda _: rng.choice(replies)


async def test_five_hundred_calls_end_by_the_deadline(on_virtual_time: Any) -> None:
    """Each in an answer or in DeadlineExceeded; on virtual time, so not a millisecond is excused."""
    rng = Random(1)
    async with on_virtual_time(*(moody(rng) for _ in range(3)), text="hedge_after_ms = 100\nqueue_limit = 1000") as (
        app,
        models,
    ):
        ended = []
        for strategy in StrategyName:
            for _ in range(10):
                ended += await asyncio.gather(*(timed(app, strategy) for _ in range(10)))

        assert len(ended) == 500
        assert max(seconds for seconds, _ in ended) <= DEADLINE + 1e-6
        assert any(answer is not None for _, answer in ended)
        assert any(answer is None for _, answer in ended)
        assert sum(model.in_flight for model in models) == 0


@pytest.mark.real_loop
@pytest.mark.parametrize("mode", ["hang", "slow:1000", "trickle:1", "stall:1"])
async def test_the_deadline_is_hard_over_sockets(over_loopback: Any, mode: str) -> None:
    """Real upstreams in trouble, their ``/api/ps`` hanging too; p100 with the slack of a busy machine."""
    async with Upstream(ttft="const:0.01") as one, Upstream(ttft="const:0.01") as two, over_loopback(one, two) as app:
        for up in (one, two):
            up.set_mode("*", mode)
            up.set_mode("/api/ps", "hang")

        for strategy in StrategyName:  # what is imported at first use is no part of the promise
            await timed(app, strategy)
        ended = await asyncio.gather(*(timed(app, strategy) for strategy in StrategyName for _ in range(4)))

        assert max(seconds for seconds, _ in ended) <= DEADLINE + 2 * SLACK
        assert [answer for _, answer in ended] == [None] * 20


async def timed(app: App, strategy: StrategyName) -> tuple[float, Answer | None]:
    """Seconds until the end, and the answer unless it was late."""
    loop = asyncio.get_running_loop()
    began, answer = loop.time(), None
    try:
        answer = await app.orchestrator.infer(Query(prompt="q", deadline=DEADLINE, strategy=strategy, no_cache=True))
    except DeadlineExceeded as error:
        assert error.asked == pytest.approx(DEADLINE)  # noqa: PT017  what it says is checked where it comes
    return loop.time() - began, answer

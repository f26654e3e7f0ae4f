"""R2: what is left of the deadline travels down: through the queue, to the attempt, and off the backend's hands."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.core.errors import DeadlineExceeded, InvalidRequest, LlmPoolError
from llm_pool.core.messages import Query, StrategyName
from llm_pool.testing import Reply
from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    from llm_pool.engine.composition import App

pytestmark = pytest.mark.anyio


async def test_an_attempt_gets_what_is_left_less_a_reserve(on_virtual_time: Any) -> None:
    """The backend is let go before the asker's time is up, so that there is time to tell."""
    async with on_virtual_time(Reply.hanging()) as (app, [model]):
        began = asyncio.get_running_loop().time()

        with pytest.raises(DeadlineExceeded) as caught:
            await app.orchestrator.infer(Query(prompt="q", deadline=1.0))

        [attempt] = caught.value.attempts
        assert model.calls[0].deadline == pytest.approx(began + 1.0)
        assert 0.9 < attempt.started + attempt.duration <= 1.0 - 0.01 + 1e-9


async def test_waiting_in_the_queue_is_subtracted(on_virtual_time: Any) -> None:
    """One slot, two askers with a second each: the second's attempt has what the first has left it."""
    async with on_virtual_time(Reply("blue", duration=0.6), slots=1) as (app, [model]):
        ended = await asyncio.gather(
            *(app.orchestrator.infer(Query(prompt=prompt, deadline=1.0)) for prompt in ("a", "b")),
            return_exceptions=True,
        )

        # Which of the two is first is not ours to say: prompts are read in threads.
        [first] = [each for each in ended if not isinstance(each, BaseException)]
        [second] = [each for each in ended if isinstance(each, DeadlineExceeded)]
        assert first.content == "blue"
        assert second.attempts[0].duration == pytest.approx(1.0, abs=0.02)
        assert model.cancelled == 1


async def test_a_failover_gets_the_rest_only(on_virtual_time: Any) -> None:
    """The deadline is divided among attempts, not multiplied by them."""
    slow = Reply("nonsense", ttft=0.7, duration=0.7)
    async with on_virtual_time(slow, Reply.hanging(), text='hedge = "off"') as (app, models):
        began = asyncio.get_running_loop().time()

        with pytest.raises(LlmPoolError):
            await app.orchestrator.infer(
                Query(prompt='{"query": "cats"}', task="expand_queries", deadline=1.0, strategy=StrategyName.FASTEST)
            )

        assert [len(model.calls) for model in models] == [1, 1]
        assert models[1].calls[0].deadline == models[0].calls[0].deadline
        assert asyncio.get_running_loop().time() - began <= 1.0


@pytest.mark.parametrize("deadline", [0.0, -1.0])
@pytest.mark.real_loop
async def test_an_expired_deadline_is_refused_before_anybody_is_asked(over_loopback: Any, deadline: float) -> None:
    """As what it is, in less than five milliseconds."""
    async with Upstream() as up, over_loopback(up) as app:
        await ask(app, 1.0)
        asked, loop, times = up.counts.requests, asyncio.get_running_loop(), []

        for _ in range(5):
            began = loop.time()
            with pytest.raises(InvalidRequest, match="deadline_ms"):
                await ask(app, deadline)
            times.append(loop.time() - began)

        assert min(times) < 0.005  # of five, as the machine may be busy with something else
        assert up.counts.requests == asked


@pytest.mark.real_loop
async def test_a_deadline_that_passes_at_once_asks_nobody(over_loopback: Any) -> None:
    """A microsecond is over before a request could be written."""
    async with Upstream() as up, over_loopback(up) as app:
        with pytest.raises(DeadlineExceeded):
            await ask(app, 1e-6)

        assert up.counts.requests == 0


async def ask(app: App, deadline: float) -> None:
    await app.orchestrator.infer(Query(prompt="q", deadline=deadline))

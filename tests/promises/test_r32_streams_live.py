"""R32: a streamed answer lives while it flows, and what time ends is told with what there is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.core.errors import DeadlineExceeded
from llm_pool.core.events import TextArrived
from llm_pool.core.messages import Caps, Query, StrategyName
from llm_pool.testing import Reply

if TYPE_CHECKING:
    from llm_pool.core.messages import Answer
    from llm_pool.engine.composition import App

pytestmark = pytest.mark.anyio

SLOW = Reply(" ".join(["word"] * 100), ttft=0.2, duration=155.0)
"""Two and a half minutes in all, and some twenty seconds between two pieces."""
STUCK = Reply("one two three four", ttft=1.0, duration=100_000.0)
"""The first word, and hours later the next."""


async def test_it_goes_on_after_the_deadline_for_as_long_as_it_does_not_pause(on_virtual_time: Any) -> None:
    """The sixty seconds of a plain question are for its first word; who wrote all that time is not suspect for it."""
    async with on_virtual_time(SLOW, SLOW) as (app, models):
        answer, took = await streamed(app, Query(prompt="p"))

        assert (answer.finish, len(answer.content.split()), took) == ("stop", 100, pytest.approx(155.0))
        assert not answer.degraded
        assert [len(model.calls) for model in models] == [1, 0]


async def test_a_pause_that_is_too_long_ends_it_with_what_there_is(on_virtual_time: Any) -> None:
    """``idle_ms`` after its last word; the backend is told to stop."""
    async with on_virtual_time(STUCK, text="[tasks.ask]\nidle_ms = 4000") as (app, models):
        answer, took = await streamed(app, Query(prompt="p"))

        assert (answer.finish, answer.content, took) == ("length", "one", pytest.approx(5.0, abs=0.1))
        assert answer.degraded
        assert "it paused for 4 s" in answer.decision.degraded_reason
        assert answer.decision.ran_out_of_time
        assert (models[0].cancelled, models[0].in_flight) == (1, 0)


async def test_without_a_word_by_the_deadline_there_is_no_answer(on_virtual_time: Any) -> None:
    """Nothing was streamed, so it is an error, at the deadline."""
    async with on_virtual_time(Reply.hanging()) as (app, _):
        began = asyncio.get_running_loop().time()
        with pytest.raises(DeadlineExceeded):
            await app.orchestrator.infer(Query(prompt="p"), lambda _: None)

        assert asyncio.get_running_loop().time() - began == pytest.approx(60.0, abs=0.1)


@pytest.mark.parametrize("asked", [10.0, 100.0])
async def test_a_deadline_that_was_asked_for_is_hard(on_virtual_time: Any, asked: float) -> None:
    """It may be longer than any default; when it comes, the answer ends, and says so."""
    async with on_virtual_time(SLOW) as (app, models):
        answer, took = await streamed(app, Query(prompt="p", deadline=asked))

        assert took == pytest.approx(asked, abs=0.1)
        assert answer.finish == "length"
        assert 0 < len(answer.content.split()) < 100
        assert models[0].in_flight == 0


async def test_a_tenants_cap_holds_however_well_it_flows(on_virtual_time: Any) -> None:
    """It is over everything."""
    async with on_virtual_time(SLOW) as (app, _):
        answer, took = await streamed(app, Query(prompt="p", caps=Caps(deadline=90.0)))

        assert (answer.finish, took) == ("length", pytest.approx(90.0, abs=0.1))


async def test_what_nobody_reads_along_is_no_answer_when_it_is_cut(on_virtual_time: Any) -> None:
    """A question that waits for the whole answer gets a whole one or an error."""
    async with on_virtual_time(SLOW) as (app, _):
        with pytest.raises(DeadlineExceeded):
            await app.orchestrator.infer(Query(prompt="p"))


async def test_half_an_answer_is_no_vote(on_virtual_time: Any) -> None:
    """Strategies that compare answers compare whole ones."""
    async with on_virtual_time(SLOW, SLOW, SLOW) as (app, _):
        with pytest.raises(DeadlineExceeded):
            await app.orchestrator.infer(Query(prompt="p", strategy=StrategyName.VOTING), lambda _: None)


async def test_a_cut_answer_is_neither_kept_nor_shared(on_virtual_time: Any) -> None:
    """Somebody in a hurry does not cut short the answer of somebody who is not."""
    async with on_virtual_time(SLOW, text="[cache]\nenabled = true") as (app, models):
        hurried, patient = await asyncio.gather(
            streamed(app, Query(prompt="p", deadline=20.0)), streamed(app, Query(prompt="p"))
        )
        again, _ = await streamed(app, Query(prompt="p", deadline=20.0))

        assert (hurried[0].finish, patient[0].finish) == ("length", "stop")
        assert (again.finish, again.from_cache) == ("stop", True)  # the whole one
        assert len(models[0].calls) == 2


async def test_who_was_given_less_time_than_asked_for_is_told_why(on_virtual_time: Any) -> None:
    """In the answer's notes, and in the error's way out."""
    async with on_virtual_time(Reply("blue", ttft=0.1, duration=0.2), text="max_deadline_ms = 700") as (app, _):
        answer = await app.orchestrator.infer(Query(prompt="p", deadline=9.0))
    async with on_virtual_time(Reply.hanging(), text="max_deadline_ms = 700") as (app, _):
        with pytest.raises(DeadlineExceeded) as late:
            await app.orchestrator.infer(Query(prompt="p", deadline=9.0))

    assert answer.decision.deadline_note == "the deadline is 700 ms, not the 9000 ms asked for: qos.max_deadline_ms"
    assert late.value.hint == answer.decision.deadline_note


async def streamed(app: App, query: Query) -> tuple[Answer, float]:
    """The answer, whose text was read along word by word, and the seconds it took."""
    read: list[str] = []
    began = asyncio.get_running_loop().time()

    def on(event: Any) -> None:
        if isinstance(event, TextArrived) and event.committed:
            read.append(event.text)

    answer = await app.orchestrator.infer(query, on)
    if not answer.from_cache:
        assert "".join(read).strip() == answer.content
    return answer, asyncio.get_running_loop().time() - began

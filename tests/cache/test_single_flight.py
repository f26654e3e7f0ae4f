"""Single flight: equal requests in the air share one run and its stream."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest

from llm_pool.cache.single_flight import SingleFlight
from llm_pool.core.errors import DeadlineExceeded, NoConsensus
from llm_pool.core.events import TextArrived
from llm_pool.testing import RecordingObserver, an_answer

if TYPE_CHECKING:
    from llm_pool.core.interfaces import Emit
    from llm_pool.core.messages import Answer

pytestmark = pytest.mark.anyio


class Work:
    """A run that takes its time, says three words, and counts."""

    def __init__(self, *, seconds: float = 3.0) -> None:
        self.runs = self.cancelled = 0
        self.seconds = seconds

    async def run(self, emit: Emit) -> Answer:
        self.runs += 1
        try:
            for word in ("one ", "two ", "three"):
                await asyncio.sleep(self.seconds / 3)
                emit(TextArrived("r", "p", word))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return an_answer("one two three")


def later(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_a_hundred_equal_requests_make_one_run() -> None:
    """All get the same answer, and nothing stays behind."""
    single_flight, work = SingleFlight(), Work()

    answers = await asyncio.gather(*(single_flight.share("k", work.run, None, deadline=later(9)) for _ in range(100)))

    assert work.runs == 1
    assert {answer.content for answer in answers} == {"one two three"}
    assert len(single_flight) == 0


async def test_different_requests_do_not_meet() -> None:
    """Two keys, two runs."""
    single_flight, work = SingleFlight(), Work()

    await asyncio.gather(*(single_flight.share(key, work.run, None, deadline=later(9)) for key in "ab"))

    assert work.runs == 2


async def test_a_late_reader_hears_the_stream_from_its_beginning() -> None:
    """Who joins in the middle is told what was said, then reads along."""
    single_flight, work, late = SingleFlight(), Work(), RecordingObserver()
    first = asyncio.create_task(single_flight.share("k", work.run, None, deadline=later(9)))
    await asyncio.sleep(1.5)

    await single_flight.share("k", work.run, late.on, deadline=later(9))

    await first
    assert "".join(event.text for event in late.of(TextArrived)) == "one two three"


async def test_the_first_asker_may_leave() -> None:
    """The run goes on for those who joined."""
    single_flight, work = SingleFlight(), Work()
    first = asyncio.create_task(single_flight.share("k", work.run, None, deadline=later(9)))
    second = asyncio.create_task(single_flight.share("k", work.run, None, deadline=later(9)))
    await asyncio.sleep(1)

    first.cancel()
    answer = await second

    assert answer.content == "one two three"
    assert (work.runs, work.cancelled) == (1, 0)


async def test_when_the_last_reader_leaves_the_run_is_cancelled() -> None:
    """Nobody works for nobody."""
    single_flight, work = SingleFlight(), Work()
    only = asyncio.create_task(single_flight.share("k", work.run, None, deadline=later(9)))
    await asyncio.sleep(1)

    only.cancel()
    await asyncio.gather(only, return_exceptions=True)

    assert work.cancelled == 1
    assert len(single_flight) == 0


async def test_nobody_joins_a_run_that_is_being_cancelled() -> None:
    """Whoever asks while it winds down gets a run of their own, not its cancellation."""
    single_flight, runs = SingleFlight(), 0

    async def slow_to_leave(_: Emit) -> Answer:
        nonlocal runs
        runs += 1
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
            raise
        return an_answer("mine")

    leaving = asyncio.create_task(single_flight.share("k", slow_to_leave, None, deadline=later(9)))
    await asyncio.sleep(0.5)
    leaving.cancel()
    await asyncio.sleep(0.5)

    answer = await single_flight.share("k", slow_to_leave, None, deadline=later(9))

    assert (answer.content, runs, len(single_flight)) == ("mine", 2, 0)


async def test_a_joined_run_is_waited_for_until_the_own_deadline_only() -> None:
    """Somebody else's longer deadline is not ours."""
    single_flight, work = SingleFlight(), Work()
    first = asyncio.create_task(single_flight.share("k", work.run, None, deadline=later(9)))
    await asyncio.sleep(0)

    with pytest.raises(DeadlineExceeded):
        await single_flight.share("k", work.run, None, deadline=later(1))

    assert (await first).content == "one two three"


async def test_a_run_that_failed_on_a_shorter_deadline_is_tried_again_with_ours() -> None:
    """The leader's deadline was its own."""
    single_flight = SingleFlight()

    async def short(emit: Emit) -> Answer:
        await asyncio.sleep(1)
        raise DeadlineExceeded(1.0)

    leader = asyncio.create_task(single_flight.share("k", short, None, deadline=later(1)))
    await asyncio.sleep(0.5)

    answer = await single_flight.share("k", Work().run, None, deadline=later(9))

    assert answer.content == "one two three"
    with pytest.raises(DeadlineExceeded):
        await leader


@pytest.mark.parametrize("joined", [False, True])
async def test_an_error_reaches_every_reader(joined: bool) -> None:
    """What the run raises, its readers raise."""
    single_flight = SingleFlight()

    async def broken(emit: Emit) -> Answer:
        await asyncio.sleep(1)
        raise NoConsensus(an_answer("x").decision)

    readers = (single_flight.share("k", broken, None, deadline=later(9)) for _ in range(2 if joined else 1))
    results = await asyncio.gather(*readers, return_exceptions=True)

    assert all(isinstance(result, NoConsensus) for result in results)


async def test_a_run_that_fails_when_its_last_reader_has_left_is_no_error_that_nobody_took() -> None:
    """The run may end with an error of its own while it is cancelled."""
    unheard: list[object] = []
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: unheard.append(context))

    async def run(_: Emit) -> Answer:
        try:
            await asyncio.sleep(9)
        finally:
            raise DeadlineExceeded(1.0)

    reader = asyncio.create_task(SingleFlight().share("k", run, None, deadline=later(9)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    reader.cancel()
    await asyncio.wait([reader])
    del reader
    gc.collect()
    loop.set_exception_handler(before)

    assert unheard == []

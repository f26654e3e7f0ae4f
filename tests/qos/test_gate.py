"""The gate before one machine, and Limited, which stands in its queue."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import Failed, QueueFull
from llm_pool.core.events import RequestQueued
from llm_pool.qos.concurrency_limit import ConcurrencyLimited
from llm_pool.qos.gate import Gate
from llm_pool.qos.loaded_models import LoadedModels
from llm_pool.qos.queueing import Limits
from llm_pool.qos.timed import DEADLINE_MARGIN
from llm_pool.testing import RecordingObserver, Reply, ScriptedProvider, a_call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llm_pool.qos.loaded_models import ListLoaded

    Ask = Callable[..., Awaitable[str]]

pytestmark = pytest.mark.anyio

QUICK = Reply("blue", ttft=0.5, duration=1.0)
ONE_AT_A_TIME = Limits(max_loaded=1, batch_wait=10.0)


class Case:
    """A machine with models A and B, each a provider behind the machine's gate."""

    def __init__(
        self, limits: Limits = ONE_AT_A_TIME, *, reply: Reply = QUICK, list_loaded: ListLoaded | None = None
    ) -> None:
        self.seen, clock = RecordingObserver(), SystemClock()
        self.gate = Gate("box", limits, clock, LoadedModels(clock, list_loaded))
        self.order: list[str] = []
        self.backends = {name: ScriptedProvider(name, self._noted(name, reply)) for name in "AB"}
        self.a, self.b = (ConcurrencyLimited(self.backends[name], self.gate, name, self.seen.on) for name in "AB")

    def _noted(self, name: str, reply: Reply) -> Callable[[object], Reply]:
        def script(call: object) -> Reply:
            self.order.append(name)
            return reply

        return script


async def settle() -> None:
    """Let everybody run who can, without letting time pass."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_no_more_calls_at_once_than_slots(ask: Ask) -> None:
    """Six calls over two models and two slots: three seconds."""
    case = Case(Limits(slots=2))
    began = asyncio.get_running_loop().time()

    await asyncio.gather(*(ask(each) for each in (case.a, case.b) * 3))

    assert asyncio.get_running_loop().time() - began == pytest.approx(3.0)
    assert case.gate.has_room


async def test_calls_for_one_model_are_served_together(ask: Ask) -> None:
    """A A A B B instead of A B A B A, whatever the order of arrival."""
    case = Case()

    await asyncio.gather(*(ask(each) for each in (case.a, case.b, case.a, case.b, case.a)))

    assert "".join(case.order) == "AAABB"
    assert case.gate.loaded == ("B",)


async def test_the_asker_is_told_that_it_waits(ask: Ask) -> None:
    """With how many are ahead; who goes straight in hears nothing."""
    case = Case()

    await asyncio.gather(*(ask(case.a, a_call(request_id=name)) for name in ("r1", "r2", "r3")))

    assert case.seen.of(RequestQueued) == [RequestQueued("r2", "A", "box", 0), RequestQueued("r3", "A", "box", 1)]


async def test_a_full_queue_refuses_at_once_with_a_time_to_come_back(ask: Ask) -> None:
    """One runs, one waits, the third is told; the error is the backend-is-busy kind and trips nothing."""
    case = Case(Limits(slots=1, queue=1))
    await ask(case.a)
    running = [asyncio.create_task(ask(case.a)) for _ in range(2)]
    await settle()
    began = asyncio.get_running_loop().time()

    with pytest.raises(QueueFull) as caught:
        await ask(case.a)

    assert asyncio.get_running_loop().time() == began
    assert caught.value.retry_after == pytest.approx(1.5)
    assert str(caught.value) == "the queue before box is full (1 waiting)"
    await asyncio.gather(*running)


async def test_who_cannot_be_served_in_time_is_refused_at_once(ask: Ask) -> None:
    """The machine has learned that a call takes a second; one runs and four more urgent ones wait: 4.5 seconds."""
    case = Case()
    await ask(case.a)
    began = asyncio.get_running_loop().time()
    running = [asyncio.create_task(ask(case.a, a_call(deadline=began + 4.0))) for _ in range(5)]
    await settle()

    with pytest.raises(QueueFull) as caught:
        await ask(case.a, a_call(deadline=began + 4.25))

    assert asyncio.get_running_loop().time() == began
    assert caught.value.retry_after == pytest.approx(0.25, abs=DEADLINE_MARGIN)
    await asyncio.gather(*running, return_exceptions=True)


async def test_a_deadline_passes_in_the_queue_too(ask: Ask) -> None:
    """Nobody knew how long a call takes: who waits is told just before the deadline, and its backend never asked."""
    case = Case(reply=Reply("blue", ttft=1.0, duration=50.0))
    running = asyncio.create_task(ask(case.a))
    await settle()
    began = asyncio.get_running_loop().time()

    with pytest.raises(QueueFull, match="no answer from box before the deadline"):
        await ask(case.a, a_call(deadline=began + 3.0))

    assert asyncio.get_running_loop().time() == pytest.approx(began + 3.0 - DEADLINE_MARGIN)
    await running
    assert len(case.order) == 1
    assert case.gate.has_room


async def test_who_leaves_the_queue_does_not_hold_back_the_others(ask: Ask) -> None:
    """B is due and waits for a running A to end, so the next A holds back; when B leaves, A goes on at once."""
    case = Case(Limits(slots=2, max_loaded=1, batch_wait=1.0), reply=Reply("blue", ttft=1.0, duration=20.0))
    first = asyncio.create_task(ask(case.a))
    await settle()
    swap = asyncio.create_task(ask(case.b))
    await asyncio.sleep(5)
    held_back = asyncio.create_task(ask(case.a))
    await settle()
    before = case.backends["A"].in_flight

    swap.cancel()
    await settle()

    assert (before, case.backends["A"].in_flight) == (1, 2)
    await asyncio.gather(first, held_back)


async def test_a_failed_load_is_not_taken_for_a_loaded_model(ask: Ask) -> None:
    """Otherwise the next request would be sent there first, to fail again."""
    case = Case(reply=Reply.failing(Failed("A", "out of memory")))

    with pytest.raises(Failed):
        await ask(case.a)

    assert case.gate.loaded == ()
    assert case.gate.has_room


async def test_loading_ahead_counts_as_loaded() -> None:
    """``load()`` of one model makes it the one that is there, and the other the one that had to go."""
    case = Case()

    await case.a.load()
    await case.b.load()

    assert case.gate.loaded == ("B",)
    assert (case.backends["A"].loads, case.backends["B"].loads) == (1, 1)


async def test_the_backends_own_word_counts(ask: Ask) -> None:
    """What somebody else loaded is known before the first request: B first, though A asked first."""

    async def list_loaded() -> tuple[str, ...]:
        return ("B",)

    case = Case(list_loaded=list_loaded)

    await asyncio.gather(ask(case.a), ask(case.b), ask(case.b))

    assert case.order[0] == "A"  # it came alone, and a free slot does not wait
    assert case.order[1:] == ["B", "B"]


async def test_a_model_is_loading_until_its_first_word(ask: Ask) -> None:
    """By the backend's own knowledge; where it cannot tell, a silent model is not excused."""

    async def list_loaded() -> tuple[str, ...]:
        return ()

    knowing, guessing = Case(list_loaded=list_loaded), Case()
    calls = [asyncio.create_task(ask(each.a)) for each in (knowing, guessing)]
    await asyncio.sleep(0.2)
    early = knowing.gate.is_loading("A"), guessing.gate.is_loading("A")
    await asyncio.sleep(0.5)

    assert early == (True, False)
    assert not knowing.gate.is_loading("A")
    await asyncio.gather(*calls)


async def test_repr_tells_what_a_person_wants_to_know(ask: Ask) -> None:
    """Slots, queue, memory."""
    case = Case()
    running = [asyncio.create_task(ask(case.a)) for _ in range(3)]
    await settle()

    assert repr(case.gate) == "<Gate box [1 of 1 slots, 2 waiting | A loaded]>"
    assert repr(case.a).startswith("ConcurrencyLimited(")
    await asyncio.gather(*running)

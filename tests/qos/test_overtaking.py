"""A call that hangs does not hold its machine."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import QueueFull
from llm_pool.qos.concurrency_limit import ConcurrencyLimited
from llm_pool.qos.gate import Gate
from llm_pool.qos.latency import Latencies
from llm_pool.qos.loaded_models import LoadedModels
from llm_pool.qos.patience import Patience
from llm_pool.qos.queueing import Limits
from llm_pool.testing import Reply, ScriptedProvider, a_call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from llm_pool.core.messages import Call
    from llm_pool.testing.scripted import Script

pytestmark = pytest.mark.anyio

LATE = 0.4
QUICK = Reply("blue", ttft=0.05, duration=0.1)


class Machine:
    """One slot, three models of which A hangs; a silence is late after four tenths of a second, as what is usual."""

    def __init__(
        self, loaded: tuple[str, ...] = ("A", "B", "C"), *, load_time: float | None = None, **replies: Script
    ) -> None:
        clock, in_memory = SystemClock(), list(loaded)

        async def list_loaded() -> list[str]:
            return list(in_memory)

        async def load() -> None:
            await asyncio.sleep(load_time or 0.0)
            in_memory.append("C")

        self.gate = Gate("box", Limits(slots=1, max_loaded=3), clock, LoadedModels(clock, list_loaded))
        if load_time is not None:
            self.gate.add_loader("C", load)
        patience = Patience(Latencies(), clock, hedge_after=LATE)
        patience.before_overtaking = lambda _provider, _call: LATE  # type: ignore[method-assign]
        self.models = {
            name: ScriptedProvider(name, reply)
            for name, reply in {"A": Reply.hanging(), "B": QUICK, "C": QUICK, **replies}.items()
        }
        self.providers = {
            name: ConcurrencyLimited(model, self.gate, name, lambda _: None, patience=patience)
            for name, model in self.models.items()
        }

    async def ask(self, name: str, call: Call | None = None) -> float:
        """Seconds to the end of the answer."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with aclosing(self.providers[name].stream(call or a_call())) as deltas:
            async for _ in deltas:
                pass
        return loop.time() - began


async def hanging(machine: Machine, name: str = "A", prompt: str = "which colour?", **call: Any) -> asyncio.Task[float]:
    task = asyncio.create_task(machine.ask(name, a_call(prompt, **call)))
    await asyncio.sleep(0.01)
    return task


@pytest.fixture
async def tidy() -> AsyncIterator[list[asyncio.Task[float]]]:
    tasks: list[asyncio.Task[float]] = []
    yield tasks
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_another_model_overtakes_once_the_first_is_late(tidy: list[asyncio.Task[float]]) -> None:
    """Both others, one after the other: the slot is lent, it is not a second one."""
    machine = Machine()
    tidy.append(await hanging(machine))

    seconds = await asyncio.gather(machine.ask("B"), machine.ask("C"))

    assert seconds == [pytest.approx(LATE - 0.01 + 0.1), pytest.approx(LATE - 0.01 + 0.2)]
    assert machine.models["B"].most_in_flight == 1


async def test_the_room_is_told_of(tidy: list[asyncio.Task[float]]) -> None:
    """Not before it is late, not for its own model, and not while another has the slot."""
    machine = Machine(B=Reply("blue", ttft=1.0, duration=1.0))
    tidy.append(await hanging(machine))
    before = [machine.gate.has_room_for(name) for name in "ABC"]
    await asyncio.sleep(LATE)
    late = [machine.gate.has_room_for(name) for name in "ABC"]
    tidy.append(await hanging(machine, "B"))
    lent = [machine.gate.has_room_for(name) for name in "ABC"]

    assert before == [False, False, False]
    assert late == [False, True, True]
    assert lent == [False, False, False]


async def test_who_writes_keeps_its_slot() -> None:
    """A long answer is not a late one."""
    machine = Machine(A=Reply("a long answer of eight words and more of them", ttft=0.1, duration=2.0))

    seconds = await asyncio.gather(machine.ask("A"), machine.ask("B"))

    assert seconds == [pytest.approx(2.0), pytest.approx(2.1)]


async def test_a_model_that_would_have_to_be_loaded_does_not_overtake(tidy: list[asyncio.Task[float]]) -> None:
    """It might put the late one out."""
    machine = Machine(loaded=("A", "B"))
    tidy.append(await hanging(machine))
    tidy.append(await hanging(machine, "C"))

    await asyncio.sleep(5)

    assert machine.models["C"].calls == []
    assert not machine.gate.has_room_for("C")


@pytest.mark.parametrize("load_time", [0.1, 1.0])
async def test_a_model_that_fits_is_loaded_beside_the_one_that_hangs(
    tidy: list[asyncio.Task[float]], load_time: float
) -> None:
    """Its load takes no slot; then it overtakes, once the other is late."""
    machine = Machine(loaded=("A", "B"), load_time=load_time)
    tidy.append(await hanging(machine))

    seconds = await machine.ask("C")

    assert seconds == pytest.approx(max(LATE - 0.01, load_time) + 0.1)


async def test_a_model_that_is_being_loaded_keeps_nobody_from_overtaking(tidy: list[asyncio.Task[float]]) -> None:
    """C is on its way, and waits; B is there."""
    machine = Machine(loaded=("A", "B"), load_time=5.0)
    tidy.append(await hanging(machine))
    tidy.append(await hanging(machine, "C"))
    await asyncio.sleep(LATE)
    room = [machine.gate.has_room_for(name) for name in "ABC"]

    seconds = await machine.ask("B")

    assert (seconds, room) == (pytest.approx(0.1), [False, True, False])


async def test_another_call_to_the_model_that_hangs_waits(tidy: list[asyncio.Task[float]]) -> None:
    """It would hang as well; another model passes it in the queue."""
    machine = Machine()
    tidy += [await hanging(machine), await hanging(machine)]

    await machine.ask("B")

    assert len(machine.models["A"].calls) == 1


async def test_a_late_call_that_comes_back_is_answered() -> None:
    """Its slot was lent, its call goes on."""
    machine = Machine(A=Reply("late but true", ttft=0.6, duration=0.8), B=Reply("blue", ttft=1.0, duration=1.0))

    seconds = await asyncio.gather(machine.ask("A"), machine.ask("B"))

    assert seconds == [pytest.approx(0.8), pytest.approx(LATE + 1.0)]
    assert machine.gate.has_room


async def test_everything_is_back_when_the_late_one_leaves(tidy: list[asyncio.Task[float]]) -> None:
    """The slot, and nothing lent beyond it."""
    machine = Machine()
    late = await hanging(machine)
    await asyncio.sleep(1)

    late.cancel()
    await asyncio.gather(late, return_exceptions=True)

    assert (machine.gate.busy, machine.gate.has_room) == (0, True)


async def test_two_that_hang_let_the_third_through(tidy: list[asyncio.Task[float]]) -> None:
    """As many calls may hang as there are models."""
    machine = Machine(B=Reply.hanging())
    tidy += [await hanging(machine), await hanging(machine, "B")]

    seconds = await machine.ask("C")

    assert seconds == pytest.approx(2 * LATE - 0.02 + 0.1)


async def test_who_overtakes_is_not_refused_for_those_that_wait_behind_the_silent(
    tidy: list[asyncio.Task[float]],
) -> None:
    """Eight answers of A would take longer than the deadline; none of them stands before B."""
    machine = Machine(A=lambda call: Reply.hanging() if call.input == "hang" else QUICK)
    await machine.ask("A")
    await machine.ask("B")
    tidy += [await hanging(machine, prompt="hang")] + [await hanging(machine) for _ in range(8)]
    await asyncio.sleep(LATE)
    now = asyncio.get_running_loop().time()

    seconds = await machine.ask("B", a_call(deadline=now + 0.3))

    assert seconds == pytest.approx(0.1)


async def test_who_overtakes_is_refused_for_those_that_overtake_too(tidy: list[asyncio.Task[float]]) -> None:
    """They have the one slot there is."""
    machine = Machine()
    await machine.ask("B")
    tidy.append(await hanging(machine))
    await asyncio.sleep(LATE)
    deadline = asyncio.get_running_loop().time() + 0.3
    tidy += [await hanging(machine, "B", deadline=deadline) for _ in range(4)]

    with pytest.raises(QueueFull, match="before the deadline"):
        await machine.ask("B", a_call(deadline=deadline + 0.01))

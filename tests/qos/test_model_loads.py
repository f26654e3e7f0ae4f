"""Loads as the gate's own act: detached, one at a time, in an order that makes few of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

import pytest

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import Failed, Loading, QueueFull
from llm_pool.qos.concurrency_limit import ConcurrencyLimited
from llm_pool.qos.gate import Gate
from llm_pool.qos.loaded_models import LoadedModels
from llm_pool.qos.model_load import LOAD_TIMEOUT, MIN_REST, UNKNOWN_LOAD_TIME, rest_of_load
from llm_pool.qos.queueing import Limits
from llm_pool.testing import Reply, ScriptedProvider, a_call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from llm_pool.core.messages import Call

    Ask = Callable[..., Awaitable[str]]

pytestmark = pytest.mark.anyio

QUICK = Reply("blue", ttft=0.5, duration=1.0)


class Box:
    """
    A machine that holds so many models and tells which, behind a gate that is told nothing of that.

    Attributes:
        order: what it did: ``+A`` began to load A, ``A`` was called.
        fails: models that cannot be loaded.
        hides: models that it does not list.
    """

    def __init__(self, *, holds: int = 1, load_time: float = 4.0, limits: Limits | None = None) -> None:
        self.holds, self.load_time = holds, load_time
        self.memory: list[str] = []
        self.order: list[str] = []
        self.fails: set[str] = set()
        self.hides: set[str] = set()
        self.cancelled_loads = 0
        clock = SystemClock()
        self.gate = Gate("box", limits or Limits(batch_wait=10.0), clock, LoadedModels(clock, self._list))
        self.providers = {name: self._provider(name) for name in "ABC"}

    async def _list(self) -> list[str]:
        return [name for name in self.memory if name not in self.hides]

    def _provider(self, name: str) -> ConcurrencyLimited:
        def script(_call: Call) -> Reply:
            self.order.append(name)
            return QUICK

        async def load() -> None:
            await self._load(name)

        self.gate.add_loader(name, load)
        return ConcurrencyLimited(ScriptedProvider(name, script), self.gate, name, lambda _: None)

    async def _load(self, name: str) -> None:
        self.order.append(f"+{name}")
        while len(self.memory) >= self.holds:
            self.memory.pop(0)
        try:
            await asyncio.sleep(self.load_time)
        except asyncio.CancelledError:
            self.cancelled_loads += 1
            raise
        if name in self.fails:
            raise Failed(name, "out of memory")
        self.memory.append(name)

    @property
    def loads(self) -> int:
        return sum(step.startswith("+") for step in self.order)


@pytest.fixture
async def box() -> AsyncIterator[Callable[..., Box]]:
    """Makes boxes, and closes their gates."""
    made: list[Box] = []

    def make(**how: object) -> Box:
        made.append(Box(**how))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        await one.gate.aclose()


def now() -> float:
    return asyncio.get_running_loop().time()


async def asked(box: Box, ask: Ask, models: Iterable[str], *, span: float = 60.0) -> list[str | BaseException]:
    """What comes of asking all of *models* at once, each with *span* seconds."""
    calls = (ask(box.providers[model], a_call(deadline=now() + span)) for model in models)
    return await asyncio.gather(*calls, return_exceptions=True)


async def test_a_load_outlives_the_request_that_asked_for_it(box: Callable[..., Box], ask: Ask) -> None:
    """A second and a half for a load of four: two are told that it goes on, the third finds it done."""
    one = box()
    began = now()

    told = [(await asked(one, ask, "A", span=1.5))[0] for _ in range(3)]

    assert [type(each) for each in told] == [Loading, Loading, str]
    assert str(told[0]) == "A has been loading for 1.5 s; that goes on"
    assert now() - began == pytest.approx(5.0)
    assert (one.order, one.cancelled_loads) == (["+A", "A"], 0)


async def test_an_asker_who_leaves_ends_no_load(box: Callable[..., Box], ask: Ask) -> None:
    """Nor does a crowd of them begin a second one."""
    one = box()
    crowd = [asyncio.create_task(ask(one.providers["A"])) for _ in range(20)]
    await asyncio.sleep(1)
    for each in crowd:
        each.cancel()
    await asyncio.wait(crowd)
    await asyncio.sleep(3.1)

    assert (one.memory, one.order, one.cancelled_loads) == (["A"], ["+A"], 0)
    assert one.gate.is_loaded("A")
    assert one.gate.has_room


async def test_closing_the_gate_ends_the_load_and_begins_no_other(box: Callable[..., Box], ask: Ask) -> None:
    """Nothing is orphaned."""
    one = box()
    asking = asyncio.create_task(ask(one.providers["A"]))
    await asyncio.sleep(1)

    await one.gate.aclose()
    asking.cancel()
    await asyncio.wait({asking})

    assert one.cancelled_loads == 1
    assert not one.gate.load_ahead("B", evicting="idle")
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("load")] == []


@pytest.mark.parametrize("holds", [1, 2, 3])
async def test_six_panels_at_once_load_each_model_once(box: Callable[..., Box], ask: Ask, holds: int) -> None:
    """Nobody told the gate how many models fit: eighteen calls, three loads, and no call before its load."""
    one = box(holds=holds)

    answers = await asked(one, ask, "ABC" * 6)

    assert answers == ["blue"] * 18
    assert one.loads == 3
    if holds == 1:
        assert one.order == [step for model in "ABC" for step in (f"+{model}", *model * 6)]


async def test_what_was_seen_to_fit_is_loaded_beside(box: Callable[..., Box], ask: Ask) -> None:
    """Once two were seen together, a second model no longer waits for the calls of the first."""
    one = box(holds=2)
    await asked(one, ask, "AB")
    one.memory.remove("B")
    await asyncio.sleep(6)
    began = now()

    await asked(one, ask, "AAAAAAB")

    assert one.order[4:6] in (["A", "+B"], ["+B", "A"])
    assert now() - began == pytest.approx(7.0)


async def test_where_a_load_put_another_out_no_third_is_tried(box: Callable[..., Box], ask: Ask) -> None:
    """One was evicted: that one model fits is known now, and a load behind the scenes would cost the other."""
    one = box(holds=1)
    await asked(one, ask, "AB")

    assert not one.gate.load_ahead("A", evicting="perhaps")
    assert not one.gate.load_ahead("A", evicting="nothing")
    assert one.gate.load_ahead("A", evicting="idle")


@pytest.mark.parametrize(("evicting", "begun"), [("nothing", False), ("perhaps", True), ("idle", True)])
async def test_before_anything_was_seen_only_the_bold_load_a_second(
    box: Callable[..., Box], ask: Ask, evicting: Literal["nothing", "perhaps", "idle"], *, begun: bool
) -> None:
    """It may put out the first."""
    one = box(holds=2)
    await asked(one, ask, "A")

    assert one.gate.load_ahead("B", evicting=evicting) is begun
    await one.gate.loads_ended()
    assert one.gate.is_loaded("A")
    assert one.gate.is_loaded("B") is begun


async def test_a_load_ahead_puts_out_nobody_who_answers(box: Callable[..., Box], ask: Ask) -> None:
    """However idle the rest."""
    one = box(holds=1)
    asking = asyncio.create_task(ask(one.providers["A"]))
    await asyncio.sleep(4.5)

    assert not one.gate.load_ahead("B", evicting="idle")
    assert await asking == "blue"


async def test_a_model_that_cannot_be_loaded_is_called_all_the_same(box: Callable[..., Box], ask: Ask) -> None:
    """The backend's own words say what is wrong; nobody waits to the deadline for it, and nobody tries at each call."""
    one = box()
    one.fails = {"A"}

    assert await asked(one, ask, "AA") == ["blue", "blue"]
    assert one.order == ["+A", "A", "A"]


async def test_a_model_that_is_never_listed_is_called_all_the_same(box: Callable[..., Box], ask: Ask) -> None:
    """As Ollama's cloud models are not: it counts as loaded, and is loaded ahead less and less often."""
    one = box(load_time=0.1)
    one.hides = {"A"}

    assert await asked(one, ask, "AA") == ["blue", "blue"]
    assert one.order == ["+A", "A", "A"]
    assert one.gate.is_loaded("A")
    for _ in range(100):
        await asked(one, ask, "A")
        await asyncio.sleep(5)
    assert 4 <= one.loads <= 7


async def test_a_load_that_never_ends_is_ended(box: Callable[..., Box], ask: Ask) -> None:
    """After as long as Ollama itself would wait."""
    one = box(load_time=1e6)
    began = now()
    await asked(one, ask, "A", span=1.0)

    await one.gate.loads_ended()

    assert now() - began == pytest.approx(LOAD_TIMEOUT)
    assert one.cancelled_loads == 1


async def test_how_long_until_a_model_is_there(box: Callable[..., Box], ask: Ask) -> None:
    """A guess at first, then what it took; the rest of a load that is on; nothing once it is there."""
    one = box(holds=1)
    await one.gate.acquire("A", "A", now() + 9, lambda _: None)
    taken = one.gate.load_time("A"), one.gate.load_time("B"), one.gate.usual_load_time("A")

    assert taken == (0.0, pytest.approx(4.0), pytest.approx(4.0))
    fresh = box()
    await fresh.gate._loaded_models.refresh()
    assert fresh.gate.load_time("A") == UNKNOWN_LOAD_TIME
    fresh.gate.load_ahead("A", evicting="idle")
    await asyncio.sleep(1)
    assert fresh.gate.load_time("A") == pytest.approx(UNKNOWN_LOAD_TIME - 1)
    assert fresh.gate.load_time("B") == pytest.approx(2 * UNKNOWN_LOAD_TIME - 1)
    assert not fresh.gate.is_loaded("A")
    assert fresh.gate.is_loading("A")


@pytest.mark.parametrize(
    ("usual", "elapsed", "rest"), [(4.0, 1.0, 3.0), (4.0, 4.0, MIN_REST), (4.0, 90.0, MIN_REST), (0.0, 0.0, MIN_REST)]
)
def test_a_load_is_never_believed_to_end_in_the_past(usual: float, elapsed: float, rest: float) -> None:
    assert rest_of_load(usual, elapsed) == rest


async def test_a_silent_end_makes_the_next_request_look(box: Callable[..., Box], ask: Ask) -> None:
    """Somebody else has put the model out since the last look: the first call pays, the second finds out."""
    one = box()
    await asked(one, ask, "A")
    one.memory.clear()
    lost = asyncio.create_task(ask(one.providers["A"]))
    await asyncio.sleep(0.1)
    lost.cancel()
    await asyncio.wait({lost})

    assert await asked(one, ask, "A") == ["blue"]
    assert one.order == ["+A", "A", "A", "+A", "A"]


async def test_who_waits_for_a_swap_is_late_and_not_loading(box: Callable[..., Box], ask: Ask) -> None:
    """B's turn does not come in time: that is a queue."""
    one = box()

    _, second = await asked(one, ask, "AB", span=2.0)

    assert isinstance(second, QueueFull)

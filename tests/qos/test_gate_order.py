"""Whatever comes, goes and gives up at a gate: slots are used, never too many of them, in the order of turns."""

from __future__ import annotations

import asyncio
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import QueueFull
from llm_pool.qos.fair_queueing import Turns, in_turn
from llm_pool.qos.gate import Gate, Lease
from llm_pool.qos.loaded_models import LoadedModels
from llm_pool.qos.queueing import Limits, Waiter
from llm_pool.testing import VirtualLoop

Step: TypeAlias = tuple[str, str, int]

MODEL = "phi3"
steps = st.lists(
    st.tuples(st.sampled_from(["come", "come", "release", "leave", "pass"]), st.sampled_from("AB"), st.integers(1, 30)),
    max_size=40,
)


class Askers:
    """Those who come to one gate, and what should become of them."""

    def __init__(self, slots: int) -> None:
        clock = SystemClock()
        loaded_models = LoadedModels(clock)
        loaded_models.mark_used(MODEL)
        self.gate = Gate("box", Limits(slots=slots, queue=1000), clock, loaded_models)
        self.turns, self.slots, self.number = Turns(), slots, 0
        self.waiting: dict[Waiter, asyncio.Task[None]] = {}
        self.held: list[Lease] = []
        self.granted: list[int] = []
        self.expected: list[int] = []

    async def come(self, tenant: str, patience: int) -> None:
        now = asyncio.get_running_loop().time()
        self.number += 1
        waiter = Waiter(MODEL, now + patience * 10.0, now, self.number, tenant)
        self.waiting[waiter] = asyncio.create_task(self._ask(waiter))
        await settle()

    async def _ask(self, waiter: Waiter) -> None:
        try:
            lease = await self.gate.acquire("p", MODEL, waiter.deadline, lambda _: None, tenant=waiter.tenant)
        except QueueFull:
            self.waiting.pop(waiter, None)
            return
        self.held.append(lease)
        self.granted.append(waiter.ticket)

    async def step(self, what: str, tenant: str, number: int) -> None:
        match what:
            case "come":
                await self.come(tenant, number)
            case "release" if self.held:
                self.gate.release(self.held.pop(number % len(self.held)), served=True)
            case "leave" if self.waiting:
                left = list(self.waiting)[number % len(self.waiting)]
                self.waiting.pop(left).cancel()
            case "pass":
                await asyncio.sleep(number)
        await settle()
        self._expect()

    def _expect(self) -> None:
        """Note who should have got a slot by now, in which order."""
        while self.waiting and len(self.expected) - self._released < self.slots:
            chosen = in_turn(self.waiting, self.turns.ahead)[0]
            del self.waiting[chosen]
            self.turns.serve(chosen.tenant, last=not self.waiting)
            self.expected.append(chosen.ticket)

    @property
    def _released(self) -> int:
        """Slots that were given back."""
        return len(self.granted) - len(self.held)

    async def aclose(self) -> None:
        for task in self.waiting.values():
            task.cancel()
        await settle()


async def settle() -> None:
    """Let everybody run who can, without letting time pass."""
    for _ in range(5):
        await asyncio.sleep(0)


@settings(deadline=None)
@given(taken=steps, slots=st.integers(1, 3))
def test_slots_go_to_those_whose_turn_it_is(taken: list[Step], slots: int) -> None:
    """As a rule that sorts all who wait says it, step by step; none idles while somebody waits, and none is lost."""

    async def run() -> None:
        askers = Askers(slots)
        for each in taken:
            await askers.step(*each)

            assert askers.granted == askers.expected
            assert askers.gate.busy == len(askers.held) <= slots
            assert askers.gate.waiting == len(askers.waiting)
        await askers.aclose()
        while askers.held:
            askers.gate.release(askers.held.pop(), served=True)
        assert askers.gate.has_room

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())

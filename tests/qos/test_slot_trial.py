"""Slots of a machine that does not say how many it has, learned from what runs side by side."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.config import parse
from llm_pool.core.clock import SystemClock
from llm_pool.core.messages import Query
from llm_pool.engine.composition import open_app
from llm_pool.qos.concurrency_limit import ConcurrencyLimited
from llm_pool.qos.gate import Gate
from llm_pool.qos.latency import Latencies, LatencyKey
from llm_pool.qos.loaded_models import LoadedModels
from llm_pool.qos.patience import Patience
from llm_pool.qos.policy import Policy
from llm_pool.qos.queueing import Limits
from llm_pool.qos.slot_trial import FIRST_PAUSE, MAX_SLOTS, MIN_OVERLAP, SlotsSeen, SlotTrial
from llm_pool.qos.suspecting import Suspecting, Suspicions
from llm_pool.qos.timed import Timed
from llm_pool.testing import Reply, ScriptedProvider, a_call
from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from llm_pool.core.interfaces import Provider
    from llm_pool.core.messages import Call, Delta
    from llm_pool.testing.scripted import Script

pytestmark = pytest.mark.anyio

ANSWER = Reply("one two three four five six seven eight", ttft=0.2, duration=2.0)


STALLS = Reply("one two three", ttft=0.2, duration=100_000.0)


class Slots(Policy):
    """A server that works on so many calls at once, and lets the others wait without a word, as Ollama does."""

    def __init__(self, inner: Provider, slots: int) -> None:
        super().__init__(inner)
        self.slots, self.here, self.most_here = asyncio.Semaphore(slots), 0, 0

    async def stream(self, call: Call) -> AsyncGenerator[Delta]:
        self.here += 1
        self.most_here = max(self.most_here, self.here)
        try:
            async with self.slots, aclosing(self.inner.stream(call)) as deltas:
                async for delta in deltas:
                    yield delta
        finally:
            self.here -= 1


class Machine:
    """Models A and B behind one gate that knows of one slot, on servers that have so many for each."""

    def __init__(self, slots: int, reply: Script = ANSWER, *, learns_slots: bool = True, known: int = 1) -> None:
        clock, self.in_memory, self.latencies = SystemClock(), ["A", "B"], Latencies()

        async def list_loaded() -> list[str]:
            return list(self.in_memory)

        limits = Limits(slots=known, max_loaded=3)
        self.gate = Gate("box", limits, clock, LoadedModels(clock, list_loaded), learns_slots=learns_slots)
        patience = Patience(self.latencies, clock, hedge_after=0.3)
        self.suspicions = Suspicions(clock)
        self.servers = {name: Slots(ScriptedProvider(name, reply), slots) for name in "AB"}
        self.models = {name: self._provider(name, patience, clock) for name in "AB"}

    def _provider(self, name: str, patience: Patience, clock: SystemClock) -> Provider:
        on_trial = self.gate.is_on_trial
        timed = Timed(self.servers[name], self.latencies, clock, timeout=5.0, is_on_trial=on_trial)
        suspecting = Suspecting(timed, self.suspicions, clock, patience, is_excused=on_trial)
        return ConcurrencyLimited(
            suspecting, self.gate, name, lambda _: None, patience=patience, suspicions=self.suspicions
        )

    async def ask(self, name: str = "A") -> None:
        async with aclosing(self.models[name].stream(a_call(name))) as deltas:
            async for _ in deltas:
                pass

    async def ask_at_once(self, count: int, name: str = "A") -> None:
        await asyncio.gather(*(self.ask(name) for _ in range(count)))


async def seconds_of(work: Any) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await work
    return loop.time() - began


@pytest.mark.parametrize("slots", [1, 2, 3, 4])
async def test_as_many_as_the_server_has_are_learned(slots: int) -> None:
    """Under load, within a few answers; and no more are ever taken for slots."""
    machine = Machine(slots)

    await machine.ask_at_once(24)

    assert machine.gate.slots == slots
    assert machine.servers["A"].most_here == slots + 1


async def test_it_pays_off_at_once() -> None:
    """Sixteen answers of two seconds on four slots: one after the other they take 32."""
    assert await seconds_of(Machine(4).ask_at_once(16)) < 12.0
    assert await seconds_of(Machine(4, learns_slots=False).ask_at_once(16)) == pytest.approx(32.0)


async def test_a_server_with_one_slot_is_none_the_slower_for_it() -> None:
    """Nobody is suspected, and no time that was spent in its queue is recorded."""
    machine = Machine(1)

    assert await seconds_of(machine.ask_at_once(16)) == pytest.approx(32.0)
    assert all(suspicion.is_clear for suspicion in machine.suspicions._of.values())
    assert all(sample == pytest.approx(0.2, rel=0.05) for sample in ttfts(machine))


def ttfts(machine: Machine) -> list[float]:
    now = asyncio.get_running_loop().time()
    quantiles = (machine.latencies.quantile(LatencyKey("A", "ask", "ttft"), q, now, min_samples=1) for q in (0.1, 1.0))
    return [quantile for quantile in quantiles if quantile is not None]


async def test_trials_grow_rare_where_they_show_nothing() -> None:
    """Eighty answers take 160 seconds; at the first, after 5 s, 10, 20, 40 and 80."""
    machine = Machine(1)
    trials = 0
    begin = SlotsSeen.not_seen

    def counted(seen: SlotsSeen, model: str, now: float) -> None:
        nonlocal trials
        trials += 1
        begin(seen, model, now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SlotsSeen, "not_seen", counted)
        for _ in range(4):
            await machine.ask_at_once(20)

    assert trials in {5, 6}


async def test_each_model_has_its_own() -> None:
    """Ollama serves some families one by one, whatever it is told."""
    machine = Machine(3)
    machine.servers["B"].slots = asyncio.Semaphore(1)
    await machine.ask_at_once(12)
    await machine.ask_at_once(6, "B")
    machine.servers["B"].most_here = 0

    seconds = await seconds_of(asyncio.gather(machine.ask_at_once(3, "B"), machine.ask_at_once(6)))

    assert machine.servers["B"].most_here == 1
    assert seconds == pytest.approx(6.0)


async def test_no_trial_where_others_wait_for_another_model() -> None:
    """They have the machine before one more call to the same."""
    machine = Machine(3)

    await asyncio.gather(machine.ask("A"), machine.ask("A"), machine.ask("B"))

    assert machine.servers["A"].most_here == 1


async def test_none_beside_a_call_that_is_silent() -> None:
    """It would be as silent, most likely."""
    machine = Machine(3, Reply.hanging())
    asking = [asyncio.create_task(machine.ask()) for _ in range(3)]
    await asyncio.sleep(10)

    assert machine.servers["A"].most_here == 1
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)


async def test_who_waits_behind_one_that_goes_silent_is_as_late_as_that() -> None:
    """A stalls after its first words: B has the machine, though a second call to A was sent on trial."""
    machine = Machine(1, lambda call: ANSWER if call.input == "B" else STALLS)
    asking = [asyncio.create_task(machine.ask()) for _ in range(2)]
    await asyncio.sleep(1.0)
    tried = machine.servers["A"].most_here

    assert tried == 2
    assert await seconds_of(machine.ask("B")) < 3.5
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)


async def test_what_was_seen_is_forgotten_with_the_model() -> None:
    """It may be loaded anew by a server that was told something else."""
    machine = Machine(3)
    await machine.ask_at_once(12)
    learned = machine.gate.slots
    machine.in_memory.remove("A")
    await asyncio.sleep(6)
    await machine.ask("B")

    assert (learned, machine.gate.slots) == (3, 1)


async def test_never_fewer_than_are_configured() -> None:
    """What is configured is where learning begins."""
    machine = Machine(1, known=2)

    await machine.ask_at_once(12)

    assert machine.gate.slots == 2


async def test_a_call_on_trial_has_its_askers_time() -> None:
    """Its provider's own timeout of five seconds does not run while it waits in the server's queue."""
    machine = Machine(1, Reply("one two three four five six seven eight", ttft=0.2, duration=4.0))

    await machine.ask_at_once(2)

    assert machine.gate.slots == 1


async def test_leaving_in_the_middle_of_a_trial_gives_everything_back() -> None:
    machine = Machine(4)
    asking = [asyncio.create_task(machine.ask()) for _ in range(3)]
    await asyncio.sleep(0.25)
    tried = machine.gate._trial
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)

    assert tried is not None
    assert machine.gate._trial is None
    assert (machine.gate.busy, machine.gate.waiting, machine.servers["A"].here) == (0, 0, 0)


def a_long_one(_request: object) -> str:
    return "blue " * 30


@pytest.mark.real_loop
@pytest.mark.parametrize(("settings", "slots", "learned"), [("", 3, 3), ("", 1, 1), ("[groups.box]\nslots = 1", 3, 1)])
async def test_over_sockets(settings: str, slots: int, learned: int) -> None:
    """A scripted Ollama with OLLAMA_NUM_PARALLEL; what the file says is not doubted."""
    async with Upstream(["phi3"], slots=slots, ttft="const:0.05", per_token="const:0.02", answer=a_long_one) as up:
        provider = f'name = "box"\ndriver = "ollama"\ngroup = "box"\nbase_url = "{up.url}"\nmodel = "phi3"'
        async with open_app(parse(f"{settings}\n[[providers]]\n{provider}", Path("llm-pool.toml"))) as app:
            queries = [Query(prompt=f"{number}?", deadline=15.0, no_cache=True) for number in range(10)]
            await asyncio.gather(*map(app.orchestrator.infer, queries))

            assert [gate.slots for gate in app.machines.gates] == [learned]


@given(st.integers(1, 5), st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=60))
def test_no_more_is_seen_than_runs(slots: int, steps: list[tuple[int, bool]]) -> None:
    """Whoever is heard, and whoever ends: calls that wait at the server are not taken for running."""
    calls, now, seen = list(range(slots + 1)), 0.0, SlotsSeen()  # of which the last one waits until another ends
    trial = SlotTrial(calls[-1], calls[:-1])
    for which, passes in steps:
        now += MIN_OVERLAP if passes else 0.0
        if which < slots and trial.hear(which, now):
            seen.side_by_side("A", trial.slots)

    assert trial.is_waiting
    assert seen.slots == {}


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_those_that_write_on_are_seen(gaps: list[float], rng: Any) -> None:
    """Once each of them was heard long enough after the newcomer's first word, and not before."""
    rivals = list(range(len(gaps)))
    trial = SlotTrial(-1, rivals)
    trial.hear(-1, 10.0)
    heard = [trial.hear(at, 10.0 + gaps[at]) for at in rng.sample(rivals, len(rivals))]

    assert heard[-1] == all(gap >= MIN_OVERLAP for gap in gaps)
    assert not any(heard[:-1])


@given(st.lists(st.booleans(), max_size=40))
def test_pauses_double_and_end_with_a_success(outcomes: list[bool]) -> None:
    seen, now, slots, failures = SlotsSeen(), 0.0, 1, 0
    for succeeds in outcomes:
        assert seen.may_try("A", slots, now)
        if succeeds and slots < MAX_SLOTS - 1:
            slots, failures = slots + 1, 0
            seen.side_by_side("A", slots)
        else:
            seen.not_seen("A", now)
            pause = min(FIRST_PAUSE * 2**failures, 640.0)
            failures += 1
            assert not seen.may_try("A", slots, now + pause - 0.001)
            now += pause
    assert seen.slots.get("A", 1) == slots
    assert not seen.may_try("A", MAX_SLOTS, now + 10_000)

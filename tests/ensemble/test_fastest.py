"""FASTEST: who is asked when, and who wins."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import AllProvidersFailed, BreakerOpen, Failed, Unreachable
from llm_pool.core.events import TextArrived
from llm_pool.core.interfaces import Member
from llm_pool.core.messages import Call, Delta, Prompt, Task
from llm_pool.ensemble.fastest import LOOKS, Fastest, by_readiness, shared_reserve
from llm_pool.testing import FakeProvider, RecordingObserver, Reply, ScriptedProvider, a_call, a_panel, scripted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from llm_pool.core.messages import Decision

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


class FixedBudget:
    """A budget with so many further attempts in it."""

    def __init__(self, attempts: int = 10) -> None:
        self.left = attempts

    def spend(self, now: float) -> bool:
        self.left -= 1
        return self.left >= 0


def fastest(*, budget: int = 10, hedge_after: float | None = 0.3, room: bool = True, doubtful: str = "") -> Fastest:
    return Fastest(
        SystemClock(),
        FixedBudget(budget),
        hedge_after=lambda member, call: hedge_after,
        has_room=lambda member: room,
        is_doubtful=lambda member, call: member.name == doubtful,
    )


async def race(strategy: Fastest, *providers: FakeProvider, group: str | None = None, **call: object) -> Decision:
    return await strategy.run(a_call(**call), a_panel(*providers, group=group), RecordingObserver().on)


async def test_a_quick_first_provider_is_asked_alone() -> None:
    """An answer before the hedge delay costs one call."""
    first, second = ScriptedProvider("first", Reply("a")), ScriptedProvider("second", Reply("b"))

    decision = await race(fastest(), first, second)

    assert decision.winner == "first"
    assert len(second.calls) == 0


async def test_a_late_first_token_brings_the_next_provider_in() -> None:
    """After the hedge delay the second is asked beside the first, and the loser is cancelled."""
    first = ScriptedProvider("first", Reply("a", ttft=5, duration=6))
    second = ScriptedProvider("second", Reply("b", ttft=0.1, duration=0.2))

    decision = await race(fastest(hedge_after=0.3), first, second)

    assert decision.winner == "second"
    assert [(a.provider, a.why, a.outcome) for a in decision.attempts] == [
        ("first", "primary", "cancelled"),
        ("second", "hedge", "ok"),
    ]
    assert decision.attempts[1].started == pytest.approx(0.3)
    assert first.cancelled == 1


async def test_a_long_answer_is_not_a_late_one() -> None:
    """Once the first has written, nobody else is asked, however long it goes on."""
    first = ScriptedProvider("first", Reply("a long story " * 20, ttft=0.2, duration=4))
    second = ScriptedProvider("second", Reply("b"))

    decision = await race(fastest(hedge_after=0.3), first, second)

    assert decision.winner == "first"
    assert len(second.calls) == 0


async def test_a_model_that_thinks_is_not_late() -> None:
    """It has been writing since the beginning, though not its answer."""
    first, calls = scripted("first")
    second = ScriptedProvider("second", Reply("b"))

    racing = asyncio.create_task(race(fastest(), first, second))
    call = await calls.next()
    for _ in range(20):
        call.think("hm ", after=0.25)
    call.reply("a")
    decision = await racing

    assert decision.winner == "first"
    assert len(second.calls) == 0


async def test_a_failure_starts_the_next_at_once() -> None:
    """No hedge delay is waited for after a failure."""
    first = ScriptedProvider("first", Reply.failing(Unreachable("first", "refused"), after=0.01))
    second = ScriptedProvider("second", Reply("b"))

    decision = await race(fastest(), first, second)

    assert decision.winner == "second"
    assert decision.attempts[1].started == pytest.approx(0.01)
    assert decision.attempts[1].why == "failover"


async def test_a_fast_answer_that_fails_the_schema_does_not_win() -> None:
    """The first *valid* answer wins."""
    sloppy = ScriptedProvider("sloppy", Reply('{"n": "many"}', duration=0.1))
    exact = ScriptedProvider("exact", Reply('{"n": 3}', duration=0.2))

    decision = await race(fastest(), sloppy, exact, schema=SCHEMA)

    assert decision.winner == "exact"
    assert decision.reading.value == {"n": 3}
    assert decision.attempts[0].outcome == "invalid"


async def test_no_hedge_into_a_machine_that_is_busy() -> None:
    """Members of one group share a machine: without a free slot a hedge would slow the first down."""
    first = ScriptedProvider("first", Reply("a", ttft=2, duration=3))
    second = ScriptedProvider("second", Reply("b"))

    decision = await race(fastest(room=False), first, second, group="desk")

    assert decision.winner == "first"
    assert len(second.calls) == 0


async def test_a_second_hedge_stays_off_the_machine_of_the_first_call() -> None:
    """Not only the latest call's machine is busy with this race."""
    hung = [ScriptedProvider(name, Reply.hanging()) for name in ("first", "second")]
    third = ScriptedProvider("third", Reply("c"))
    panel = [
        msgspec.structs.replace(member, group=group)
        for member, group in zip(a_panel(*hung, third), ("one", "two", "one"), strict=True)
    ]
    racing = asyncio.create_task(fastest(room=False).run(a_call(), panel, RecordingObserver().on))

    await asyncio.sleep(3)
    racing.cancel()
    await asyncio.gather(racing, return_exceptions=True)

    assert [len(p.calls) for p in (*hung, third)] == [1, 1, 0]


async def test_a_hedge_that_could_not_be_paid_is_tried_again() -> None:
    """The budget was spent when the first was late, and has recovered a second later."""
    first = ScriptedProvider("first", Reply.failing(Failed("first", "500"), after=5))
    second = ScriptedProvider("second", Reply("b"))
    fixed_budget = FixedBudget(0)
    strategy = Fastest(SystemClock(), fixed_budget, hedge_after=lambda m, c: 0.3, has_room=lambda m: True)
    racing = asyncio.create_task(race(strategy, first, second))
    await asyncio.sleep(1)
    fixed_budget.left = 1

    decision = await racing

    assert [(a.provider, a.why) for a in decision.attempts] == [("first", "primary"), ("second", "hedge")]
    assert 1.0 <= decision.attempts[1].started <= 1.0 + 0.3 / LOOKS
    assert len(decision.notes) == 1


async def test_a_hedge_goes_to_the_next_machine_that_has_room() -> None:
    """A busy group is passed over for a provider elsewhere."""
    first = ScriptedProvider("first", Reply("a", ttft=2, duration=3))
    neighbour = ScriptedProvider("neighbour", Reply("b"))
    elsewhere = ScriptedProvider("elsewhere", Reply("c"))
    panel = a_panel(first, neighbour, elsewhere)
    panel = [msgspec.structs.replace(m, group="desk" if m.rank < 2 else "shed") for m in panel]

    decision = await fastest(room=False).run(a_call(), panel, RecordingObserver().on)

    assert decision.winner == "elsewhere"
    assert len(neighbour.calls) == 0


async def test_an_exhausted_budget_never_fails_the_first_call() -> None:
    """Without budget there is no hedge, and the first still answers."""
    first = ScriptedProvider("first", Reply("a", ttft=2, duration=3))
    second = ScriptedProvider("second", Reply("b"))

    decision = await race(fastest(budget=0), first, second)

    assert decision.winner == "first"
    assert len(second.calls) == 0
    assert "budget" in decision.notes[0]


async def test_an_exhausted_budget_ends_the_failovers() -> None:
    """When all are ill, the next request does not multiply the load."""
    providers = [ScriptedProvider(name, Reply.failing(Failed(name, "500"))) for name in ("a", "b", "c")]

    with pytest.raises(AllProvidersFailed) as caught:
        await race(fastest(budget=1), *providers)

    assert [len(p.calls) for p in providers] == [1, 1, 0]
    assert [a.provider for a in caught.value.attempts] == ["a", "b"]


async def test_a_provider_behind_an_open_breaker_costs_no_budget() -> None:
    """A refused attempt never left the house: the next is still the first call."""
    dark = ScriptedProvider("dark", Reply.failing(BreakerOpen("dark", "open", retry_after=1)))
    good = ScriptedProvider("good", Reply("b"))

    decision = await race(fastest(budget=0), dark, good)

    assert decision.winner == "good"


async def test_without_hedging_a_late_first_is_waited_for() -> None:
    """``hedge = "off"``."""
    first = ScriptedProvider("first", Reply("a", ttft=20, duration=30))

    decision = await race(fastest(hedge_after=None), first, ScriptedProvider("second", Reply("b")))

    assert decision.winner == "first"


async def read_along(strategy: Fastest, *providers: FakeProvider) -> tuple[str, Decision]:
    """What the asker of a stream has read, and the decision."""
    seen = RecordingObserver()
    decision = await strategy.run(a_call(stream=True), a_panel(*providers), seen.on)
    return "".join(event.text for event in seen.of(TextArrived) if event.committed), decision


class Pieces(FakeProvider):
    """Writes these pieces, a tenth of a second each; a *stuck* one never ends."""

    def __init__(self, *pieces: str, stuck: bool = False) -> None:
        super().__init__("first", "first:mini")
        self._pieces, self._stuck = pieces, stuck

    async def _generate(self, _call: Call) -> AsyncGenerator[Delta]:
        for piece in self._pieces:
            await asyncio.sleep(0.1)
            yield Delta(piece)
        await asyncio.sleep(math.inf if self._stuck else 0.0)
        yield Delta(final=True, finish="stop")


STUCK = Reply("one two three", ttft=0.1, duration=100_000.0)


async def test_white_space_is_nobodys_answer() -> None:
    """Who writes that and no more has lost nothing that was read."""
    text, decision = await read_along(fastest(), Pieces("\n\n", stuck=True), ScriptedProvider("second", Reply("b c")))

    assert (text, decision.winner) == ("b c", "second")


async def test_the_white_space_before_an_answer_is_read_with_it() -> None:
    text, _ = await read_along(fastest(), Pieces("\n", " ", "a", " b"))

    assert text == "\n a b"


async def test_one_that_was_late_before_is_read_from_its_second_piece_on() -> None:
    """It stops after the first again, and another answers; one that goes on is read from its beginning."""
    first, second = ScriptedProvider("first", STUCK), ScriptedProvider("second", Reply("b c", ttft=0.1))
    text, decision = await read_along(fastest(doubtful="first"), first, second)
    well = ScriptedProvider("first", Reply("one two three", ttft=0.1, duration=0.5))
    whole, _ = await read_along(fastest(doubtful="first"), well, second)

    assert (text, decision.winner) == ("b c", "second")
    assert whole == "one two three"


async def test_a_single_piece_is_an_answer_once_it_ends() -> None:
    first, second = ScriptedProvider("first", Reply("one", ttft=0.1, duration=0.2)), ScriptedProvider("second", STUCK)

    text, decision = await read_along(fastest(doubtful="first"), first, second)

    assert (text, decision.winner) == ("one", "first")


async def test_where_nobody_else_could_be_asked_the_first_piece_is_read() -> None:
    """Doubts help nobody then."""
    seen = RecordingObserver()
    task = asyncio.create_task(
        fastest(doubtful="first").run(a_call(stream=True), a_panel(ScriptedProvider("first", STUCK)), seen.on)
    )
    await asyncio.sleep(1.0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert [event.committed for event in seen.of(TextArrived)] == [True]


async def test_a_stream_belongs_to_the_first_who_writes() -> None:
    """With somebody reading along, the first token decides; the other is cancelled at once, its text uncommitted."""
    first = ScriptedProvider("first", Reply("slow but sure", ttft=0.5, duration=0.6))
    second = ScriptedProvider("second", Reply("early and very long", ttft=0.1, duration=9))
    seen = RecordingObserver()

    decision = await fastest(hedge_after=0.3).run(a_call(stream=True), a_panel(first, second), seen.on)

    assert decision.winner == "second"
    assert first.cancelled == 1
    committed = "".join(e.text for e in seen.of(TextArrived) if e.committed)
    assert committed == "early and very long"


def member(name: str, rank: int, load_time: float = 0.0) -> Member:
    provider = ScriptedProvider(name, Reply(name))
    return Member(provider=provider, model=name, weight=1, group=name, rank=rank, load_time=load_time)


@pytest.mark.parametrize(
    ("left", "order"), [(60.0, "abc"), (8.0, "abc"), (7.9, "bac"), (4.0, "bac"), (1.5, "bac"), (0.0, "bac")]
)
def test_the_file_decides_as_long_as_the_model_can_be_had_in_time(left: float, order: str) -> None:
    """A load may take half of what is left; models that cannot be had stand behind the others, in the file's order."""
    panel = [member("c", 2, load_time=9.0), member("a", 0, load_time=4.0), member("b", 1)]

    assert "".join(member.name for member in by_readiness(panel, left)) == order


async def test_a_preferred_model_that_cannot_be_had_in_time_is_loaded_behind_the_scenes() -> None:
    """The second answers; the first is on its way for the next request."""
    behind: list[str] = []
    strategy = Fastest(
        SystemClock(),
        FixedBudget(9),
        hedge_after=lambda m, c: None,
        has_room=lambda m: True,
        load_behind=lambda member: behind.append(member.name),
    )
    now = asyncio.get_running_loop().time()

    soon = await strategy.run(
        a_call(deadline=now + 2.0), [member("a", 0, load_time=4.0), member("b", 1)], lambda _: None
    )
    later = await strategy.run(a_call(), [member("a", 0, load_time=4.0), member("b", 1)], lambda _: None)

    assert (soon.winner, later.winner, behind) == ("b", "a", ["a"])


async def test_an_answer_that_stops_half_way_is_overtaken() -> None:
    """It has written, and then nothing for far longer than before."""
    first = ScriptedProvider("first", Reply("one two three", ttft=0.1, duration=10_000.0))
    second = ScriptedProvider("second", Reply("b", ttft=0.1, duration=0.2))

    decision = await race(fastest(hedge_after=0.3), first, second)

    assert decision.winner == "second"
    assert decision.attempts[1].started == pytest.approx(0.6)
    assert first.cancelled == 1


async def test_a_hedge_leaves_itself_half_of_the_time() -> None:
    """Whatever the configured delay."""
    first, second = ScriptedProvider("first", Reply.hanging()), ScriptedProvider("second", Reply("b", ttft=0.1))
    deadline = asyncio.get_running_loop().time() + 0.3

    decision = await race(fastest(hedge_after=0.3), first, second, deadline=deadline)

    assert decision.attempts[1].started == pytest.approx(0.15)


async def test_replacing_a_suspect_costs_no_budget() -> None:
    """It is failover; two that are both well, or both silent, are speculation."""
    hung, good = ScriptedProvider("hung", Reply.hanging()), ScriptedProvider("good", Reply("b"))
    strategy = Fastest(
        SystemClock(),
        FixedBudget(0),
        hedge_after=lambda m, c: 0.3,
        has_room=lambda m: True,
        replaces=lambda late, other, _call: (late.name, other.name) == ("hung", "good"),
    )

    decision = await race(strategy, hung, good)

    assert [(a.provider, a.why) for a in decision.attempts] == [("hung", "primary"), ("good", "failover")]
    assert decision.attempts[1].started == pytest.approx(0.3)
    assert decision.notes == ()


async def test_room_that_comes_later_is_found() -> None:
    """The machine is busy when the hedge is due; a silent call gives its slot back a little later."""
    first, second = ScriptedProvider("first", Reply.hanging()), ScriptedProvider("second", Reply("b"))
    loop = asyncio.get_running_loop()
    freed = loop.time() + 0.4
    strategy = Fastest(
        SystemClock(), FixedBudget(1), hedge_after=lambda m, c: 0.3, has_room=lambda m: loop.time() >= freed
    )

    decision = await race(strategy, first, second, group="desk")

    assert decision.winner == "second"
    assert 0.4 <= decision.attempts[1].started <= 0.5


async def test_a_failover_has_half_of_what_remains_of_the_reserve_too() -> None:
    """The last resort's share is not kept from those who answer better; the first call does not draw on it."""
    providers = [ScriptedProvider(name, Reply.hanging()) for name in ("a", "b", "c")]
    now = asyncio.get_running_loop().time()
    strategy = fastest(hedge_after=0.8)

    racing = asyncio.create_task(race(strategy, *providers, began=now, deadline=now + 1.2, reserve=0.8))
    await asyncio.sleep(1.5)
    racing.cancel()
    await asyncio.gather(racing, return_exceptions=True)

    assert [p.calls[0].deadline - now for p in providers[:2]] == [pytest.approx(1.2), pytest.approx(0.6 + 0.7)]


@given(st.floats(0.0, 100.0), st.floats(0.0, 100.0), st.floats(0.0, 100.0))
def test_the_reserve_is_shared_and_never_exceeded(deadline: float, reserve: float, now: float) -> None:
    """At least half of what remains, no less than it had, and no more than there is."""
    asked = Call(
        request_id="r",
        task=Task(name="ask", template=""),
        input="",
        prompt=Prompt("", ""),
        schema=None,
        ids=(),
        max_tokens=1,
        temperature=0.0,
        began=0.0,
        deadline=deadline,
        reserve=reserve,
    )

    shared = shared_reserve(asked, now)

    end = deadline + reserve
    assert shared.deadline + shared.reserve == pytest.approx(end)
    assert shared.deadline >= deadline
    assert shared.reserve >= -1e-9 or now > end
    if reserve and now < end:
        assert shared.deadline - now >= (end - now) / 2 - 1e-9


def test_suspects_come_last() -> None:
    """After a model that cannot be had in time, even."""
    panel = [msgspec.structs.replace(member("a", 0), suspect=True), member("b", 1, load_time=4.0), member("c", 2)]

    assert [m.name for m in by_readiness(panel, 5.0)] == ["c", "b", "a"]


async def test_nothing_is_loaded_behind_the_scenes_for_a_suspect() -> None:
    """It would put out a model that answers for one that does not."""
    behind: list[str] = []
    strategy = Fastest(
        SystemClock(),
        FixedBudget(9),
        hedge_after=lambda m, c: None,
        has_room=lambda m: True,
        load_behind=lambda member: behind.append(member.name),
    )
    suspect = msgspec.structs.replace(member("a", 0, load_time=4.0), suspect=True)
    soon = asyncio.get_running_loop().time() + 2.0

    first = await strategy.run(a_call(deadline=soon), [suspect, member("b", 1)], lambda _: None)
    second = await strategy.run(
        a_call(deadline=soon), [suspect, member("b", 1, load_time=4.0), member("c", 2)], lambda _: None
    )

    assert (first.winner, second.winner, behind) == ("b", "c", ["b"])

"""Noting who is silent."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import Failed, ProviderError
from llm_pool.qos.concurrency_limit import ConcurrencyLimited
from llm_pool.qos.gate import Gate
from llm_pool.qos.latency import Latencies, LatencyKey
from llm_pool.qos.loaded_models import LoadedModels
from llm_pool.qos.patience import Patience
from llm_pool.qos.queueing import Limits
from llm_pool.qos.suspecting import Suspecting, Suspicions
from llm_pool.qos.timed import Timed
from llm_pool.testing import Reply, ScriptedProvider, a_call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llm_pool.core.messages import Call

    Ask = Callable[..., Awaitable[str]]

pytestmark = pytest.mark.anyio

READER = 4.0
"""Seconds after which another has answered, and the call is cancelled."""


class Case:
    """A provider whose silence is noted, for askers that wait a third of a second for a word."""

    def __init__(self, reply: Reply, **options: Any) -> None:
        clock, self.latencies = SystemClock(), Latencies()
        self.backend = ScriptedProvider("phi3", reply)
        self.patience = Patience(self.latencies, clock, hedge_after=0.3)
        self.suspicions = Suspicions(clock)
        timed = Timed(self.backend, self.latencies, clock)
        self.provider = Suspecting(timed, self.suspicions, clock, self.patience, **options)

    def is_suspect(self, call: Call) -> bool:
        return self.suspicions.is_suspect("phi3", call, self.patience)

    async def ask(self, ask: Ask, seconds: float, times: int = 1) -> None:
        for _ in range(times):
            with suppress(ProviderError, TimeoutError):
                async with asyncio.timeout(READER):
                    await ask(self.provider, within(seconds))


def within(seconds: float) -> Call:
    return a_call(deadline=asyncio.get_running_loop().time() + seconds)


@pytest.mark.parametrize("seconds", [0.3, 0.8, 1.5, 60.0])
@pytest.mark.parametrize(
    "reply",
    [
        Reply.hanging(),
        Reply("one word", ttft=0.02, duration=10_000.0),
        Reply("a word now and then", ttft=0.02, duration=300.0),
    ],
    ids=["hang", "stall", "trickle"],
)
async def test_three_calls_without_an_answer_make_a_suspect(ask: Ask, reply: Reply, seconds: float) -> None:
    """At any deadline; two do not."""
    case = Case(reply)

    await case.ask(ask, seconds, times=2)
    after_two = case.is_suspect(within(seconds))
    await case.ask(ask, seconds)

    assert (after_two, case.is_suspect(within(seconds))) == (False, True)


async def test_one_that_writes_too_slowly_for_the_deadline_is_asked_last(ask: Ask) -> None:
    """It is never silent, and never done; to an asker with a minute it is as good as any."""
    case = Case(Reply(" ".join(["word"] * 8), ttft=0.1, duration=2.0))
    await case.ask(ask, 1.5, times=3)

    assert case.is_suspect(within(1.5))
    assert not case.is_suspect(within(60.0))


async def test_it_is_known_when_a_hedge_is_due_and_not_at_the_deadline(ask: Ask) -> None:
    """So that those who come in the meantime ask another."""
    case = Case(Reply.hanging())
    asking = [asyncio.create_task(case.ask(ask, 60.0)) for _ in range(3)]

    await asyncio.sleep(0.29)
    before = case.is_suspect(within(60.0))
    await asyncio.sleep(0.02)

    assert (before, case.is_suspect(within(60.0))) == (False, True)
    for each in asking:
        each.cancel()
    await asyncio.gather(*asking, return_exceptions=True)


async def test_a_good_answer_clears(ask: Ask) -> None:
    """However late it came."""
    case = Case(Reply("blue", ttft=0.5, duration=0.6))
    await case.ask(ask, 60.0, times=9)

    assert not case.is_suspect(within(60.0))
    assert case.suspicions.is_clear("phi3", within(60.0))


async def test_one_that_is_always_slow_is_not_held_to_another_s_pace(ask: Ask) -> None:
    """Where two seconds are usual, two seconds are no silence, for eight that ask at once either."""
    case = Case(Reply("blue", ttft=2.0, duration=2.1))
    await case.ask(ask, 60.0, times=5)

    asking = [asyncio.create_task(case.ask(ask, 60.0)) for _ in range(8)]
    await asyncio.sleep(1.9)
    suspect, clear = case.is_suspect(within(60.0)), case.suspicions.is_clear("phi3", within(60.0))
    await asyncio.gather(*asking)

    assert (suspect, clear) == (False, True)


async def test_what_is_being_loaded_is_not_silent(ask: Ask) -> None:
    """Neither late nor not done."""
    case = Case(Reply.hanging(), is_excused=lambda _: True)
    await case.ask(ask, 1.5, times=5)

    assert case.suspicions.is_clear("phi3", within(1.5))


async def test_errors_and_calls_cut_short_are_no_silence(ask: Ask) -> None:
    """The first are for the breaker; the second prove nothing."""
    broken, left = Case(Reply.failing(Failed("phi3", "500"))), Case(Reply.hanging())

    await broken.ask(ask, 1.5, times=5)
    for _ in range(5):
        asking = asyncio.create_task(left.ask(ask, 60.0))
        await asyncio.sleep(0.2)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    assert broken.suspicions.is_clear("phi3", within(1.5))
    assert left.suspicions.is_clear("phi3", within(60.0))


async def test_an_impatient_asker_takes_no_backend_from_the_others(ask: Ask) -> None:
    """A backend that needs half a second is of no use to who has a fifth, and as good as ever to who has ten."""
    case = Case(Reply("blue", ttft=0.5, duration=0.6))
    await case.ask(ask, 0.2, times=20)

    assert case.is_suspect(within(0.2))
    assert not case.is_suspect(within(10.0))


async def test_a_reload_keeps_what_is_held_against_those_who_stay() -> None:
    """And forgets the others."""
    case, call = Case(Reply.hanging()), within(60.0)
    for name in ("phi3", "gone"):
        for _ in range(3):
            case.suspicions.of(name, call).late(9.0, asyncio.get_running_loop().time())

    kept = case.suspicions.subset({"phi3"})

    assert [kept.is_suspect(name, call, case.patience) for name in ("phi3", "gone")] == [True, False]


class TestPatience:
    """How long to wait for a word, by what it costs to be wrong."""

    @staticmethod
    def patience(ttft: float | None, *, samples: int = 40, adaptive: bool = False, censored: bool = False) -> Patience:
        clock, latencies = SystemClock(), Latencies()
        for _ in range(samples if ttft is not None else 0):
            latencies.add(LatencyKey("phi3", "ask", "ttft"), ttft or 0.0, clock.now(), censored=censored)
        return Patience(latencies, clock, hedge_after=0.3, adaptive=adaptive)

    async def test_a_hedge_is_due_as_configured_or_as_is_usual(self) -> None:
        """Never sooner than makes sense."""
        call = a_call()

        assert self.patience(2.0).before_hedge("phi3", call) == 0.3
        assert self.patience(2.0, adaptive=True).before_hedge("phi3", call) == pytest.approx(2.0, rel=0.06)
        assert self.patience(None, adaptive=True).before_hedge("phi3", call) == 0.3
        assert self.patience(0.001, adaptive=True).before_hedge("phi3", call) == 0.05

    async def test_silence_is_held_against_nobody_before_it_is_unusual(self) -> None:
        """A few answers tell what is usual; calls that were cut short do not."""
        call = a_call()

        assert self.patience(2.0, samples=4).before_suspicion("phi3", call) == 0.3
        assert self.patience(2.0, samples=5).before_suspicion("phi3", call) == pytest.approx(2.0, rel=0.06)
        assert self.patience(2.0, censored=True).before_suspicion("phi3", call) == 0.3

    async def test_a_slot_is_lent_later_where_nothing_is_known(self) -> None:
        """A second model on a busy machine slows the first down."""
        call = a_call()

        assert self.patience(None).before_overtaking("phi3", call) == 1.0
        assert self.patience(0.1).before_overtaking("phi3", call) == 0.3

    async def test_a_vote_is_waited_for_longer_unless_it_is_a_suspect_s(self) -> None:
        """Each vote that was given up makes the next wait longer, so that a slow one is heard in the end."""
        call = a_call()

        assert self.patience(None).before_deciding("phi3", call, suspect=False) == 1.0
        assert self.patience(1.0, samples=1, censored=True).before_deciding("phi3", call, suspect=False) > 2.8
        assert self.patience(9.0).before_deciding("phi3", call, suspect=True) == 0.3


@pytest.mark.parametrize(
    ("answered", "silent", "replaces"),
    [
        ([], [], False),  # a fresh pool: nobody is known to be better
        (["phi3"], [], False),  # the late one is the only one that is known to answer
        (["gemma2"], [], True),  # a pool whose first provider never answered
        (["gemma2", "phi3"], [], False),  # late this time
        (["gemma2", "phi3"], ["phi3"] * 2, False),
        (["gemma2", "phi3"], ["phi3"] * 3, True),  # a suspect
        ([], ["phi3"] * 3, True),
        (["gemma2", "phi3"], ["phi3", "phi3", "phi3", "gemma2"], False),  # both have been silent
        (["gemma2"], ["gemma2"], False),
    ],
)
async def test_what_is_failover_and_what_speculation(answered: list[str], silent: list[str], replaces: bool) -> None:
    """Gemma2 in the place of phi3, which is late."""
    clock, call = SystemClock(), within(1.5)
    suspicions = Suspicions(clock)
    for name in answered:
        suspicions.of(name, call).good()
    for name in silent:
        suspicions.of(name, call).late(1.0, clock.now())

    patience = Patience(Latencies(), clock, hedge_after=0.3)

    assert suspicions.may_replace("phi3", "gemma2", call, patience) is replaces


class Crowd:
    """Askers of one machine with one slot, who have three seconds each."""

    def __init__(self, reply: Reply) -> None:
        clock = SystemClock()
        self.patience, self.suspicions = Patience(Latencies(), clock, hedge_after=0.3), Suspicions(clock)
        gate = Gate("box", Limits(slots=1), clock, LoadedModels(clock))
        options: dict[str, Any] = {"patience": self.patience, "suspicions": self.suspicions}
        self.provider = ConcurrencyLimited(ScriptedProvider("phi3", reply), gate, "phi3", lambda _: None, **options)
        self.other = ConcurrencyLimited(ScriptedProvider("gemma2", reply), gate, "gemma2", lambda _: None, **options)

    async def wait(self, ask: Ask, *providers: Any, seconds: float) -> None:
        asking = [asyncio.create_task(ask(provider, within(3.0))) for provider in providers]
        await asyncio.sleep(seconds)
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def test_those_who_wait_behind_a_silent_call_hear_nothing_either(ask: Ask) -> None:
    """Four at once on a machine with one slot: one call would be little proof, and it is all the machine takes."""
    crowd = Crowd(Reply.hanging())
    await crowd.wait(ask, *[crowd.provider] * 4, seconds=0.4)

    assert crowd.suspicions.is_suspect("phi3", within(3.0), crowd.patience)


async def test_those_who_wait_behind_one_that_writes_are_patient(ask: Ask) -> None:
    """The machine is busy, not silent."""
    crowd = Crowd(Reply("word " * 100, ttft=0.1, duration=2.9))
    await crowd.wait(ask, *[crowd.provider] * 4, seconds=2.5)

    assert crowd.suspicions.is_clear("phi3", within(3.0))


async def test_another_model_s_silence_is_not_held_against_one_that_waits(ask: Ask) -> None:
    """It is held against the one that is silent, by the call itself."""
    crowd = Crowd(Reply.hanging())
    await crowd.wait(ask, crowd.provider, *[crowd.other] * 4, seconds=2.5)

    assert crowd.suspicions.is_clear("gemma2", within(3.0))


async def test_not_answered_in_all_its_time_waiting_included(ask: Ask) -> None:
    """The calls ahead write, and take all the time there is."""
    crowd = Crowd(Reply("word " * 100, ttft=0.1, duration=3.4))
    await crowd.wait(ask, *[crowd.provider] * 4, seconds=3.1)

    assert crowd.suspicions.is_suspect("phi3", within(3.0), crowd.patience)

"""Leaving an ill backend alone, and telling so."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from random import Random
from typing import TYPE_CHECKING

import pytest

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import (
    BadReply,
    BreakerOpen,
    Busy,
    Failed,
    Loading,
    OutOfTime,
    ProviderError,
    QueueFull,
    Rejected,
    TimedOut,
    Unreachable,
)
from llm_pool.core.events import BreakerChanged
from llm_pool.core.messages import Task
from llm_pool.qos.breaker import Rules, State
from llm_pool.qos.breaking import Breakers, Breaking
from llm_pool.testing import RecordingObserver, Reply, ScriptedProvider, a_call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Ask = Callable[..., Awaitable[str]]

pytestmark = pytest.mark.anyio

RULES = Rules(cooldown=10.0, max_cooldown=40.0, jitter=0.0)
ILL = Reply.failing(Failed("phi3", "500"))


class Case:
    """A provider behind a breaker."""

    def __init__(self, replies: Reply | Sequence[Reply], *, has_alternative: bool = True) -> None:
        self.seen = RecordingObserver()
        self.breakers = Breakers(RULES, SystemClock(), Random(1), self.seen.on)
        self.backend = ScriptedProvider("phi3", replies)
        self.provider = Breaking(self.backend, self.breakers, lambda _: has_alternative)

    @property
    def state(self) -> State:
        return self.breakers.states()["phi3", "ask"]


async def failing(ask: Ask, provider: Breaking, times: int) -> None:
    for _ in range(times):
        with pytest.raises(ProviderError):
            await ask(provider)


async def test_five_failures_open_and_the_backend_is_left_alone(ask: Ask) -> None:
    """The sixth call does not reach it, and says when to come back."""
    case = Case(ILL)
    await failing(ask, case.provider, 5)

    with pytest.raises(BreakerOpen) as caught:
        await ask(case.provider)

    assert len(case.backend.calls) == 5
    assert caught.value.retry_after == pytest.approx(10.0)
    assert str(caught.value) == "breaker open for task 'ask': next try in 10.0 s"


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Unreachable("phi3", "refused"), State.OPEN),
        (TimedOut("phi3", "slow"), State.OPEN),
        (Failed("phi3", "500"), State.OPEN),
        (OutOfTime("phi3", "hurry"), State.CLOSED),
        (Rejected("phi3", "400"), State.CLOSED),
        (BadReply("phi3", "garbage"), State.CLOSED),
        (Busy("phi3", "429"), State.CLOSED),
        (QueueFull("phi3", "full"), State.CLOSED),
    ],
)
async def test_only_illness_trips(ask: Ask, error: ProviderError, state: State) -> None:
    """R9: connect, reset, timeout and 5xx count; refused, wrong and busy do not, however often."""
    case = Case(Reply.failing(error))

    await failing(ask, case.provider, 5)

    assert case.state is state


async def test_a_loading_model_is_nobodys_fault_and_makes_nothing_rest(ask: Ask) -> None:
    """Each asker waits for it himself: the next one is not sent away."""
    loading = Reply.failing(Loading("phi3", "503: Loading model", retry_after=4.0))
    case = Case([*[loading] * 20, Reply("blue")])

    for _ in range(20):
        with pytest.raises(Loading):
            await ask(case.provider)

    assert await ask(case.provider) == "blue"


async def test_retry_after_rests_without_tripping(ask: Ask) -> None:
    """R9: until the time is over nobody asks, then everybody does."""
    case = Case([Reply.failing(Busy("phi3", "503", retry_after=4.0)), Reply("blue")])
    await failing(ask, case.provider, 1)

    with pytest.raises(Busy) as caught:
        await ask(case.provider)
    await asyncio.sleep(4)

    assert caught.value.retry_after == pytest.approx(4.0)
    assert case.state is State.CLOSED
    assert await ask(case.provider) == "blue"


async def test_a_breaker_for_each_task(ask: Ask) -> None:
    """A model that fails at one task still serves another."""
    case = Case([ILL] * 5 + [Reply("blue")])
    await failing(ask, case.provider, 5)
    other = Task(name="judge", template="")

    assert await ask(case.provider, a_call(task=other)) == "blue"


async def test_the_last_provider_is_never_dark(ask: Ask) -> None:
    """With nobody else to ask an open breaker lets calls through, and the first good answer closes it."""
    case = Case([ILL] * 7 + [Reply("blue")], has_alternative=False)
    await failing(ask, case.provider, 7)
    assert case.state is State.OPEN

    assert await ask(case.provider) == "blue"
    assert case.state is State.CLOSED


async def test_one_probe_after_the_cooldown(ask: Ask) -> None:
    """Ten come at once, one is asked, its answer lets all through."""
    case = Case([ILL] * 5 + [Reply("blue", ttft=1.0, duration=2.0)])
    await failing(ask, case.provider, 5)
    await asyncio.sleep(10)

    results = await asyncio.gather(*(ask(case.provider) for _ in range(10)), return_exceptions=True)

    assert len(case.backend.calls) == 6
    assert [type(each) for each in results] == [str] + [BreakerOpen] * 9
    assert await ask(case.provider) == "blue"


async def test_a_hung_probe_does_not_hold_the_breaker(ask: Ask) -> None:
    """After its lease it has failed, and the next probe may go after the next cooldown."""
    case = Case([ILL] * 5 + [Reply.hanging(), Reply("blue")])
    await failing(ask, case.provider, 5)
    await asyncio.sleep(10)
    hung = asyncio.create_task(ask(case.provider, a_call(deadline=asyncio.get_running_loop().time() + 9999)))

    await asyncio.sleep(31)
    state_after_lease = case.state
    await asyncio.sleep(20)

    assert state_after_lease is State.OPEN
    assert await ask(case.provider) == "blue"
    hung.cancel()


async def test_a_cancelled_probe_makes_room(ask: Ask) -> None:
    """A loser of a race proves nothing: the next caller probes."""
    case = Case([ILL] * 5 + [Reply.hanging(), Reply("blue")])
    await failing(ask, case.provider, 5)
    await asyncio.sleep(10)
    probe = asyncio.create_task(ask(case.provider))
    await asyncio.sleep(1)
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)

    assert await ask(case.provider) == "blue"


async def test_a_reader_that_leaves_a_good_stream_counts_for_the_backend(ask: Ask) -> None:
    """It was writing when the reader left: the probe succeeded."""
    case = Case([ILL] * 5 + [Reply("a b c d", ttft=1.0, duration=9.0)])
    await failing(ask, case.provider, 5)
    await asyncio.sleep(10)

    async with aclosing(case.provider.stream(a_call())) as deltas:
        await anext(deltas)

    assert case.state is State.CLOSED


async def test_cancelled_silences_count_where_they_are_blamed(ask: Ask) -> None:
    """A black hole whose hedges always win is found out, and a slow reader of a good stream blames nobody."""
    case = Case([Reply("a b", ttft=0.1, duration=99.0), Reply.hanging()])
    case.provider = Breaking(
        case.backend, case.breakers, lambda _: True, is_backend_fault=lambda _call, silent: silent >= 2.0
    )

    for patience in [9.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]:
        asking = asyncio.create_task(ask(case.provider))
        await asyncio.sleep(patience)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    before = case.state
    async with asyncio.timeout(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await ask(case.provider)

    assert (before, case.state) == (State.CLOSED, State.OPEN)


async def test_every_move_is_told(ask: Ask) -> None:
    """Closed, open, half-open, closed, each once."""
    case = Case([ILL] * 5 + [Reply("blue")])
    await failing(ask, case.provider, 5)
    await asyncio.sleep(10)
    case.breakers.refusal("phi3", "ask")
    case.breakers.refusal("phi3", "ask")
    await ask(case.provider)

    assert [(e.before, e.after) for e in case.seen.of(BreakerChanged)] == [
        ("closed", "open"),
        ("open", "half-open"),
        ("half-open", "closed"),
    ]


async def test_a_stranger_is_not_refused() -> None:
    """Who was never asked has a closed breaker, and looking at it makes none."""
    case = Case(Reply("blue"))

    assert case.breakers.refusal("nobody", "ask") is None
    assert case.breakers.states() == {}

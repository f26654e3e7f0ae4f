"""An attempt's time: limited, and written down."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import Failed, OutOfTime, TimedOut
from llm_pool.qos.latency import Latencies, LatencyKey
from llm_pool.qos.timed import Timed
from llm_pool.testing import Reply, ScriptedProvider, a_call, scripted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from llm_pool.qos.latency import LatencyKind

    Ask = Callable[..., Awaitable[str]]

pytestmark = pytest.mark.anyio


def timed(reply: Reply, **options: Any) -> tuple[Timed, ScriptedProvider, Latencies]:
    backend, latencies = ScriptedProvider("phi3", reply), Latencies()
    return Timed(backend, latencies, SystemClock(), **options), backend, latencies


def median(latencies: Latencies, what: LatencyKind) -> float | None:
    return latencies.quantile(LatencyKey("phi3", "ask", what), 0.5, asyncio.get_running_loop().time(), min_samples=1)


async def test_the_providers_timeout_counts_against_the_provider(ask: Ask) -> None:
    """A hanging backend is cut off at its own limit, closed, and the error trips breakers."""
    provider, backend, _ = timed(Reply.hanging(), timeout=5.0)
    began = asyncio.get_running_loop().time()

    with pytest.raises(TimedOut) as caught:
        await ask(provider)

    assert caught.value.trips_breaker
    assert asyncio.get_running_loop().time() - began == pytest.approx(5.0)
    assert (backend.in_flight, backend.cancelled) == (0, 1)


async def test_an_impatient_askers_deadline_does_not(ask: Ask) -> None:
    """Half a second is no fair chance: the attempt ends a hair before the deadline, and nobody is blamed."""
    provider, _, _ = timed(Reply.hanging(), timeout=5.0)
    began = asyncio.get_running_loop().time()

    with pytest.raises(OutOfTime) as caught:
        await ask(provider, a_call(deadline=began + 0.5))

    assert not caught.value.trips_breaker
    assert began + 0.48 < asyncio.get_running_loop().time() < began + 0.5


async def test_no_word_in_a_fair_time_counts_whoever_set_the_limit(ask: Ask) -> None:
    """Silent for three times as long as 95 of 100 answers take to begin, or for a second where that is unknown."""
    provider, _, latencies = timed(Reply.hanging())
    now = asyncio.get_running_loop().time()
    for _ in range(40):
        latencies.add(LatencyKey("phi3", "ask", "ttft"), 0.2, now)

    with pytest.raises(TimedOut) as known_short:
        await ask(provider, a_call(timeout=0.5))
    with pytest.raises(TimedOut) as known_long:
        await ask(provider, a_call(timeout=0.7))
    provider.name = "stranger"
    with pytest.raises(TimedOut) as unknown_short:
        await ask(provider, a_call(timeout=0.9))
    with pytest.raises(TimedOut) as unknown_long:
        await ask(provider, a_call(timeout=1.1))

    assert [type(each.value) for each in (known_short, known_long)] == [OutOfTime, TimedOut]
    assert [type(each.value) for each in (unknown_short, unknown_long)] == [OutOfTime, TimedOut]


async def test_a_cancelled_silence_is_blamed_only_where_the_usual_time_is_known(ask: Ask) -> None:
    """A slow stranger that loses every race is not ill; a known one that has gone silent is."""
    known, _, latencies = timed(Reply("blue"))
    stranger, _, _ = timed(Reply("blue"))
    for _ in range(40):
        latencies.add(LatencyKey("phi3", "ask", "ttft"), 0.2, asyncio.get_running_loop().time())

    assert not stranger.is_backend_fault(a_call(), 1000.0)
    assert not known.is_backend_fault(a_call(), 0.5)
    assert known.is_backend_fault(a_call(), 0.7)


async def test_what_was_cancelled_does_not_raise_what_is_usual(ask: Ask) -> None:
    """Otherwise a black hole would excuse itself: each cancelled silence would make silence more usual."""
    known, _, latencies = timed(Reply("blue"))
    for at in range(80):
        latencies.add(LatencyKey("phi3", "ask", "ttft"), 0.2, asyncio.get_running_loop().time(), censored=at % 2 == 0)

    assert known.is_backend_fault(a_call(), 0.7)


async def test_a_model_that_is_being_loaded_is_not_ill(ask: Ask) -> None:
    """R9: warming is not failing; the time waited is a lower bound of the load, not of the first token."""
    provider, _, latencies = timed(Reply.hanging(), is_loading=lambda: True)

    with pytest.raises(OutOfTime):
        await ask(provider, a_call(timeout=3.0))

    assert median(latencies, "load") == pytest.approx(3.0, rel=0.06)
    assert median(latencies, "ttft") is None


async def test_a_long_answer_that_the_deadline_cuts_is_not_ill(ask: Ask) -> None:
    """It was writing: the first token was in time, only the whole was not."""
    provider, _, latencies = timed(Reply("a b c d e f g h", ttft=0.2, duration=60.0))

    with pytest.raises(OutOfTime):
        await ask(provider, a_call(timeout=5.0))

    assert median(latencies, "ttft") == pytest.approx(0.2, rel=0.06)
    assert median(latencies, "total") == pytest.approx(5.0, rel=0.06)


async def test_a_trickle_does_not_outlive_the_limit(ask: Ask) -> None:
    """A delta now and then does not start the time anew."""
    provider, _, _ = timed(Reply("a b c d e f g h", ttft=1.0, duration=80.0), timeout=12.0)
    began = asyncio.get_running_loop().time()

    with pytest.raises(TimedOut):
        await ask(provider)

    assert asyncio.get_running_loop().time() - began == pytest.approx(12.0)


async def test_who_has_no_time_left_asks_nobody(ask: Ask) -> None:
    """R2: an expired call costs the backend nothing."""
    provider, backend, _ = timed(Reply("blue"))

    with pytest.raises(OutOfTime):
        await ask(provider, a_call(deadline=asyncio.get_running_loop().time()))

    assert backend.calls == []


async def test_load_time_is_a_record_of_its_own(ask: Ask) -> None:
    """Six seconds, five of them loading: the model answers in one."""
    provider, _, latencies = timed(Reply("blue", ttft=5.5, duration=6.0, loading=5.0))

    await ask(provider)

    assert median(latencies, "load") == pytest.approx(5.0, rel=0.06)
    assert median(latencies, "ttft") == pytest.approx(0.5, rel=0.06)
    assert median(latencies, "total") == pytest.approx(1.0, rel=0.06)


async def test_the_few_milliseconds_ollama_always_reports_are_no_load(ask: Ask) -> None:
    """Only a real load is recorded as one."""
    provider, _, latencies = timed(Reply("blue", loading=0.02))

    await ask(provider)

    assert median(latencies, "load") is None


async def test_a_cancelled_loser_leaves_a_lower_bound() -> None:
    """Closed after two silent seconds: at least two seconds, for the first token and for the whole."""
    provider, _, latencies = timed(Reply.hanging())

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2.0), aclosing(provider.stream(a_call())) as deltas:
            await anext(deltas)

    assert median(latencies, "ttft") == pytest.approx(2.0, rel=0.06)
    assert median(latencies, "total") == pytest.approx(2.0, rel=0.06)


async def test_a_reader_that_leaves_after_the_end_cuts_nothing() -> None:
    """The final delta has told the time already."""
    provider, _, latencies = timed(Reply("blue", ttft=0.1, duration=1.0))

    async with aclosing(provider.stream(a_call())) as deltas:
        async for delta in deltas:
            if delta.final:
                await asyncio.sleep(30)
                break

    assert median(latencies, "total") == pytest.approx(1.0, rel=0.06)


async def test_a_slow_reader_is_not_the_backends_fault(ask: Ask) -> None:
    """The limit never fires in the reader's own code between two deltas."""
    provider, calls = scripted()
    reading = Timed(provider, Latencies(), SystemClock(), timeout=2.0).stream(a_call())
    first = asyncio.ensure_future(anext(reading))
    received = await calls.next()
    received.delta("blue")
    await first

    await asyncio.sleep(10)
    received.reply(" sky")
    rest = [delta.text async for delta in reading]

    assert rest == [" sky", ""]


async def test_a_failure_is_no_latency(ask: Ask) -> None:
    """A backend that breaks fast must not look fast."""
    provider, _, latencies = timed(Reply.failing(Failed("phi3", "500"), after=0.01))

    with pytest.raises(Failed):
        await ask(provider)

    assert median(latencies, "ttft") is None
    assert median(latencies, "total") is None


async def test_the_first_thought_counts_as_the_first_token(ask: Ask) -> None:
    """The time that decides on hedges is that to the first sign of life."""
    backend, calls = scripted("phi3")
    latencies = Latencies()
    asking = asyncio.create_task(ask(Timed(backend, latencies, SystemClock())))
    call = await calls.next()

    call.think("hm", after=0.5)
    call.reply("blue", after=2.0)
    await asking

    assert median(latencies, "ttft") == pytest.approx(0.5, rel=0.05)
    assert median(latencies, "total") == pytest.approx(2.5, rel=0.05)

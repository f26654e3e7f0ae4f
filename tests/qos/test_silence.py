"""How long a call has said nothing, and when that is too long."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.qos.silence import GAP_FACTOR, MIN_GAP, PACE_FACTOR, QueuedSilence, Silence, Watch

SECONDS = st.floats(0.001, 100.0)


def test_before_the_first_word_patience_alone_counts() -> None:
    """A call of ten seconds, and an asker that waits a third of one."""
    silence = Silence(100.0, 110.0)

    assert silence.late_at(0.3) == pytest.approx(100.3)


def test_half_of_the_time_is_left_to_another() -> None:
    """However patient the asker, and again after each word."""
    silence = Silence(100.0, 100.3)
    before = silence.late_at(1.0)
    silence.hear(100.02)

    assert (before, silence.late_at(1.0)) == (pytest.approx(100.15), pytest.approx(100.16))


def test_a_slow_writer_is_measured_by_its_own_pace() -> None:
    """Two seconds a token is slow; five seconds of silence from it are no reason to worry, seven are."""
    silence = Silence(100.0, 200.0)
    for word in (102.0, 104.0, 106.0):
        silence.hear(word)

    assert silence.late_at(0.3) == pytest.approx(106.0 + 2.0 * GAP_FACTOR)


def test_a_quick_writer_that_stops_is_late_soon() -> None:
    """No sooner than after ``MIN_GAP``: a slow processor may take that long a token."""
    silence = Silence(100.0, 200.0)
    silence.hear(100.02)

    assert silence.late_at(0.1) == pytest.approx(100.02 + MIN_GAP)


def test_endless_patience_is_never_disappointed() -> None:
    """For those whose silence means nothing."""
    assert Silence(100.0, 100.1).late_at(math.inf) == math.inf


@given(gaps=st.lists(SECONDS, max_size=8), patience=SECONDS, span=SECONDS)
def test_a_sign_of_life_never_makes_a_call_late_sooner(gaps: list[float], patience: float, span: float) -> None:
    """Nor later than half of what was left, unless that is its pace."""
    now, deadline = 100.0, 100.0 + span
    silence = Silence(now, deadline)
    for gap in gaps:
        now += gap
        silence.hear(now)
        late_at, half = silence.late_at(patience), max(0.0, deadline - now) / 2

        assert late_at >= now
        assert late_at <= now + max(half, PACE_FACTOR * max(gaps)) + 1e-9
        assert late_at >= now + min(patience, half) - 1e-9


def test_a_call_that_keeps_its_pace_is_not_late_for_being_near_its_end() -> None:
    """A word every quarter of a second, until there is no time left."""
    silence = Silence(100.0, 101.5)
    for number in range(1, 6):
        silence.hear(100.0 + 0.25 * number)

        assert silence.late_at(0.3) > 100.0 + 0.25 * (number + 1)


@pytest.mark.anyio
async def test_it_is_told_once_when_a_call_is_late() -> None:
    """At the instant, with the seconds of silence; words in between put it off."""
    loop, told = asyncio.get_running_loop(), list[tuple[float, float]]()
    began = loop.time()
    silence = Silence(began, began + 100.0)

    with Watch(silence, lambda: 1.0, lambda silent: told.append((loop.time() - began, silent)), soonest=0.5):
        await asyncio.sleep(0.8)
        silence.hear(loop.time())
        await asyncio.sleep(10)

    assert told == [(pytest.approx(0.8 + 2.4), pytest.approx(2.4))]


@pytest.mark.anyio
async def test_nothing_is_told_after_the_block() -> None:
    """The timer goes with it."""
    loop, told = asyncio.get_running_loop(), list[float]()

    with Watch(Silence(loop.time(), loop.time() + 9.0), lambda: 1.0, told.append, soonest=1.0):
        await asyncio.sleep(0.9)
    await asyncio.sleep(9)

    assert told == []


@pytest.mark.anyio
async def test_an_excused_silence_is_looked_at_again() -> None:
    """While a model is loaded; the silence counts from its beginning when the excuse is gone."""
    loop, told = asyncio.get_running_loop(), list[float]()
    began = loop.time()

    with Watch(
        Silence(began, began + 100.0), lambda: 1.0, told.append, soonest=1.0, excused=lambda: loop.time() < began + 4.5
    ):
        await asyncio.sleep(20)

    assert told == [pytest.approx(5.0)]


def test_a_call_in_a_queue_is_as_silent_as_those_ahead() -> None:
    """Late when the last of them is, and when it has waited as long itself; a word ahead is a sign of life."""
    ahead = [Silence(100.0, 200.0), Silence(100.5, 200.0)]
    queued = QueuedSilence(Silence(100.2, 200.0), lambda: ahead)

    before = queued.heard_at, queued.late_at(1.0)
    ahead[0].hear(102.0)

    assert before == (100.5, 101.5)
    assert (queued.heard_at, queued.late_at(1.0)) == (102.0, ahead[0].late_at(1.0))
    assert QueuedSilence(Silence(105.0, 200.0), lambda: ahead[1:]).late_at(1.0) == 106.0


@pytest.mark.anyio
async def test_who_waits_for_something_else_is_never_silent() -> None:
    """For a load, or for another model; it is looked at again, as that may change."""
    loop, told, ahead = asyncio.get_running_loop(), list[float](), list[Silence]()
    began = loop.time()
    queued = QueuedSilence(Silence(began, began + 100.0), lambda: ahead)

    assert queued.late_at(1.0) == math.inf
    with Watch(queued, lambda: 1.0, told.append, soonest=1.0):
        await asyncio.sleep(5.5)
        ahead.append(Silence(loop.time(), began + 100.0))
        await asyncio.sleep(20)

    assert told == [pytest.approx(1.0)]

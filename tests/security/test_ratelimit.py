"""The rule behind every limiter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.security.ratelimit import Rate, charge, take

RATES = st.builds(Rate, per_second=st.floats(0.01, 1000), burst=st.integers(1, 100).map(float))


@given(RATES, st.lists(st.floats(0, 5), max_size=60))
def test_no_stretch_of_time_holds_more_than_rate_and_burst(rate: Rate, gaps: list[float]) -> None:
    """Between any two moments at most ``burst + rate * time`` is given."""
    now, paid, taken = 0.0, 0.0, []

    for gap in gaps:
        now += gap
        paid, verdict = take(paid, rate, 1.0, now)
        if verdict.allowed:
            taken.append(now)

    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= rate.burst + rate.per_second * (taken[last] - start) + 1e-3


@given(RATES, st.floats(0.1, 20), st.floats(0, 100))
def test_the_time_to_wait_is_exact(rate: Rate, cost: float, debt: float) -> None:
    """A moment before it is too early, and at that moment it is there, if nobody else takes it."""
    cost = min(cost, rate.burst)
    paid = charge(0.0, rate, debt + rate.burst, 0.0)
    paid, refused = take(paid, rate, cost, 0.0)

    assert not refused.allowed
    assert take(paid, rate, cost, refused.retry_after)[1].allowed
    if refused.retry_after > 1e-3:
        assert not take(paid, rate, cost, refused.retry_after - 1e-3)[1].allowed


@given(RATES, st.floats(0, 1e9))
def test_who_was_silent_long_enough_has_the_whole_burst_and_not_more(rate: Rate, now: float) -> None:
    """Silence is not saved up."""
    paid, allowed = float("-inf"), 0

    for _ in range(int(rate.burst) + 3):
        paid, verdict = take(paid, rate, 1.0, now)
        allowed += verdict.allowed

    assert allowed == pytest.approx(rate.burst, abs=1 + now * rate.per_second * 1e-15)


@given(RATES, st.floats(0, 100), st.floats(0, 50))
def test_a_refusal_takes_nothing(rate: Rate, before: float, now: float) -> None:
    """Whoever knocks too often does not wait longer for it."""
    paid, verdict = take(before, rate, rate.burst + 1, now)

    assert not verdict.allowed
    assert paid == max(before, now)

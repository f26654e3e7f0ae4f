"""The latency record against values whose quantiles are known."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.qos.latency import MAX_WINDOW_AGE, MIN_SAMPLES, WINDOW, Latencies, LatencyKey

KEY = LatencyKey("phi3", "ask", "ttft")


def recorded(values: list[float], now: float = 0.0) -> Latencies:
    latencies = Latencies()
    for value in values:
        latencies.add(KEY, value, now)
    return latencies


@pytest.mark.parametrize("q", [0.5, 0.9, 0.95, 0.99])
def test_a_quantile_is_right_to_five_percent(q: float) -> None:
    """Ten thousand draws from a heavy tail, compared with sorting them."""
    rng = Random(3)
    values = [rng.lognormvariate(0, 1) for _ in range(10_000)]

    found = recorded(values).quantile(KEY, q, 0.0)

    assert found == pytest.approx(sorted(values)[int(q * len(values))], rel=0.06)


def test_fewer_than_thirty_samples_say_nothing() -> None:
    """Unless the caller asks for less; unknown keys never say anything."""
    few = recorded([1.0] * (MIN_SAMPLES - 1))

    assert few.quantile(KEY, 0.5, 0.0) is None
    assert few.quantile(KEY, 0.5, 0.0, min_samples=1) == pytest.approx(1.0, rel=0.06)
    assert few.quantile(LatencyKey("phi3", "ask", "load"), 0.5, 0.0, min_samples=0) is None


def test_cancelled_losers_do_not_pull_the_delay_down() -> None:
    """
    A tenth of the calls takes 10 s and is cancelled at 1 s, as a hedge would.

    The 95th percentile stays at the bound instead of falling to the fast calls' 0.1 s.
    """
    latencies = recorded([0.1] * 90)
    for _ in range(10):
        latencies.add(KEY, 1.0, 0.0, censored=True)

    assert latencies.quantile(KEY, 0.95, 0.0) == pytest.approx(1.0, rel=0.06)
    assert latencies.quantile(KEY, 0.5, 0.0) == pytest.approx(0.1, rel=0.06)


def test_the_estimate_is_kaplan_and_meiers() -> None:
    """Early cuts leave the risk set: of 60 calls 20 are cut at 1 s, 20 end at 2 s, 20 at 4 s; the median is 2 s."""
    latencies = recorded([2.0] * 20 + [4.0] * 20)
    for _ in range(20):
        latencies.add(KEY, 1.0, 0.0, censored=True)

    assert latencies.quantile(KEY, 0.49, 0.0) == pytest.approx(2.0, rel=0.06)
    assert latencies.quantile(KEY, 0.51, 0.0) == pytest.approx(4.0, rel=0.06)


def test_only_bounds_give_a_bound() -> None:
    """A black hole that was never waited out: at least as long as anybody waited."""
    latencies = Latencies()
    for waited in [0.3] * 29 + [2.0]:
        latencies.add(KEY, waited, 0.0, censored=True)

    assert latencies.quantile(KEY, 0.5, 0.0) == pytest.approx(2.0, rel=0.06)


def test_ended_only_leaves_out_what_was_cut() -> None:
    """Bounds count neither in the answer nor among the samples it needs."""
    latencies = recorded([0.1] * 40)
    for _ in range(60):
        latencies.add(KEY, 9.0, 0.0, censored=True)

    assert latencies.quantile(KEY, 0.95, 0.0, exclude_censored=True) == pytest.approx(0.1, rel=0.06)
    assert latencies.quantile(KEY, 0.95, 0.0, exclude_censored=True, min_samples=41) is None


def test_a_busy_record_forgets_after_two_windows() -> None:
    """When the backend becomes faster, the quantile follows within a minute."""
    latencies = recorded([5.0] * 100, now=0.0)

    for second in (WINDOW, 2 * WINDOW):
        for _ in range(100):
            latencies.add(KEY, 0.1, second)

    assert latencies.quantile(KEY, 0.99, 2 * WINDOW) == pytest.approx(0.1, rel=0.06)


def test_a_quiet_record_keeps_what_it_knows_until_it_is_stale() -> None:
    """One call every ten seconds still makes a quantile; after a long silence there is none."""
    latencies = Latencies()
    for n in range(MIN_SAMPLES):
        latencies.add(KEY, 0.5, n * 10.0)

    assert latencies.quantile(KEY, 0.95, 300.0) == pytest.approx(0.5, rel=0.06)
    assert latencies.quantile(KEY, 0.95, 299.0 + MAX_WINDOW_AGE) == pytest.approx(0.5, rel=0.06)
    assert latencies.quantile(KEY, 0.95, 300.0 + MAX_WINDOW_AGE) is None


def test_a_clock_that_steps_back_loses_nothing() -> None:
    """R22: the samples stay, and the window turns again when it is due."""
    latencies = recorded([0.5] * 40, now=3600.0)

    latencies.add(KEY, 0.5, 0.0)

    assert latencies.quantile(KEY, 0.5, 1.0) == pytest.approx(0.5, rel=0.06)


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.booleans()), min_size=1, max_size=60),
    st.floats(0.01, 0.99),
    st.floats(0.01, 0.99),
)
def test_quantiles_grow_with_q_and_stay_within_what_was_seen(
    values: list[tuple[float, bool]], a: float, b: float
) -> None:
    """Whatever was recorded, zero and days included."""
    latencies = Latencies()
    for seconds, censored in values:
        latencies.add(KEY, seconds, 0.0, censored=censored)

    low, high = (latencies.quantile(KEY, q, 0.0, min_samples=1) for q in sorted((a, b)))

    assert low is not None
    assert high is not None
    assert low <= high <= max(0.00106, *(seconds * 1.06 for seconds, _ in values))

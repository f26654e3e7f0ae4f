"""The budget: a share of requests, a floor, and a memory of ten seconds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llm_pool.qos.budget import WINDOW, Budget


def spent(budget: Budget, times: int, now: float) -> int:
    return sum(budget.spend(now) for _ in range(times))


def test_a_tenth_of_the_requests_may_be_asked_again() -> None:
    """A thousand requests pay for a hundred further calls."""
    budget = Budget(ratio=0.1, floor=0.0)
    for _ in range(1000):
        budget.note_request(0.0)

    assert spent(budget, 1000, 1.0) == 100


def test_a_quiet_pool_has_its_floor() -> None:
    """With no request on record ten further calls are free by default: enough for a breaker to open."""
    assert spent(Budget(), 100, 0.0) == 10


def test_the_floor_is_not_added_to_the_share() -> None:
    """Busy pools spend their share and no more."""
    budget = Budget(ratio=0.1, floor=0.5)
    for _ in range(80):
        budget.note_request(0.0)

    assert spent(budget, 100, 0.0) == 8


def test_spending_is_forgotten_after_the_window() -> None:
    """What was spent ten seconds ago does not count; what was spent nine seconds ago does."""
    budget = Budget(floor=0.5)
    spent(budget, 5, 0.0)

    assert spent(budget, 5, 9.0) == 0
    assert spent(budget, 5, 10.0) == 5


def test_a_share_below_one_call_pays_for_none() -> None:
    """Nine requests at a tenth do not round up."""
    budget = Budget(ratio=0.1, floor=0.0)
    for _ in range(9):
        budget.note_request(0.0)

    assert not budget.spend(0.0)


def test_a_clock_that_steps_back_starts_afresh() -> None:
    """R22: neither a frozen budget nor a negative count."""
    budget = Budget()
    spent(budget, 5, 3600.0)

    assert budget.left(0.0) == 10
    assert repr(budget) == "<Budget [0 spent on 0 requests]>"


@given(
    st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=200),
    st.sampled_from([0.0, 0.1, 0.5]),
    st.sampled_from([0.0, 0.3, 1.0]),
)
def test_no_window_ever_spends_more_than_the_rule(steps: list[tuple[float, bool]], ratio: float, floor: float) -> None:
    """Any mix of requests and spending, seen through any window of nine seconds (one slice of slack)."""
    budget, now = Budget(ratio, floor), 0.0
    requests: list[float] = []
    spends: list[float] = []

    for wait, is_request in steps:
        now += wait
        if is_request:
            budget.note_request(now)
            requests.append(now)
        elif budget.spend(now):
            spends.append(now)

            recent = sum(then > now - WINDOW + 1 for then in spends)
            known = sum(then > now - WINDOW for then in requests)
            assert recent <= max(ratio * known, floor * WINDOW) + 1e-9

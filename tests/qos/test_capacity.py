"""How many models a machine was seen to hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.qos.capacity import Capacity

COUNTS = st.integers(1, 6)
SIGHTS = st.lists(st.tuples(st.booleans(), COUNTS), max_size=20)


def after(sights: list[tuple[bool, int]]) -> Capacity:
    """What is known after looks (True) and evictions (False)."""
    known = Capacity()
    for is_look, count in sights:
        known = known.seen(count) if is_look else known.evicted(count)
    return known


def test_the_example_of_the_module() -> None:
    """Three fit; then an eviction leaves two; then three are seen again."""
    three = Capacity().seen(1).seen(2).seen(3)

    assert three == Capacity(3, None)
    assert three.evicted(2) == Capacity(2, 2)
    assert three.evicted(2).seen(3) == Capacity(3, None)


@pytest.mark.parametrize(
    ("known", "count", "may"), [(Capacity(), 9, True), (Capacity(1, 1), 2, False), (Capacity(2, 2), 2, True)]
)
def test_only_an_eviction_speaks_against_a_model_more(known: Capacity, count: int, *, may: bool) -> None:
    assert known.may_hold(count) is may


@given(SIGHTS)
def test_the_bounds_never_cross(sights: list[tuple[bool, int]]) -> None:
    known = after(sights)

    assert known.at_least >= 1
    assert known.at_most is None or known.at_least <= known.at_most


@given(SIGHTS, COUNTS)
def test_the_latest_sight_is_believed(sights: list[tuple[bool, int]], count: int) -> None:
    """Whatever was known before."""
    known = after(sights)

    assert known.seen(count).at_least >= count
    assert known.seen(count).may_hold(count)
    assert known.evicted(count).at_least <= count
    assert not known.evicted(count).may_hold(count + 1)


@given(SIGHTS, COUNTS)
def test_seeing_the_same_again_changes_nothing(sights: list[tuple[bool, int]], count: int) -> None:
    known = after(sights)

    assert known.seen(count).seen(count) == known.seen(count)
    assert known.evicted(count).evicted(count) == known.evicted(count)

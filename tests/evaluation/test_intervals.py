"""Intervals against published figures, and what must hold for any counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.evaluation.intervals import PairCounts, counted, paired_difference, wilson, z_score

counts = st.integers(0, 60)
pairs = st.builds(PairCounts, counts, counts, counts, counts).filter(lambda one: one.total > 0)


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_is_as_newcombe_1998_prints_it(right: int, total: int, low: float, high: float) -> None:
    found = wilson(right, total)

    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@pytest.mark.parametrize(
    ("cells", "low", "high"),
    [
        ((36, 12, 2, 0), 0.0569, 0.3404),
        ((20, 12, 2, 16), 0.0562, 0.3292),
        ((18, 12, 2, 18), 0.0562, 0.3290),
        ((54, 0, 0, 0), -0.0664, 0.0664),
        ((1, 1, 7, 12), -0.5069, -0.0256),  # Fagerland, Lydersen & Laake 2014
    ],
)
def test_a_paired_difference_is_as_printed(cells: tuple[int, int, int, int], low: float, high: float) -> None:
    found = paired_difference(PairCounts(*cells))

    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@given(pairs)
def test_a_difference_lies_in_its_interval_and_turns_with_its_sides(cells: PairCounts) -> None:
    found = paired_difference(cells)
    turned = paired_difference(cells._replace(first=cells.second, second=cells.first))

    assert -1 <= found.low <= found.value <= found.high <= 1
    assert turned.low == pytest.approx(-found.high)
    assert turned.high == pytest.approx(-found.low)


@given(pairs, st.integers(2, 20))
def test_intervals_that_hold_together_are_wider(cells: PairCounts, comparisons: int) -> None:
    alone, together = paired_difference(cells), paired_difference(cells, z_score(comparisons=comparisons))

    assert together.low <= alone.low
    assert together.high >= alone.high


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_every_question_is_counted_once(marks: list[tuple[bool, bool]]) -> None:
    first, second = [list(side) for side in zip(*marks, strict=True)]

    found = counted(first, second)

    assert found.total == len(marks)
    assert found.both + found.first == sum(first)
    assert found.both + found.second == sum(second)


@given(st.integers(1, 500).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_a_share_lies_in_its_interval(case: tuple[int, int]) -> None:
    right, total = case
    found = wilson(right, total)

    assert 0 <= found.low <= found.value <= found.high <= 1

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llm_pool.evaluation.power import detectable_difference, questions_needed, rounded

shares = st.floats(0.01, 1.0)


def test_connors_formula_by_hand() -> None:
    """(1.95996 √0.3 + 0.84162 √0.29)² / 0.01 is a little more than 233."""
    assert questions_needed(0.3, 0.1) == 234
    assert questions_needed(0.2, 0.05) == 626


@given(shares, shares)
def test_a_smaller_difference_needs_more_questions(discordant: float, difference: float) -> None:
    few, many = questions_needed(discordant, difference), questions_needed(discordant, difference / 2)

    assert few is not None
    assert many is not None
    assert many >= few >= 1


def test_no_difference_is_never_found() -> None:
    assert questions_needed(0.3, 0.0) is None


@given(shares, st.integers(20, 5000))
def test_what_can_be_found_needs_no_more_questions_than_there_are(discordant: float, count: int) -> None:
    least = detectable_difference(discordant, count)
    needed = questions_needed(discordant, least)

    assert needed is not None
    assert needed <= count or least == 1.0


def test_an_estimate_is_told_in_two_digits() -> None:
    assert [rounded(count) for count in (7, 78, 301, 1234, 99_001)] == [7, 78, 310, 1300, 100_000]

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.evaluation.graders import grader_agreement


def test_kappa_as_in_a_textbook() -> None:
    """20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: observed 0.7, by chance 0.5, kappa 0.4."""
    first = [True] * 25 + [False] * 25
    second = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15

    found = grader_agreement(first, second)

    assert found is not None
    assert found.kappa is not None
    assert found.agreement.value == pytest.approx(0.7)
    assert found.kappa.value == pytest.approx(0.4)
    assert found.kappa.low == pytest.approx(0.4 - 1.96 * 0.1262, abs=0.01)


def test_a_grader_that_says_the_same_of_all_has_no_kappa() -> None:
    found = grader_agreement([True, True], [True, False])

    assert found is not None
    assert found.kappa is None


def test_nothing_graded_is_no_agreement() -> None:
    assert grader_agreement([], []) is None


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80))
def test_it_does_not_matter_who_is_first(marks: list[tuple[bool, bool]]) -> None:
    first, second = [list(side) for side in zip(*marks, strict=True)]
    one, other = grader_agreement(first, second), grader_agreement(second, first)

    assert one is not None
    assert other is not None
    assert one.agreement == other.agreement
    assert (one.kappa is None) == (other.kappa is None)
    if one.kappa is not None and other.kappa is not None:
        assert one.kappa.value == pytest.approx(other.kappa.value)
        assert -1 <= one.kappa.low <= one.kappa.high <= 1

"""What margins mean, learned from labelled answers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.trust.calibration import Labelled, curve, share_right

if TYPE_CHECKING:
    from collections.abc import Sequence

MARGINS = [0.25 * place for place in range(40)]
counts = st.floats(0, 1000)
labelled = st.lists(st.builds(Labelled, st.floats(0, 12), counts, counts), min_size=1, max_size=48)


def probability(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def along(offset: float, slope: float, *, each: float = 1000.0) -> list[Labelled]:
    """*each* labelled answers per margin, right as often as the line says."""
    shares = [(margin, probability(offset + slope * margin)) for margin in MARGINS]
    return [Labelled(margin, each * share, each * (1 - share)) for margin, share in shares]


@pytest.mark.parametrize(("offset", "slope"), [(-2.0, 0.7), (0.0, 1.0), (1.0, 0.3), (-0.5, 1.5)])
def test_the_line_that_made_the_labels_is_found(offset: float, slope: float) -> None:
    """Of forty thousand labels the prior is a trifle."""
    found = curve(along(offset, slope))

    assert (found.offset, found.slope) == pytest.approx((offset, slope), abs=0.05)


def test_of_few_labels_the_prior_keeps_the_slope() -> None:
    """Five right answers of one margin say that it is good, and nothing of greater ones."""
    found = curve([Labelled(2.0, 5, 0)])

    assert found.slope == pytest.approx(1.0, abs=0.2)
    assert 0.8 < probability(found.at(2.0)) < 1


def test_a_margin_that_means_less_counts_less() -> None:
    """On the hard task two log odds more are needed; asked for the same share, its answers need the greater lead."""
    easy, hard = curve(along(0, 1)), curve(along(-2, 1))

    assert share_right([easy, hard], easy.at(3.0)) == pytest.approx(share_right([easy, hard], hard.at(5.0)), abs=0.02)
    assert share_right([easy, hard], hard.at(3.0)) < share_right([easy, hard], easy.at(3.0))


def test_the_share_is_that_of_all_who_are_as_sure() -> None:
    """Not the answer's own probability, which the surer ones above it exceed."""
    curves = [curve(along(0, 1)), curve(along(-1, 1))]
    sure = curves[0].at(2.0)

    of_all = [
        (one.right + one.wrong, probability(each.at(one.margin)))
        for each, rows in zip(curves, (along(0, 1), along(-1, 1)), strict=True)
        for one in rows
        if each.at(one.margin) >= sure
    ]
    expected = sum(count * p for count, p in of_all) / sum(count for count, _ in of_all)
    assert share_right(curves, sure) == pytest.approx(expected)
    assert share_right(curves, sure) > probability(sure)


@given(st.lists(labelled, min_size=1, max_size=4), st.floats(0, 20), st.floats(0, 20))
def test_a_greater_margin_is_never_less_sure(tasks: Sequence[Sequence[Labelled]], one: float, other: float) -> None:
    """Whatever the labels: all right, all wrong, upside down, a thousand of one margin."""
    curves = [curve(rows) for rows in tasks]

    low, high = (share_right(curves, curves[0].at(margin)) for margin in sorted((one, other)))

    assert 0 < low <= high + 1e-12 < 1 + 1e-12


@given(labelled)
def test_the_order_of_labels_does_not_matter(rows: list[Labelled]) -> None:
    """But for the last digits of a sum."""
    one, other = curve(rows), curve(rows[::-1])

    assert (one.offset, one.slope) == pytest.approx((other.offset, other.slope), rel=1e-6, abs=1e-6)


@given(labelled)
def test_the_line_is_where_the_posterior_is_flat(rows: list[Labelled]) -> None:
    """It cannot be bettered by a small change of offset or slope."""
    found = curve(rows)

    def log_posterior(offset: float, slope: float) -> float:
        said = sum(
            -one.right * math.log1p(math.exp(-(offset + slope * one.margin)))
            - one.wrong * math.log1p(math.exp(offset + slope * one.margin))
            for one in rows
        )
        return said - 0.05 * offset**2 - 10.0 * (slope - 1) ** 2

    best = log_posterior(found.offset, found.slope)
    for offset, slope in ((0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01)):
        if found.slope + slope >= 0:
            assert log_posterior(found.offset + offset, found.slope + slope) <= best + 1e-6 * abs(best) + 1e-6

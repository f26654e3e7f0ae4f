"""
How often answers with a certain lead are right, from labelled ones.

The margin of a weighted vote is the log odds of being right, were the voters independent and their trust exact. They
make the same mistakes, and some tasks have more plausible wrong answers than others: so for each task a straight line
is fitted through the log odds, ``offset + slope * margin``. The slope's prior is 1, the margin at its word.

Whoever asks for 95 percent asks for a share of all the answers that are given. The labelled answers of all tasks,
the surest first, say how far down one can go::

    surest ◀────────── labelled answers of all tasks ──────────▶ least sure
    ├──────── on average right in 95 percent ────────┤

Source: Platt 1999, Probabilistic outputs for support vector machines; the selective risk of Geifman & El-Yaniv 2017,
arXiv:1705.08500.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

SLOPE_PRECISION: Final = 20.0
"""How firm the prior of the slope is: about as firm as what thirty labelled answers with margins from 0 to 7 say."""
OFFSET_PRECISION: Final = 0.1
"""How firm the prior of the offset, 0, is: it keeps a task finite on which everything was right."""
MAX_LOG_ODDS: Final = 30.0
STEPS: Final = 25
"""Steps of Newton's method at most; it takes about six."""


class Labelled(NamedTuple):
    """Labelled answers of one margin: how many were right, and how many wrong."""

    margin: float
    right: float
    wrong: float


class Curve(NamedTuple):
    """
    What margins mean on one task, and the labelled answers that say so.

    Attributes:
        log_odds: that labelled answers are right, ascending.
        counts: how many labelled answers have at least these.
        expected: how many of those are right, by the line.
    """

    offset: float
    slope: float
    log_odds: tuple[float, ...]
    counts: tuple[float, ...]
    expected: tuple[float, ...]

    def at(self, margin: float) -> float:
        """The log odds that an answer with *margin* is right; never less with a greater one."""
        return max(-MAX_LOG_ODDS, min(MAX_LOG_ODDS, self.offset + self.slope * margin))


def curve(labelled: Sequence[Labelled]) -> Curve:
    """The curve through *labelled*, at least one, in any order."""
    offset, slope = _line(labelled)
    bare = Curve(offset, slope, (), (), ())
    ascending = sorted((bare.at(one.margin), one.right + one.wrong) for one in labelled)
    from_the_top = ascending[::-1]
    counts = tuple(accumulate(count for _, count in from_the_top))
    expected = tuple(accumulate(count * _probability(log_odds) for log_odds, count in from_the_top))
    return bare._replace(log_odds=tuple(z for z, _ in ascending), counts=counts[::-1], expected=expected[::-1])


def share_right(curves: Sequence[Curve], log_odds: float) -> float:
    """
    The share right among the labelled answers of all *curves* that are at least as sure as *log_odds*, in (0, 1).

    That of an answer which is surer than all of them is its own.
    """
    count = expected = 0.0
    for one in curves:
        place = bisect_left(one.log_odds, log_odds)
        if place < len(one.log_odds):
            count += one.counts[place]
            expected += one.expected[place]
    return expected / count if count > 0 else _probability(log_odds)


def _line(labelled: Sequence[Labelled]) -> tuple[float, float]:
    """Offset and slope >= 0 of the greatest posterior, by Newton's method from a line that says nothing."""
    offset = slope = 0.0
    for _ in range(STEPS):
        by_offset, by_slope = -OFFSET_PRECISION * offset, -SLOPE_PRECISION * (slope - 1.0)
        curvature, mixed, by_margins = OFFSET_PRECISION, 0.0, SLOPE_PRECISION
        for margin, right, wrong in labelled:
            p = _probability(offset + slope * margin)
            missed = right - (right + wrong) * p
            weight = (right + wrong) * p * (1.0 - p)
            by_offset, by_slope = by_offset + missed, by_slope + missed * margin
            curvature += weight
            mixed += weight * margin
            by_margins += weight * margin * margin
        determinant = curvature * by_margins - mixed * mixed
        step = (by_margins * by_offset - mixed * by_slope) / determinant
        turn = (curvature * by_slope - mixed * by_offset) / determinant
        offset, slope = offset + step, slope + turn
        if abs(step) + abs(turn) < 1e-6:
            break
    if slope < 0:  # greater leads were right less often: that is chance, and a level line is the best of those allowed
        level = [Labelled(0.0, sum(one.right for one in labelled), sum(one.wrong for one in labelled))]
        return _line(level)[0], 0.0
    return offset, slope


def _probability(log_odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-MAX_LOG_ODDS, min(MAX_LOG_ODDS, log_odds))))

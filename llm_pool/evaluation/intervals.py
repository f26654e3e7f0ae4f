"""
How far a share, or the difference of two on the same questions, can be from what was counted.

Sources: Wilson 1927, Probable inference, JASA 22:209-212; Newcombe 1998, Improved confidence intervals for the
difference between binomial proportions based on paired data, Statistics in Medicine 17:2635-2650, method 10, which
Fagerland, Lydersen & Laake 2014, Statistics in Medicine 33:2850-2875, recommend; Bonferroni's inequality for several
intervals that hold together.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE: Final = 0.95


class Interval(NamedTuple):
    """What was measured, and between which values the truth is to be looked for."""

    value: float
    low: float
    high: float


class PairCounts(NamedTuple):
    """
    Two answers to each question, counted.

    Attributes:
        both, neither: questions on which both are right, or none.
        first, second: questions on which only that one is.
    """

    both: int
    first: int
    second: int
    neither: int

    @property
    def total(self) -> int:
        """Questions."""
        return sum(self)

    @property
    def discordant(self) -> float:
        """Share of the questions on which one is right and the other wrong."""
        return (self.first + self.second) / self.total


def z_score(confidence: float = CONFIDENCE, comparisons: int = 1) -> float:
    """Standard errors on each side of a two-sided interval, of *comparisons* that hold together by Bonferroni."""
    return NormalDist().inv_cdf(1.0 - (1.0 - confidence) / (2.0 * comparisons))


def wilson(right: float, total: float, z: float = z_score()) -> Interval:
    """
    The score interval of a share.

    Args:
        right: how many, 0 to *total*.
        total: of how many, > 0.
        z: ``z_score``.
    """
    share = right / total
    middle = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    low = 0.0 if right <= 0 else max(0.0, (middle - spread) / scale)
    high = 1.0 if right >= total else min(1.0, (middle + spread) / scale)
    return Interval(share, low, high)


def counted(first: Sequence[bool], second: Sequence[bool]) -> PairCounts:
    """*first* and *second*, right or wrong on the same questions, counted."""
    pairs = list(zip(first, second, strict=True))
    return PairCounts(
        both=sum(a and b for a, b in pairs),
        first=sum(a and not b for a, b in pairs),
        second=sum(b and not a for a, b in pairs),
        neither=sum(not a and not b for a, b in pairs),
    )


def paired_difference(pairs: PairCounts, z: float = z_score()) -> Interval:
    """
    The interval of the first share less the second: Wilson's of each, squared and added, less what they have in common.

    Args:
        pairs: of at least one question.
        z: ``z_score``.
    """
    total = pairs.total
    one = wilson(pairs.both + pairs.first, total, z)
    other = wilson(pairs.both + pairs.second, total, z)
    phi = _correlation(pairs)
    difference = (pairs.first - pairs.second) / total
    low = _distance(one.value - one.low, other.high - other.value, phi)
    high = _distance(one.high - one.value, other.value - other.low, phi)
    return Interval(difference, max(-1.0, difference - low), min(1.0, difference + high))


def _distance(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))


def _correlation(pairs: PairCounts) -> float:
    """Newcombe's phi: the correlation of the two, less half a pair of chance where it is positive."""
    both, first, second, neither = pairs
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    if margins == 0:
        return 0.0
    product = float(both * neither - first * second)
    if product > 0:
        product = max(product - pairs.total / 2, 0.0)
    return product / math.sqrt(margins)

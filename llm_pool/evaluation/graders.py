"""
How far one grader agrees with another beyond chance.

Source: Cohen 1960, A coefficient of agreement for nominal scales; the standard error is that of Fleiss, Cohen &
Everitt 1969, Psychological Bulletin 72:323-327, for two categories.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from llm_pool.evaluation.intervals import Interval, counted, wilson, z_score

if TYPE_CHECKING:
    from collections.abc import Sequence


class GraderAgreement(NamedTuple):
    """
    Two graders on the same answers.

    Attributes:
        answers: that both graded.
        agreement: share graded alike.
        kappa: Cohen's; None where one of them gave the same grade to all.
    """

    answers: int
    agreement: Interval
    kappa: Interval | None


def grader_agreement(first: Sequence[bool], second: Sequence[bool]) -> GraderAgreement | None:
    """How far the grades *first* and *second* of the same answers agree; None without any."""
    if not first:
        return None
    pairs = counted(first, second)
    return GraderAgreement(pairs.total, wilson(pairs.both + pairs.neither, pairs.total), _kappa(first, second))


def _kappa(first: Sequence[bool], second: Sequence[bool]) -> Interval | None:
    pairs = counted(first, second)
    total = pairs.total
    cells = {
        (True, True): pairs.both,
        (True, False): pairs.first,
        (False, True): pairs.second,
        (False, False): pairs.neither,
    }
    shares = {cell: count / total for cell, count in cells.items()}
    row = {grade: shares[grade, True] + shares[grade, False] for grade in (True, False)}
    column = {grade: shares[True, grade] + shares[False, grade] for grade in (True, False)}
    observed = shares[True, True] + shares[False, False]
    chance = sum(row[grade] * column[grade] for grade in (True, False))
    if chance > 1 - 1e-12 or min(*row.values(), *column.values()) <= 0:
        return None
    kappa = (observed - chance) / (1 - chance)
    diagonal = sum(shares[g, g] * (1 - (row[g] + column[g]) * (1 - kappa)) ** 2 for g in (True, False))
    off = (1 - kappa) ** 2 * sum(shares[a, b] * (column[a] + row[b]) ** 2 for a, b in ((True, False), (False, True)))
    variance = (diagonal + off - (kappa - chance * (1 - kappa)) ** 2) / (total * (1 - chance) ** 2)
    spread = z_score() * math.sqrt(max(0.0, variance))
    return Interval(kappa, max(-1.0, kappa - spread), min(1.0, kappa + spread))

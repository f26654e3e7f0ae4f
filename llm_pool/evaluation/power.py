"""
How many questions can tell two apart that answer the same ones.

Source: Connor 1987, Sample size for testing differences in proportions for the paired-sample design, Biometrics
43:207-211, after Miettinen 1968. With ``a`` the test's level, ``d`` the share of questions on which exactly one of the
two is right, and ``δ`` the difference of their shares, McNemar's test finds it with the power wanted from

    n = ( z(1 - a/2) √d + z(power) √(d - δ²) )² / δ²
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

from llm_pool.evaluation.intervals import z_score

POWER: Final = 0.8
"""How often so many questions find a difference that is there."""


def questions_needed(discordant: float, difference: float, z: float = z_score(), power: float = POWER) -> int | None:
    """
    Questions that find *difference* with *power*.

    Args:
        discordant: share of questions on which exactly one of the two is right, in [0, 1].
        difference: of their shares right, in [-1, 1]; its size counts.
        z: the two-sided test's, as ``z_score`` gives it.
        power: in (0, 1).

    Returns:
        None where there is no difference to be found.
    """
    size = abs(difference)
    if size < 1e-9:
        return None
    most = max(discordant, size)  # a difference needs as many questions that divide the two
    needed = z * math.sqrt(most) + NormalDist().inv_cdf(power) * math.sqrt(max(0.0, most - size * size))
    return math.ceil(needed * needed / (size * size))


def detectable_difference(discordant: float, questions: int, z: float = z_score(), power: float = POWER) -> float:
    """The least difference that *questions* find with *power*, in [0, 1]; by bisection of ``questions_needed``."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        needed = questions_needed(discordant, middle, z, power)
        low, high = (low, middle) if needed is not None and needed <= questions else (middle, high)
    return high


def rounded(count: int) -> int:
    """*count* upward to two digits: the figure is an estimate of an estimate."""
    digits = max(0, len(str(count)) - 2)
    unit = int(10**digits)
    return -(-count // unit) * unit

"""
Which of the models found are a panel. A pure rule.

At most three; of as many families as can be; that fit the machine's memory together, where both are known; and of
those sets the one with the most to say, by size. Models that answer alike add little to each other, so a second of
the same family comes only where there is no other.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llm_pool.discovery.models import FoundModel

MOST: Final = 3
"""Models of a panel: two that agree outvote the third, and more cost more time than they are worth on one machine."""
MEMORY_SHARE: Final = 0.75
"""Of the machine's memory, for models; the rest is for people."""
OVERHEAD: Final = 1.2
"""What a model takes in memory by its size on disk: weights, context, buffers."""
CONSIDERED: Final = 24
"""Models looked at, the smaller ones first, so that the number of sets stays in the thousands."""
LEAST_WEIGHT: Final = 0.1


def choose(models: Sequence[FoundModel], *, memory: int | None, most: int = MOST) -> tuple[FoundModel, ...]:
    """
    The panel out of *models*, the smallest first.

    Args:
        models: in any order.
        memory: bytes that the machine has; None: unknown.
        most: how many at most, >= 1.

    Returns:
        At least one where *models* has one: the smallest, where none fits.
    """
    ordered = by_size(models)[:CONSIDERED]
    room = None if memory is None else memory * MEMORY_SHARE
    fitting = [one for one in _sets(ordered, min(most, MOST)) if room is None or _needs(one) <= room]
    return max(fitting, key=_merit, default=tuple(ordered[:1]))


def by_size(models: Sequence[FoundModel]) -> list[FoundModel]:
    """The smallest first, as in the default configuration; those of unknown size last."""
    return sorted(models, key=lambda model: (model.bytes or math.inf, model.name, model.url))


def weights(models: Sequence[FoundModel]) -> list[float]:
    """
    The say of each of *models*, in (0, 1]: the square root of its size by the largest one's, in tenths.

    What a model gets right grows slower than its size. One whose size is unknown counts in full.
    """
    largest = max((one.bytes or 0.0 for one in models), default=0.0)
    return [max(LEAST_WEIGHT, round(math.sqrt(one.bytes / largest), 1)) if one.bytes else 1.0 for one in models]


def _sets(models: Sequence[FoundModel], most: int) -> Iterator[tuple[FoundModel, ...]]:
    for count in range(1, most + 1):
        yield from combinations(models, count)


def _needs(models: Sequence[FoundModel]) -> float:
    return sum(OVERHEAD * (one.bytes or 0.0) for one in models if one.shares_memory)


def _merit(models: Sequence[FoundModel]) -> tuple[int, int, float]:
    return len({one.lineage for one in models}), len(models), sum(one.bytes or 0.0 for one in models)

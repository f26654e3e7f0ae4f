"""
Keys: what answers are compared by, and the one rule that groups them.

A key has a *shape* and *details*. Answers of different shapes are different. Answers of one shape are the same unless
they differ in a detail that at least one of them states::

    5 km, 5        one group: only one of them names a unit
    5 km, 5 m      two groups
    5 km, 5 m, 5   three groups: nobody can say which of the two the bare number agrees with
    'a', a, A      two groups: quotation marks state the case, so it counts for all; without them it is typography

So every set of keys falls into groups in exactly one way, whatever the order of its members: within a group everything
is the same as everything else.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Shape: TypeAlias = "tuple[str | Shape, ...]"
"""A tag and what it holds, e.g. ``("number", "3")``; strings and tuples only, so it is the same in every process."""


class Detail(NamedTuple):
    """
    Something that answers of one shape may differ in.

    Attributes:
        place: where in the shape, as indices from the outside in.
        kind: ``unit``, ``variable``, ``exact``, ``order``, ``brackets``, ...
        said: what the answer says there.
    """

    place: tuple[int, ...]
    kind: str
    said: str


@dataclass(frozen=True, order=True, slots=True)
class Key:
    """
    What an answer is compared by.

    Attributes:
        details: what it states.
        wording: how it is written. Counts where another answer states that very thing, else for nothing.
    """

    shape: Shape
    details: tuple[Detail, ...] = ()
    wording: tuple[Detail, ...] = field(default=(), compare=False)

    def having(self, kind: str, said: str) -> Key:
        """The key with one more detail, of the whole."""
        return replace(self, details=(*self.details, Detail((), kind, said)))

    def worded(self, exact: str) -> Key:
        """The key of something that is written as *exact*."""
        return replace(self, wording=(Detail((), "exact", exact),))


def composed(shape: Shape, parts: Iterable[tuple[tuple[int, ...], Key]]) -> Key:
    """The key of what has *shape* and holds *parts*, each with its place."""
    details, wording = [], []
    for place, key in parts:
        details += [detail._replace(place=place + detail.place) for detail in key.details]
        wording += [detail._replace(place=place + detail.place) for detail in key.wording]
    return Key(shape, tuple(details), tuple(wording))


def same(one: Key, other: Key) -> bool:
    """Whether two answers with nobody beside them are the same."""
    return len(grouped([one, other])) == 1


def grouped(keys: Sequence[Key]) -> list[list[int]]:
    """Indices of *keys* by sameness, each group and the groups in ascending order. Linear in the details."""
    by_shape: dict[Shape, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        by_shape[key.shape].append(index)
    return sorted(group for alike in by_shape.values() for group in _parted(alike, keys))


def _parted(alike: Sequence[int], keys: Sequence[Key]) -> list[list[int]]:
    """Indices of keys of one shape, parted by the details on which they differ."""
    stated = {detail[:2] for index in alike for detail in keys[index].details}
    if not stated:
        return [list(alike)]
    tables = {
        index: {(place, kind): said for place, kind, said in (*keys[index].wording, *keys[index].details)}
        for index in alike
    }
    divided = [spot for spot in sorted(stated) if len({table[spot] for table in tables.values() if spot in table}) > 1]
    parts: dict[tuple[str | None, ...], list[int]] = defaultdict(list)
    for index, table in tables.items():
        parts[tuple(table.get(spot) for spot in divided)].append(index)
    return list(parts.values())

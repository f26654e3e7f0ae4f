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
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

Shape: TypeAlias = "tuple[str | Shape, ...]"
"""A tag and what it holds, e.g. ``("number", "3")``; strings and tuples only, so it is the same in every process."""


class Detail(NamedTuple):
    """
    Something that answers of one shape may differ in.

    Attributes:
        place: where in the shape, as indices from the outside in.
        kind: ``unit``, ``variable``, ``exact``, ``order``, ``brackets``, ...
        said: what the answer says there.
        stated: it is part of what was said, and not only how it was written; one that is not stated counts where
            another answer states its own.
    """

    place: tuple[int, ...]
    kind: str
    said: str
    stated: bool = True


class Key(msgspec.Struct, frozen=True, order=True):
    """What an answer is compared by; hashable."""

    shape: Shape
    details: tuple[Detail, ...] = ()

    def within(self, *place: int) -> tuple[Detail, ...]:
        """The details as those of a part at *place* of something larger."""
        return tuple(detail._replace(place=place + detail.place) for detail in self.details)

    def having(self, kind: str, said: str, *, stated: bool = True) -> Key:
        """The key with one more detail of the whole."""
        return Key(self.shape, (*self.details, Detail((), kind, said, stated)))


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
    if len({keys[index].details for index in alike}) == 1:
        return [list(alike)]
    tables = {index: _table(keys[index]) for index in alike}
    stated = {spot for table in tables.values() for spot, (_, is_stated) in table.items() if is_stated}
    divided = [
        spot for spot in sorted(stated) if len({table[spot][0] for table in tables.values() if spot in table}) > 1
    ]
    parts: dict[tuple[str | None, ...], list[int]] = defaultdict(list)
    for index, table in tables.items():
        parts[tuple(table[spot][0] if spot in table else None for spot in divided)].append(index)
    return list(parts.values())


def _table(key: Key) -> dict[tuple[tuple[int, ...], str], tuple[str, bool]]:
    return {(detail.place, detail.kind): (detail.said, detail.stated) for detail in key.details}

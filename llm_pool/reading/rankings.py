"""Rankings: from a list, a line with arrows or a table of ranks to a permutation of the ids."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from llm_pool.reading.expectation import Unreadable
from llm_pool.reading.options import Options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.messages import Json

MAX_MISSING: Final = 0.3
"""Share of the ids that a ranking may leave out and still count as one. Source: recorded rerankings, where weak
models drop ids from the tail; the order of what they did name is sound."""

MAX_ITEM: Final = 400
"""Characters of an item of a list in text."""


def permutation(listed: Sequence[Json], ids: Sequence[str]) -> list[str]:
    """
    *listed* as a permutation of *ids*: unknown ones and repetitions dropped, missing ones appended in *ids*' order.

    Raises:
        Unreadable: more than MAX_MISSING of *ids* are missing.
    """
    options, known_ids = Options(ids), frozenset(ids)
    named = (options.meant(item.get("id") if isinstance(item, dict) else item) for item in listed)
    known = {name: None for name in named if isinstance(name, str) and name in known_ids}
    missing = [name for name in ids if name not in known]
    if len(missing) > MAX_MISSING * len(ids):
        raise Unreadable(f"the ranking names {len(known)} of {len(ids)} ids")
    return [*known, *missing]


def ranked(value: Json, ids: Sequence[str]) -> list[Json] | None:
    """
    The ids in *value*, best first: a list, ``a > b > c`` in text, ``{"1": "a", "2": "b"}``, ``{"a": 1, "b": 2}``.

    Returns:
        None if it is none of these.
    """
    if isinstance(value, list):
        lines = value[0] if len(value) == 1 and isinstance(value[0], str) else ""
        return listed(lines, ids) or value
    if isinstance(value, str):
        return listed(value, ids)
    return _by_rank(value) if isinstance(value, dict) else None


def listed(text: str, ids: Sequence[str]) -> list[Json] | None:
    """
    The ids that *text* lists: one line with ``>``, arrows or commas, or one id a line; None if it lists none.

    An item counts only if it is an id, or begins with one and goes on behind a colon or a dash.
    """
    options, known = Options(ids), frozenset(ids)
    best: list[Json] = []
    lines = text.splitlines()
    for items in (*(_ARROW.split(line) for line in lines), lines, *(line.split(",") for line in lines)):
        found = [meant for item in items if (meant := _id(item, options, known)) is not None]
        best = max(best, list(dict.fromkeys(found)), key=len)
    return best if len(best) > 1 else None


def _id(item: str, options: Options, known: frozenset[str]) -> Json:
    if len(item) > MAX_ITEM:
        return None
    for text in (item, *_ITEM.findall(item)[:1]):
        meant = options.meant(text.strip())
        if meant in known:
            return meant
        bare = options.meant(_NUMBERED.sub("", text, count=1).strip())
        if bare in known:
            return bare
    return None


def _by_rank(value: dict[str, Any]) -> list[Json] | None:
    if all(name.isdecimal() for name in value):
        return [value[name] for name in sorted(value, key=int)]
    ranks = list(value.values())
    if all(isinstance(rank, int) for rank in ranks) and sorted(ranks) == list(range(1, len(ranks) + 1)):
        return sorted(value, key=value.__getitem__)
    return None


_ARROW: Final = re.compile(r">{1,2}|->|=>|→|⇒|≻")
_NUMBERED: Final = re.compile(r"^\s*(?:\d{1,3}[.):]|[-*•])\s*")
_ITEM: Final = re.compile(r"^\s*(?:(?:\d{1,3}[.):]|[-*•])\s*)?(.+?)(?:\s*[:\u2013\u2014]|\s+-\s)")

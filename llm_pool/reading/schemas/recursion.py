"""
What a schema costs to check an answer by, where that is more than its size times the answer's.

Each reference back applies its schema to a part further down. Where several of them apply to one part, as in two
branches of ``anyOf``, the checks of a part multiply with every round. Each ``unevaluatedProperties`` checks what stands
beside it once more, so they multiply where one is inside of another. And a pattern looks at all of a text. So the
checks are counted before an answer is checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from llm_pool.reading.schemas.patterns import effort

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from llm_pool.core.messages import Json

MAX_VISITS: Final = 20_000
"""Parts looked at, with references followed; strangers' schemas have fewer."""
MAX_STEPS: Final = 10_000
"""Steps of counting the checks of one answer: about 10 ms."""
MAX_AGAIN: Final = 64
"""How often one part of an answer is checked, where ``unevaluatedProperties`` and the like stand within each other."""

_HERE: Final = ("not", "if", "then", "else")
_HERE_EACH: Final = ("allOf", "anyOf", "oneOf")
_BESIDE: Final = frozenset({*_HERE, *_HERE_EACH, "$ref", "dependentSchemas"})
_UNEVALUATED: Final = frozenset({"unevaluatedProperties", "unevaluatedItems"})
_AGAIN_HERE, _AGAIN_BELOW = 3, 2  # measured with jsonschema-rs 0.60, for each within another
_DIGITS: Final = 64  # bits of an integer that is compared at once


class EndlessReference(Exception):
    """A reference leads back to itself with nothing in between: *args* has it."""


class Extent(NamedTuple):
    """
    What a schema asks for.

    Attributes:
        parts: its objects, references followed.
        fan: how many references back apply to one part of an answer at most; 0: it does not refer to itself.
        again: how often one part of an answer is checked by the same keyword, references back aside.
    """

    parts: int
    fan: int
    again: int


def extent(schema: dict[str, Json]) -> Extent:
    """
    What *schema* asks for.

    Raises:
        EndlessReference: no answer can be checked by it.
    """
    walk = _Walk(schema)
    try:
        fan = walk.references_back(schema, {"#": 0}, _Place())
    except _TooLarge:  # an operator's own: it is trusted
        return Extent(1, 0, 1)
    return Extent(MAX_VISITS - walk.left, fan, walk.again)


def checks(schema: dict[str, Json], value: Json, most: int) -> int:
    """How often parts of *schema* are held against parts of *value*; above *most*, or after MAX_STEPS, *most* + 1."""
    total = steps = 0
    level: dict[tuple[int, int], tuple[Json, Json, int]] = {(id(value), id(schema)): (value, schema, 1)}
    while level:
        following: dict[tuple[int, int], tuple[Json, Json, int]] = {}
        for held, part, times in level.values():
            for applied in _applied_here(schema, part):
                total, steps = total + times * _checks_of(applied, held), steps + 1
                for inner, below in _applied_below(applied, held):
                    steps += 1
                    known = following.get((id(inner), id(below)), (inner, below, 0))
                    following[id(inner), id(below)] = (inner, below, known[2] + times)
                if total > most or steps > MAX_STEPS:
                    return most + 1
        level = following
    return total


def _checks_of(part: dict[str, Json], held: Json) -> int:
    """How many checks it takes to hold *part*, without what is inside of it, against *held*: 1, and its patterns'."""
    if isinstance(held, str):
        pattern = part.get("pattern")
        return 1 + (effort(pattern) * len(held) if isinstance(pattern, str) else 0)
    if isinstance(held, int):
        return 1 + (held.bit_length() // _DIGITS) ** 2
    named = part.get("patternProperties")
    if isinstance(held, dict) and isinstance(named, dict):
        return 1 + sum(map(effort, named)) * sum(map(len, held))
    return 1


def _applied_here(root: dict[str, Json], part: Json) -> Iterator[dict[str, Json]]:
    """*part*, and all that applies where it does."""
    waiting = [part]
    while waiting:
        part = waiting.pop()
        if not isinstance(part, dict):
            continue
        yield part
        if isinstance(part.get("$ref"), str):
            waiting.append(pointed(root, part["$ref"]))
        waiting += [part.get(keyword) for keyword in _HERE]
        waiting += [inner for keyword in _HERE_EACH for inner in _list(part, keyword)]
        waiting += _map(part, "dependentSchemas")


def _applied_below(part: dict[str, Json], value: Json) -> Iterator[tuple[Json, Json]]:
    """Members and items of *value*, each with what *part* applies to it."""
    if isinstance(value, dict):
        named = part.get("properties")
        known = named if isinstance(named, dict) else {}
        always = [*_map(part, "patternProperties"), part.get("unevaluatedProperties")]
        names = part.get("propertyNames")
        for name, inner in value.items():
            if isinstance(names, dict):
                yield name, names
            for below in (known.get(name, part.get("additionalProperties")), *always):
                if isinstance(below, dict):
                    yield inner, below
    elif isinstance(value, list):
        first, rest = _list(part, "prefixItems") or _list(part, "items"), part.get("items")
        always = [part.get(keyword) for keyword in ("contains", "additionalItems", "unevaluatedItems")]
        for at, inner in enumerate(value):
            for below in (first[at] if at < len(first) else rest, *always):
                if isinstance(below, dict):
                    yield inner, below


class _TooLarge(Exception):
    pass


class _Place(NamedTuple):
    """
    Where in a schema a walk is.

    Attributes:
        depth: of the part of an answer that is checked there.
        again: how often it is checked there, for ``unevaluatedProperties`` and the like.
        since: the depth of the nearest one of these.
    """

    depth: int = 0
    again: int = 1
    since: int = -1

    def entering(self, part: dict[str, Json]) -> _Place:
        """The place inside of *part*."""
        if _UNEVALUATED.isdisjoint(part) or _BESIDE.isdisjoint(part):
            return self
        times = _AGAIN_HERE if self.since == self.depth else _AGAIN_BELOW
        return _Place(self.depth, self.again * times, self.depth)


class _Walk:
    """One walk through a schema, references followed once on each way."""

    def __init__(self, root: dict[str, Json]) -> None:
        self._root, self.left, self.again = root, MAX_VISITS, 1

    def references_back(self, part: Json, entered: Mapping[str, int], place: _Place) -> int:
        """How many references to what was *entered*, at which depth, apply to one and the same part of an answer."""
        if not isinstance(part, dict):
            return 0
        self.left -= 1
        if self.left < 0:
            raise _TooLarge
        place = place.entering(part)
        self.again = max(self.again, place.again)
        here = [part.get(keyword) for keyword in _HERE]
        here += [inner for keyword in _HERE_EACH for inner in _list(part, keyword)]
        here += _map(part, "dependentSchemas")
        return (
            self._followed(part.get("$ref"), entered, place)
            + sum(self.references_back(inner, entered, place) for inner in here)
            + self._inside(part, entered, place._replace(depth=place.depth + 1))
        )

    def _followed(self, reference: Json, entered: Mapping[str, int], place: _Place) -> int:
        if not isinstance(reference, str):
            return 0
        if reference not in entered:
            return self.references_back(pointed(self._root, reference), {**entered, reference: place.depth}, place)
        if place.depth == entered[reference]:
            raise EndlessReference(reference)
        return 1

    def _inside(self, part: dict[str, Json], entered: Mapping[str, int], place: _Place) -> int:
        """Of what applies to members and items: names and places that differ are different parts of an answer."""

        def of(inner: Iterable[Json]) -> list[int]:
            return [self.references_back(each, entered, place) for each in inner]

        named = of([*_map(part, "properties"), part.get("additionalProperties")])
        placed = of([*_list(part, "prefixItems"), *_list(part, "items"), part.get("items")])
        overlapping = of(
            [
                *_map(part, "patternProperties"),
                *(part.get(keyword) for keyword in ("contains", "propertyNames", "additionalItems")),
                *(part.get(keyword) for keyword in _UNEVALUATED),
            ]
        )
        return max(named, default=0) + max(placed, default=0) + sum(overlapping)


def pointed(root: Json, pointer: str) -> Json:
    """What is at *pointer*, ``#`` or ``#/…``; None where it points nowhere, which a schema's compiler complains of."""
    from urllib.parse import unquote

    found = root
    for step in unquote(pointer).split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            found = found.get(name) if isinstance(found, dict) else None
    return found


def _list(part: dict[str, Json], keyword: str) -> list[Json]:
    inner = part.get(keyword)
    return inner if isinstance(inner, list) else []


def _map(part: dict[str, Json], keyword: str) -> list[Json]:
    inner = part.get(keyword)
    return list(inner.values()) if isinstance(inner, dict) else []

"""
What a schema that refers to itself costs to check an answer by.

Each reference back applies its schema to a part further down. Where several of them apply to one part, as in two
branches of ``anyOf``, the checks of a part multiply with every round. So they are counted before an answer is checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from llm_pool.core.messages import Json

MAX_VISITS: Final = 20_000
"""Parts looked at, with references followed; strangers' schemas have fewer."""
MAX_STEPS: Final = 10_000
"""Steps of counting the checks of one answer: about 10 ms."""

_HERE: Final = ("not", "if", "then", "else")
_HERE_EACH: Final = ("allOf", "anyOf", "oneOf")


class EndlessReference(Exception):
    """A reference leads back to itself with nothing in between: *args* has it."""


def fan(schema: dict[str, Json]) -> int:
    """
    How many references back apply to one part of an answer at most; 0: *schema* does not refer to itself.

    Raises:
        EndlessReference: no answer can be checked by it.
    """
    try:
        return _Walk(schema).references_back(schema, {"#": 0}, 0)
    except _TooLarge:  # an operator's own: it is trusted
        return 0


def checks(schema: dict[str, Json], value: Json, most: int) -> int:
    """How often parts of *schema* are held against parts of *value*; above *most*, or after MAX_STEPS, *most* + 1."""
    total = steps = 0
    level: dict[tuple[int, int], tuple[Json, Json, int]] = {(id(value), id(schema)): (value, schema, 1)}
    while level:
        following: dict[tuple[int, int], tuple[Json, Json, int]] = {}
        for held, part, times in level.values():
            for applied in _applied_here(schema, part):
                total, steps = total + times, steps + 1
                for inner, below in _applied_below(applied, held):
                    steps += 1
                    known = following.get((id(inner), id(below)), (inner, below, 0))
                    following[id(inner), id(below)] = (inner, below, known[2] + times)
                if total > most or steps > MAX_STEPS:
                    return most + 1
        level = following
    return total


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
        for name, inner in value.items():
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


class _Walk:
    """One walk through a schema, references followed once on each way."""

    def __init__(self, root: dict[str, Json]) -> None:
        self._root, self._left = root, MAX_VISITS

    def references_back(self, part: Json, entered: Mapping[str, int], depth: int) -> int:
        """How many references to what was *entered*, at which depth, apply to one and the same part of an answer."""
        if not isinstance(part, dict):
            return 0
        self._left -= 1
        if self._left < 0:
            raise _TooLarge
        return (
            self._followed(part.get("$ref"), entered, depth)
            + sum(self.references_back(part.get(keyword), entered, depth) for keyword in _HERE)
            + sum(
                self.references_back(inner, entered, depth) for keyword in _HERE_EACH for inner in _list(part, keyword)
            )
            + sum(self.references_back(inner, entered, depth) for inner in _map(part, "dependentSchemas"))
            + self._inside(part, entered, depth + 1)
        )

    def _followed(self, reference: Json, entered: Mapping[str, int], depth: int) -> int:
        if not isinstance(reference, str):
            return 0
        if reference not in entered:
            return self.references_back(pointed(self._root, reference), {**entered, reference: depth}, depth)
        if depth == entered[reference]:
            raise EndlessReference(reference)
        return 1

    def _inside(self, part: dict[str, Json], entered: Mapping[str, int], depth: int) -> int:
        """Of what applies to members and items: names and places that differ are different parts of an answer."""

        def of(inner: Iterable[Json]) -> list[int]:
            return [self.references_back(each, entered, depth) for each in inner]

        named = of([*_map(part, "properties"), part.get("additionalProperties")])
        placed = of([*_list(part, "prefixItems"), *_list(part, "items"), part.get("items")])
        overlapping = of(
            [
                *_map(part, "patternProperties"),
                *(part.get(keyword) for keyword in ("contains", "propertyNames", "additionalItems")),
                *(part.get(keyword) for keyword in ("unevaluatedProperties", "unevaluatedItems")),
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

"""Which JSON Schemas of strangers are taken: complete in themselves, and cheap to compile and to check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from llm_pool.reading.schemas.compiled import MAX_DEPTH, check, is_deep, patterns_in, shortened
from llm_pool.reading.schemas.patterns import MAX_COST, cost
from llm_pool.reading.schemas.recursion import MAX_AGAIN, EndlessReference, extent, pointed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_pool.core.messages import Json

MAX_PARTS: Final = 2_000
"""Objects, entries of lists and names of properties of a stranger's schema, its references followed. Each may be
looked at for each part of an answer."""
MAX_ENTRIES: Final = 1_000
"""Entries of one list of a stranger's schema: names that are required, options of an enum."""
MAX_CHARACTERS: Final = 65_536
"""Of all names and texts in a stranger's schema."""

_MAPS: Final = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})
_REFERENCES: Final = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})


def complaint_about(schema: dict[str, Json]) -> str:
    """
    Why *schema*, which a stranger wrote, is not taken; empty if it is. Takes at most some 10 ms.

    It has to be JSON Schema, complete in itself, and small with its references followed. It may refer to itself
    further down (``recursion``), and not where it stands.
    """
    import jsonschema_rs

    complaint = _complaint_about_size(schema)
    if complaint:
        return complaint
    try:
        again = extent(schema).again
    except EndlessReference as error:
        return f"$ref {str(error)[:60]}: it refers to itself with nothing in between"
    if again > MAX_AGAIN:
        return f"unevaluatedProperties: too many within each other; a part would be checked {again} times"
    try:
        check(schema)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        return f"not a JSON Schema: {shortened(str(error).split(chr(10), 1)[0])}"
    return ""


class _Part(NamedTuple):
    """
    A part of a schema.

    Attributes:
        keyword: the keyword of JSON Schema that it stands under.
        depth: levels above it, with references followed.
        inside: the references that led to it.
        is_map: its names are not keywords: it is the value of ``properties`` or the like.
    """

    value: Json
    keyword: str
    depth: int
    inside: tuple[str, ...]
    is_map: bool = False


def _complaint_about_size(schema: dict[str, Json]) -> str:
    characters = effort = 0
    for parts, part in enumerate(_unfolded(schema), 1):
        if isinstance(part, str):
            return part
        keyword, value = part.keyword, part.value
        characters += len(value) if isinstance(value, str) else sum(map(len, value)) if isinstance(value, dict) else 0
        if isinstance(value, list) and len(value) > MAX_ENTRIES:
            return f"{keyword}: {len(value)} entries, more than {MAX_ENTRIES}"
        if isinstance(value, dict):
            effort += sum(cost(pattern) for pattern in patterns_in(value))
        if effort > MAX_COST:
            return "pattern: too large to compile, all repetitions written out; shorten it, or use maxLength"
        if characters > MAX_CHARACTERS:
            return f"{keyword}: more than {MAX_CHARACTERS} characters of names and texts up to here"
        if parts > MAX_PARTS:
            return f"{keyword}: more than {MAX_PARTS} parts up to here, with references followed"
    return f"nested deeper than {MAX_DEPTH} levels" if is_deep(schema) else ""


def _unfolded(schema: dict[str, Json]) -> Iterator[_Part | str]:
    """Each object, list and text in *schema*, with its references followed; or why it is not taken."""
    waiting = [_Part(schema, "", 0, ())]
    while waiting:
        part = waiting.pop()
        yield part
        if part.depth > 2 * MAX_DEPTH:
            yield f"{part.keyword}: nested too deep, with references followed"
            return
        if isinstance(part.value, list):
            waiting.extend(_Part(inner, part.keyword, part.depth + 1, part.inside) for inner in part.value)
        elif isinstance(part.value, dict):
            for name, inner in part.value.items():
                found = _member(name, inner, part, schema)
                if isinstance(found, str):
                    yield found
                    return
                waiting.append(found)


def _member(name: str, inner: Json, part: _Part, root: dict[str, Json]) -> _Part | str:
    if part.is_map:
        return _Part(inner, part.keyword, part.depth + 1, part.inside)
    if name in _REFERENCES and isinstance(inner, str):
        if name != "$ref":
            return f"{name} {inner[:60]}: expected $ref"
        if inner == "#" or inner in part.inside:
            return _Part(inner, name, part.depth + 1, part.inside)  # once is enough
        if not inner.startswith("#/"):
            return f"$ref {inner[:60]}: expected a place inside of it, such as #/$defs/name"
        return _Part(pointed(root, inner), name, part.depth + 1, (*part.inside, inner))
    if name == "$id" and isinstance(inner, str) and part.value is not root:
        return "$id inside of it"
    return _Part(inner, name, part.depth + 1, part.inside, is_map=name in _MAPS)

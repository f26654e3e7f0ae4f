"""JSON Schemas, compiled once, and their complaints in words for people."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from llm_pool.reading.schemas.patterns import BYTES_PER_UNIT, MAX_STEPS, cost, effort
from llm_pool.reading.schemas.recursion import MAX_AGAIN, Extent, checks, extent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import jsonschema_rs

    from llm_pool.core.messages import Json

MAX_DEPTH: Final = 64
"""Levels of nesting of a value or a schema that strangers send."""
MAX_PATTERN_BYTES: Final = 1 << 20
"""Memory of one compiled pattern."""
MAX_KEPT_BYTES: Final = 16 << 20
"""Estimated memory of the compiled schemas that are kept; what was not used for longest goes first."""
MAX_CHECKS: Final = 1_000_000
"""Parts of a schema times values of an answer that is checked by it: about 10 ms in which the event loop stands."""

_BYTES_PER_PART: Final = 1_000
_LONG: Final = 64


class _Compiled(NamedTuple):
    schema: dict[str, Json]  # kept, so that no other gets its identity
    validator: jsonschema_rs.Validator
    extent: Extent
    effort: int  # of its heaviest pattern
    size: int


class _Kept:
    """Compiled schemas by the identity of the dict, bounded in bytes."""

    def __init__(self) -> None:
        self._compiled: OrderedDict[int, _Compiled] = OrderedDict()
        self.size = 0

    def get(self, schema: dict[str, Json]) -> _Compiled:
        kept = self._compiled.get(id(schema))
        if kept is not None and kept.schema is schema:
            self._compiled.move_to_end(id(schema))
            return kept
        compiled = _compile(schema)
        self.drop(schema)
        self._compiled[id(schema)] = compiled
        self.size += compiled.size
        while self.size > MAX_KEPT_BYTES and len(self._compiled) > 1:
            self.size -= self._compiled.popitem(last=False)[1].size
        return compiled

    def drop(self, schema: dict[str, Json]) -> None:
        gone = self._compiled.pop(id(schema), None)
        self.size -= gone.size if gone else 0


_kept = _Kept()


def validator(schema: dict[str, Json]) -> jsonschema_rs.Validator:
    """
    *schema*, compiled, and kept for as long as the same object is asked for again. Other documents are not fetched.

    Raises:
        jsonschema_rs.ValidationError: *schema* is no JSON Schema; ``instance_path`` says where.
    """
    return _kept.get(schema).validator


def forget(schema: dict[str, Json] | None) -> None:
    """Keep no compiled *schema*: it was a stranger's, and its request is over."""
    if schema is not None:
        _kept.drop(schema)


def kept_bytes() -> int:
    """Estimated memory of all compiled schemas that are kept; at most MAX_KEPT_BYTES and one schema's."""
    return _kept.size


def check(schema: dict[str, Json]) -> None:
    """
    Compile *schema*, and keep nothing.

    Raises:
        jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError: it is no JSON Schema.
    """
    _built(schema)


def is_too_much(schema: dict[str, Json], value: Json, length: int) -> bool:
    """Whether checking *value*, read from *length* characters, could hold up the event loop: over MAX_CHECKS."""
    kept = _kept.get(schema)
    parts, fan, again = kept.extent
    again = min(again, MAX_AGAIN)  # of an operator's own schema it may be more
    most = MAX_CHECKS // (parts * again)
    if length > most and any(count > most for count, _ in enumerate(_values(value))):
        return True
    return (fan > 1 or kept.effort * length > MAX_CHECKS) and checks(schema, value, MAX_CHECKS) * again > MAX_CHECKS


def is_deep(value: Json) -> bool:
    """Whether *value* is nested deeper than MAX_DEPTH."""
    level, depth = [value], 0
    while level := [child for parent in level for child in children(parent)]:
        depth += 1
        if depth > MAX_DEPTH:
            return True
    return False


def whole_numbers(schema: Json) -> Json:
    """*schema* with ``2`` for ``2.0``, which JSON Schema holds to be the same."""
    match schema:
        case dict():
            return {name: whole_numbers(inner) for name, inner in schema.items()}
        case list():
            return [whole_numbers(inner) for inner in schema]
        case float() if schema.is_integer():
            return int(schema)
        case _:
            return schema


def fault(schema: dict[str, Json], value: Json) -> tuple[str, str] | None:
    """
    The first thing in *value* that *schema* forbids.

    Returns:
        The path of the culprit, empty for the whole value, and what is wrong with it; None if nothing is.
    """
    import jsonschema_rs

    try:
        validator(schema).validate(value)  # not iter_errors, which finds all before it gives the first
    except jsonschema_rs.ValidationError as error:
        return _told(error)
    return None


def _told(error: jsonschema_rs.ValidationError) -> tuple[str, str]:
    kind, parts = error.kind, list(error.instance_path)
    if kind.name == "required":
        return dotted([*parts, str(kind.value)]), "is missing"
    if kind.name == "additionalProperties":
        return dotted([*parts, str(kind.value[0])]), "is not a known field"
    return dotted(parts), shortened(error.message)


def dotted(parts: Sequence[str | int]) -> str:
    """``steps[1].action`` for ``["steps", 1, "action"]``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")


def children(value: Json) -> list[Json]:
    """What *value* holds, if it is an object or a list."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def shortened(message: str) -> str:
    """*message* with its middle left out, where it is long."""
    return message if len(message) <= 160 else f"{message[:90]} … {message[-60:]}"


def _built(schema: dict[str, Json]) -> jsonschema_rs.Validator:
    import jsonschema_rs

    patterns = jsonschema_rs.FancyRegexOptions(
        backtrack_limit=MAX_STEPS, size_limit=MAX_PATTERN_BYTES, dfa_size_limit=MAX_PATTERN_BYTES
    )
    return jsonschema_rs.validator_for(schema, offline=True, pattern_options=patterns)


def _compile(schema: dict[str, Json]) -> _Compiled:
    found = extent(schema)
    parts, size, heaviest = 1, 0, 0
    for value in _values(schema):
        parts += 1
        size += _BYTES_PER_PART
        if isinstance(value, dict):
            texts = list(patterns_in(value))
            size += BYTES_PER_UNIT * sum(map(cost, texts))
            heaviest = max(heaviest, *map(effort, texts), 0)
    return _Compiled(schema, _built(schema), found._replace(parts=max(parts, found.parts)), heaviest, size)


def patterns_in(part: dict[str, Json]) -> Iterator[str]:
    """The regular expressions of one object of a schema."""
    pattern, properties = part.get("pattern"), part.get("patternProperties")
    if isinstance(pattern, str):
        yield pattern
    if isinstance(properties, dict):
        yield from properties


def _values(value: Json) -> Iterator[Json]:
    """*value* and all in it; a long text comes once for each part of it, a long number once for each of its squared."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        yield value
        if isinstance(value, str):
            for _ in range(len(value) // _LONG):
                yield None
        elif isinstance(value, int):
            for _ in range((value.bit_length() // _LONG) ** 2):
                yield None
        else:
            waiting.extend(children(value))

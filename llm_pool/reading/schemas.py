"""JSON Schemas, compiled once, and their complaints in words for people."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import jsonschema_rs

    from llm_pool.core.messages import Json

MAX_DEPTH = 64
"""Levels of nesting of a value or a schema that strangers send."""
MAX_PARTS = 2_000
"""Parts of a stranger's schema, its references followed. Each may be looked at for each part of an answer."""
MAX_STEPS = 1_000
"""Steps back of a pattern that looks around or back; others need none."""

_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_KEPT = 128
_compiled: OrderedDict[int, tuple[dict[str, Json], jsonschema_rs.Validator]] = OrderedDict()


def validator(schema: dict[str, Json]) -> jsonschema_rs.Validator:
    """
    *schema*, compiled, and kept for as long as the same object is asked for again. Other documents are not fetched.

    Raises:
        jsonschema_rs.ValidationError: *schema* is no JSON Schema; ``instance_path`` says where.
    """
    kept = _compiled.get(id(schema))
    if kept is not None and kept[0] is schema:
        return kept[1]
    import jsonschema_rs

    patterns = jsonschema_rs.FancyRegexOptions(backtrack_limit=MAX_STEPS)
    compiled = jsonschema_rs.validator_for(schema, offline=True, pattern_options=patterns)
    _compiled[id(schema)] = schema, compiled
    if len(_compiled) > _KEPT:
        _compiled.popitem(last=False)
    return compiled


def is_deep(value: Json) -> bool:
    """Whether *value* is nested deeper than MAX_DEPTH."""
    level, depth = [value], 0
    while level := [child for parent in level for child in _children(parent)]:
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


def complaint_about(schema: dict[str, Json]) -> str:
    """
    Why *schema*, which a stranger wrote, is not taken; empty if it is.

    It has to be JSON Schema, complete in itself, and small with its references followed: one that refers to itself
    in two places makes an answer of twenty levels a million times as long to check, on the one event loop.
    """
    import jsonschema_rs

    if is_deep(schema):
        return f"nested deeper than {MAX_DEPTH} levels"
    for count, wrong in enumerate(_unfolded(schema, schema, (), 0)):
        if wrong or count >= MAX_PARTS:
            return wrong or f"more than {MAX_PARTS} parts, with its references followed"
    try:
        validator(schema)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        return f"not a JSON Schema: {_short(str(error).split(chr(10), 1)[0])}"
    return ""


def fault(schema: dict[str, Json], value: Json) -> tuple[str, str] | None:
    """
    The first thing in *value* that *schema* forbids.

    Returns:
        The path of the culprit, empty for the whole value, and what is wrong with it; None if nothing is.
    """
    error = next(validator(schema).iter_errors(value), None)
    if error is None:
        return None
    kind, parts = error.kind, list(error.instance_path)
    if kind.name == "required":
        return dotted([*parts, str(kind.value)]), "is missing"
    if kind.name == "additionalProperties":
        return dotted([*parts, str(kind.value[0])]), "is not a known field"
    return dotted(parts), _short(error.message)


def dotted(parts: Sequence[str | int]) -> str:
    """``steps[1].action`` for ``["steps", 1, "action"]``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")


def _unfolded(part: Json, root: Json, inside: tuple[str, ...], depth: int) -> Iterator[str]:
    """A word for each object in *part*, with its references followed: empty, or why it is not taken."""
    if depth > 2 * MAX_DEPTH:
        yield "nested too deep, with its references followed"
    elif isinstance(part, dict):
        yield ""
        for name, inner in part.items():
            if name in _REFERENCES and isinstance(inner, str):
                yield from _followed(name, inner, root, inside, depth)
            elif name == "$id" and isinstance(inner, str) and part is not root:
                yield "$id inside of it"
            else:
                yield from _unfolded(inner, root, inside, depth + 1)
    elif isinstance(part, list):
        for inner in part:
            yield from _unfolded(inner, root, inside, depth + 1)


def _followed(name: str, to: str, root: Json, inside: tuple[str, ...], depth: int) -> Iterator[str]:
    if name != "$ref" or to in inside or to == "#":
        yield f"{name} {to[:60]}: it refers to itself"
    elif not to.startswith("#/"):
        yield f"$ref {to[:60]}: expected a place inside of it, such as #/$defs/name"
    else:
        yield from _unfolded(_pointed(root, to), root, (*inside, to), depth + 1)


def _pointed(root: Json, pointer: str) -> Json:
    """What is at *pointer*, ``#/…``; nothing where it points nowhere, which its compiler complains of."""
    from urllib.parse import unquote

    found = root
    for step in unquote(pointer).split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            found = found.get(name) if isinstance(found, dict) else None
    return found


def _children(value: Json) -> list[Json]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _short(message: str) -> str:
    return message if len(message) <= 160 else f"{message[:90]} … {message[-60:]}"

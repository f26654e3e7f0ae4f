"""JSON Schemas, compiled once, and their complaints in words for people."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import jsonschema_rs

    from llm_pool.messages import Json

MAX_DEPTH = 64
"""Levels of nesting of a value or a schema that strangers send."""

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

    compiled = jsonschema_rs.validator_for(schema, offline=True)
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
    """Why *schema*, which a stranger wrote, is not taken: no JSON Schema, one of other documents, or too deep."""
    import jsonschema_rs

    if is_deep(schema):
        return f"nested deeper than {MAX_DEPTH} levels"
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


def _children(value: Json) -> list[Json]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _short(message: str) -> str:
    return message if len(message) <= 160 else f"{message[:90]} … {message[-60:]}"

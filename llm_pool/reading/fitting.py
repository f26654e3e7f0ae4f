"""From a value that a rung found to one that the schema accepts, without changing what it says."""

from __future__ import annotations

import json
import re
from types import NoneType
from typing import TYPE_CHECKING, Any

from llm_pool.core.messages import Reading
from llm_pool.reading.schemas import fault, validator
from llm_pool.reading.wanted import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llm_pool.core.messages import Json
    from llm_pool.reading.wanted import Candidate, Wanted

MAX_MISSING = 0.3
"""Share of the ids that a ranking may leave out and still count as one. Source: recorded rerankings, where weak
models drop ids from the tail; the order of what they did name is sound."""


def fit(candidate: Candidate, wanted: Wanted) -> Reading:
    """
    The reading of *candidate*: as it is if it is valid, else coerced, and a ranking completed.

    Raises:
        Unreadable: it cannot be made valid.
    """
    text = candidate.source if candidate.rung == "strict" else _encoded(candidate.value)
    if _is_valid(candidate.value, wanted):
        return Reading(candidate.source or text, candidate.value, candidate.rung)
    rung, value = "coerced", _coerced(_unwrapped(candidate.value, wanted), wanted.schema, whole=wanted.field)
    if wanted.kind == "ranking" and isinstance(value, dict) and isinstance(value.get(wanted.field), list):
        rung, value = "ranked", {**value, wanted.field: permutation(value[wanted.field], wanted.ids)}
    found = fault(wanted.schema, value)
    if found is not None:
        path, what = found
        raise Unreadable(f"{path or 'the answer'}: {what}")
    if not _names_field(value, wanted):
        raise Unreadable(f"{wanted.field}: is missing")
    return Reading(_encoded(value), value, rung)


def permutation(ranked: Sequence[Json], ids: Sequence[str]) -> list[str]:
    """
    *ranked* as a permutation of *ids*: unknown ones and repetitions dropped, missing ones appended in *ids*' order.

    Raises:
        Unreadable: more than MAX_MISSING of *ids* are missing.
    """
    named = [_option(item.get("id") if isinstance(item, dict) else item, ids) for item in ranked]
    known = list(dict.fromkeys(name for name in named if name in ids))
    missing = [name for name in ids if name not in known]
    if len(missing) > MAX_MISSING * len(ids):
        raise Unreadable(f"the ranking names {len(known)} of {len(ids)} ids")
    return [*known, *missing]


def _is_valid(value: Json, wanted: Wanted) -> bool:
    return validator(wanted.schema).is_valid(value) and _names_field(value, wanted)


def _names_field(value: Json, wanted: Wanted) -> bool:
    return not wanted.field or not isinstance(value, dict) or wanted.field in value


def _encoded(value: Json) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except ValueError as error:
        raise Unreadable(f"no JSON can say it: {error}") from error
    return text


def _unwrapped(value: Json, wanted: Wanted) -> Json:
    """The object inside ``[{…}]`` or ``{"result": {…}}``; the object around a bare ranking."""
    if isinstance(value, dict) and len(value) == 1 and value.keys().isdisjoint(wanted.schema.get("properties", {})):
        (inner,) = value.values()
        value = inner if isinstance(inner, (dict, list)) else value
    if not isinstance(value, list) or wanted.shape != "object":
        return value
    single = value[0] if len(value) == 1 else None
    if wanted.kind == "ranking" and not (isinstance(single, dict) and wanted.field in single):
        return {wanted.field: value}
    return value if single is None else single


# Coercion: from what a model wrote to the type that is asked for.


def _coerced(value: Json, schema: Json, *, whole: str = "") -> Json:
    """*value* nearer to *schema*; *whole* names a field that is never shortened."""
    if not isinstance(schema, dict):
        return value
    if "enum" in schema:
        return _option(value, schema["enum"])
    kinds = schema.get("type", ())
    kinds = (kinds,) if isinstance(kinds, str) else kinds
    for kind in kinds:
        if _is(value, kind):
            return _IN_PLACE[kind](value, schema, whole) if kind in _IN_PLACE else value
    for kind in kinds:
        other = _converted(value, kind)
        if other is not None:
            return _coerced(other, schema)
    return value


def _converted(value: Json, kind: str) -> Json:
    """*value* as a JSON *kind*; None where that would be guesswork."""
    if kind == "array" and value is not None and not isinstance(value, dict):
        return [value]
    if kind == "string" and isinstance(value, (bool, int, float)):
        return json.dumps(value)
    if not isinstance(value, str):
        return None
    word = value.strip()
    if kind in {"number", "integer"} and _NUMBER.fullmatch(word):
        return int(word) if word.lstrip("-").isdigit() else float(word)
    return _TRUTH.get(word.lower()) if kind == "boolean" else None


def _coerced_object(value: dict[str, Json], schema: dict[str, Json], whole: str) -> Json:
    known, required = schema.get("properties", {}), schema.get("required", ())
    closed = schema.get("additionalProperties") is False
    fitted = {}
    for name, member in value.items():
        if (name not in known and closed) or (member is None and name not in required):
            continue
        inner = known.get(name)
        if name == whole and isinstance(inner, dict):
            inner = {key: rule for key, rule in inner.items() if key != "maxLength"}
        fitted[name] = _coerced(member, inner)
    return fitted


def _coerced_array(value: list[Json], schema: dict[str, Json], _whole: str) -> Json:
    items = [_coerced(item, schema.get("items")) for item in value]
    if not all(isinstance(item, str) for item in items):
        return items  # objects are steps of something: dropping one changes what is said
    if schema.get("uniqueItems"):
        items = list(dict.fromkeys(items))
    return items[: schema.get("maxItems", len(items))]


def _coerced_string(value: str, schema: dict[str, Json], _whole: str) -> str:
    limit = schema.get("maxLength", len(value))
    if len(value) <= limit:
        return value
    kept = value[:limit]
    return (kept[: kept.rfind(" ")] if " " in kept else kept).rstrip(" ,;:-")


def _option(value: Json, options: Sequence[Json]) -> Json:
    """The option that *value* means: itself, or the only one that differs in nothing but case, spaces or type."""
    if value in options:
        return value
    alike = [option for option in options if _plain(option) == _plain(value)]
    return alike[0] if len(alike) == 1 else value


def _plain(value: Json) -> str:
    return str(value).strip(" \t\n\"'`.").casefold()


def _is(value: Json, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES.get(kind, ()))


_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": NoneType,
}
_IN_PLACE: dict[str, Callable[[Any, dict[str, Json], str], Json]] = {
    "object": _coerced_object,
    "array": _coerced_array,
    "string": _coerced_string,
}
_NUMBER = re.compile(r"-?\d{1,300}(\.\d{1,300})?([eE][+-]?\d{1,3})?")
_TRUTH = {"true": True, "yes": True, "false": False, "no": False}

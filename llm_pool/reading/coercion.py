"""From a value that a repair found to one that the schema accepts, without changing what it says."""

from __future__ import annotations

import json
import re
from types import NoneType
from typing import TYPE_CHECKING, Any

from llm_pool.core.messages import Reading
from llm_pool.reading.blanks import is_blank
from llm_pool.reading.expectation import Unreadable, plain_name
from llm_pool.reading.numerals import numeral
from llm_pool.reading.options import Options
from llm_pool.reading.rankings import permutation, ranked
from llm_pool.reading.schemas import fault, is_too_much, validator

if TYPE_CHECKING:
    from llm_pool.core.messages import Json
    from llm_pool.reading.expectation import Candidate, Expectation


def coerce(candidate: Candidate, expectation: Expectation) -> Reading:
    """
    The reading of *candidate*: as it is if it is valid, else coerced, and a ranking completed.

    Raises:
        Unreadable: it cannot be made valid, or what decides is blank.
    """
    _check_size(candidate.value, expectation, candidate.end - candidate.start)
    text = candidate.source if candidate.repair == "strict" else _encoded(candidate.value)
    if _is_valid(candidate.value, expectation):
        _check_blank(candidate.value, expectation)
        return Reading(candidate.source or text, candidate.value, candidate.repair)
    repair, value = "coerced", _coerced(candidate.value, expectation)
    if expectation.kind == "ranking" and isinstance(value, dict) and expectation.field in value:
        repair, value = "ranked", {**value, expectation.field: _ranking(value[expectation.field], expectation)}
    text = _encoded(value)
    _check_size(value, expectation, len(text))
    found = fault(expectation.schema, value)
    if found is not None:
        path, what = found
        raise Unreadable(f"{path or 'the answer'}: {what}")
    if not _names_field(value, expectation):
        raise Unreadable(f"{expectation.field}: is missing")
    _check_blank(value, expectation)
    return Reading(text, value, repair)


def _check_size(value: Json, expectation: Expectation, length: int) -> None:
    if is_too_much(expectation.schema, value, length):
        raise Unreadable("the answer holds too many values for a schema of this size")


def _coerced(value: Json, expectation: Expectation) -> Json:
    return _Coercion().value(_unwrapped(value, expectation), expectation.schema, expectation.field)


def _ranking(value: Json, expectation: Expectation) -> Json:
    listed = ranked(value, expectation.ids)
    return value if listed is None else permutation(listed, expectation.ids)


def _is_valid(value: Json, expectation: Expectation) -> bool:
    return validator(expectation.schema).is_valid(value) and _names_field(value, expectation)


def _names_field(value: Json, expectation: Expectation) -> bool:
    return not expectation.field or not isinstance(value, dict) or expectation.field in value


def decides(value: Json, expectation: Expectation) -> bool:
    """Whether *value* says, rightly or not, what is asked for: it names the deciding field and leaves it not blank."""
    if not isinstance(value, dict) or not expectation.field:
        return True
    value = _renamed(value, {expectation.field: None})
    said = value.get(expectation.field)
    return expectation.field in value and not (isinstance(said, str) and _is_blank(said, value))


def _check_blank(value: Json, expectation: Expectation) -> None:
    """
    A blank is no vote.

    Raises:
        Unreadable: what decides says nothing, and the schema does not name it as an option.
    """
    said = value.get(expectation.field) if isinstance(value, dict) and expectation.field else value
    if isinstance(said, str) and _is_blank(said, value) and not _names(expectation.deciding_schema, said):
        raise Unreadable(f"{expectation.field or 'the answer'}: {said[:20]!r} says nothing")


def _is_blank(said: str, value: Json) -> bool:
    """Whether *said* is blank; an empty text is not where the rest of *value* speaks of one: programs print such."""
    if said.strip() or not isinstance(value, dict):
        return is_blank(said)
    return not any(isinstance(text, str) and _EMPTY.search(text) for text in value.values())


def _names(schema: Json, value: str) -> bool:
    return isinstance(schema, dict) and (value in schema.get("enum", ()) or value == schema.get("const"))


def _encoded(value: Json) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except ValueError as error:
        raise Unreadable(f"no JSON can say it: {error}") from error
    return text


def _unwrapped(value: Json, expectation: Expectation) -> Json:
    """The object inside ``[{…}]`` or ``{"result": {…}}``; the object around a bare ranking or a bare value."""
    properties = expectation.schema.get("properties", {})
    if isinstance(value, dict) and len(value) == 1 and _renamed(value, properties).keys().isdisjoint(properties):
        (inner,) = value.values()
        inner = _parsed(inner) if isinstance(inner, str) else inner
        value = inner if isinstance(inner, (dict, list)) else value
    if isinstance(value, dict) and expectation.field not in _renamed(value, properties):
        inside = [inner for inner in value.values() if isinstance(inner, dict) and decides(inner, expectation)]
        value = inside[0] if expectation.field and len(inside) == 1 else value
    if expectation.shape != "object" or isinstance(value, dict):
        return value
    if not isinstance(value, list):
        return _around(value, expectation)
    single = value[0] if len(value) == 1 else None
    if expectation.kind == "ranking" and not (isinstance(single, dict) and expectation.field in single):
        return {expectation.field: value}
    return value if single is None else single


def _around(value: Json, expectation: Expectation) -> Json:
    """The object around a bare *value*, where it has one field and that is no text that could be anything."""
    return {expectation.field: value} if expectation.takes_bare else value


class _Coercion:
    """From what a model wrote to the types that are asked for."""

    def __init__(self) -> None:
        self._options: dict[int, Options] = {}  # by the identity of the list of options, which outlives this

    def value(self, value: Json, schema: Json, whole: str) -> Json:
        """*value* nearer to *schema*; *whole* names a field that is never shortened."""
        if not isinstance(schema, dict):
            return value
        if isinstance(schema.get("enum"), list):
            return self._option(value, schema["enum"])
        kinds = _types(schema)
        for kind in kinds:
            if _is(value, kind):
                return self._in_place(kind, value, schema, whole)
        for kind in kinds:
            other = _converted(value, kind, schema)
            if other is not None:
                return self.value(other, schema, "")
        return value

    def _option(self, value: Json, options: list[Json]) -> Json:
        if id(options) not in self._options:
            self._options[id(options)] = Options(options)
        return self._options[id(options)].meant(value)

    def _in_place(self, kind: str, value: Any, schema: dict[str, Json], whole: str) -> Json:
        match kind:
            case "object":
                return self._object(value, schema, whole)
            case "array":
                return self._array(value, schema)
            case "string":
                return _shortened(value, schema)
        return value

    def _object(self, value: dict[str, Json], schema: dict[str, Json], whole: str) -> Json:
        known, required = schema.get("properties", {}), frozenset(schema.get("required", ()))
        closed = schema.get("additionalProperties") is False
        fitted = {}
        for name, member in _renamed(value, known).items():
            if (name not in known and closed) or (member is None and name not in required):
                continue
            inner = known.get(name)
            if name == whole and isinstance(inner, dict):
                inner = {key: rule for key, rule in inner.items() if key != "maxLength"}
            fitted[name] = self.value(member, inner, "")
        return fitted

    def _array(self, value: list[Json], schema: dict[str, Json]) -> Json:
        items = [self.value(item, schema.get("items"), "") for item in value]
        if not all(isinstance(item, str) for item in items):
            return items  # objects are steps of something: dropping one changes what is said
        if schema.get("uniqueItems"):
            items = list(dict.fromkeys(items))
        return items[: schema.get("maxItems", len(items))]


def _renamed(value: dict[str, Json], known: dict[str, Json]) -> dict[str, Json]:
    """*value* with the names of *known*, where just one name differs from it in case, spaces and hyphens alone."""
    strange = [name for name in value if name not in known]
    missing = {plain_name(name): name for name in known if name not in value}
    meant: dict[str, list[str]] = {}
    for name in strange:
        meant.setdefault(missing.get(plain_name(name), ""), []).append(name)
    names = {alike[0]: name for name, alike in meant.items() if name and len(alike) == 1}
    return {names.get(name, name): member for name, member in value.items()} if names else value


def _parsed(text: str) -> Json:
    from llm_pool.reading.tolerant import parse_whole  # where it is needed: see ``repair``

    return parse_whole(text)


def _converted(value: Json, kind: str, schema: dict[str, Json]) -> Json:
    """*value* as a JSON *kind*; None where that would be guesswork."""
    if kind in {"array", "object"} and isinstance(value, str):
        parsed = _parsed(value)
        if isinstance(parsed, _TYPES[kind]):
            return parsed
    if kind == "array" and value is not None and not isinstance(value, dict):
        return [value]
    if kind == "string" and isinstance(value, (bool, int, float)):
        return json.dumps(value)
    if not isinstance(value, str):
        return None
    if kind in {"number", "integer"}:
        return _number(value, schema)
    return _TRUTH.get(_bare(value).casefold()) if kind == "boolean" else None


def _number(text: str, schema: dict[str, Json]) -> int | float | None:
    found = numeral(_bare(text))
    if found is None:
        return None
    return found.value / 100 if found.is_percent and _is_share(schema) else found.value


def _is_share(schema: dict[str, Json]) -> bool:
    """Whether *schema* takes a share of one: nothing over 1."""
    most = schema.get("maximum", schema.get("exclusiveMaximum"))
    return isinstance(most, (int, float)) and most <= 1


def _bare(text: str) -> str:
    r"""*text* without the marks around a value: ``**5**``, ``$5$``, ``\boxed{5}``, and a full stop."""
    text = text.strip().strip("*_`\"' ").rstrip(" .!").strip("*_`\"' ")
    wrapped = _WRAPPED.fullmatch(text)
    return next(filter(None, wrapped.groups()), "") if wrapped else text


def _shortened(value: str, schema: dict[str, Json]) -> str:
    limit = schema.get("maxLength", len(value))
    if len(value) <= limit:
        return value
    kept = value[:limit]
    return (kept[: kept.rfind(" ")] if " " in kept else kept).rstrip(" ,;:-")


def _types(schema: dict[str, Json]) -> tuple[str, ...]:
    kinds = schema.get("type", ())
    return (kinds,) if isinstance(kinds, str) else tuple(kinds)


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
_EMPTY = re.compile(r"\bempty\b", re.IGNORECASE)
_TRUTH = {"true": True, "yes": True, "false": False, "no": False}
_WRAPPED = re.compile(r"\$\$?([^$]+)\$\$?|\\\((.+)\\\)|\\\[(.+)\\\]|\\boxed\{([^{}]+)\}", re.DOTALL)

"""What a key accepts, in words."""

from __future__ import annotations

from typing import Any

from msgspec import inspect


def accepted_values(annotation: Any) -> str:
    """What a value of this type must be: "an integer from 1 to 4", "one of FASTEST, VOTING"."""
    return _describe(inspect.type_info(annotation))


def _describe(info: inspect.Type) -> str:
    if isinstance(info, inspect.Metadata):
        said = (info.extra or {}).get("want")
        return said if isinstance(said, str) else _describe(info.type)
    match info:
        case inspect.UnionType(types=types):
            return " or ".join(_describe(member) for member in types if not isinstance(member, inspect.NoneType))
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType(gt=gt, ge=ge, lt=lt, le=le):
            return "an integer" + _range(gt, ge, lt, le)
        case inspect.FloatType(gt=gt, ge=ge, lt=lt, le=le):
            return "a number" + _range(gt, ge, lt, le)
        case inspect.EnumType(cls=cls):
            return "one of " + ", ".join(member.value for member in cls)
        case inspect.VarTupleType(item_type=item):
            return "a list, each " + _describe(item)
        case inspect.DictType() | inspect.StructType():
            return "a table"
        case inspect.AnyType():
            return "any value"
        case _:
            return "a string"


def _range(gt: float | None, ge: float | None, lt: float | None, le: float | None) -> str:
    if ge is not None and le is not None:
        return f" from {_number(ge)} to {_number(le)}"
    low = f" above {_number(gt)}" if gt is not None else f" of at least {_number(ge)}" if ge is not None else ""
    high = f" below {_number(lt)}" if lt is not None else f" up to {_number(le)}" if le is not None else ""
    return f"{low}{' and' if low and high else ''}{high}"


def _number(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)

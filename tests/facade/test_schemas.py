"""From a type to JSON Schema, and from JSON to a value."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from typing import Any, Literal

import msgspec
import pydantic
import pytest

from llm_pool import BadReply, InvalidRequest
from llm_pool.facade.schemas import expectation
from llm_pool.testing import an_answer


@dataclasses.dataclass
class Point:
    x: int
    y: int


@dataclasses.dataclass
class Line:
    begin: Point
    end: Point
    name: str | None = None


@dataclasses.dataclass
class Tree:
    children: list[Tree]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Event(pydantic.BaseModel):
    on: dt.date
    colour: Colour


@dataclasses.dataclass
class Even:
    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError("an odd number")


def answered(value: Any) -> Any:
    return msgspec.structs.replace(an_answer(), json=value)


def test_the_root_is_no_reference() -> None:
    """Its parts may be, to each other."""
    schema = expectation(Line).json_schema

    assert schema is not None
    assert schema["type"] == "object"
    assert set(schema["$defs"]) == {"Point"}


def test_a_type_within_itself_is_left_to_admission() -> None:
    """Which refuses schemas that refer to themselves, with the reason."""
    schema = expectation(Tree).json_schema

    assert schema is not None
    assert schema["$ref"] == "#/$defs/Tree"
    assert "Tree" in schema["$defs"]


@pytest.mark.parametrize(
    ("kind", "json", "value"),
    [
        (Line, {"begin": {"x": 1, "y": 2}, "end": {"x": 3, "y": 4}}, Line(Point(1, 2), Point(3, 4))),
        (Event, {"on": "2026-11-25", "colour": "red"}, Event(on=dt.date(2026, 11, 25), colour=Colour.RED)),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (int, 7, 7),
        (Colour, "blue", Colour.BLUE),
        (Literal["a", "b"], "a", "a"),
        ({"type": "object"}, {"a": 1}, {"a": 1}),
        (None, {"a": 1}, {"a": 1}),
    ],
)
def test_a_value_is_of_its_type(kind: Any, json: Any, value: Any) -> None:
    assert expectation(kind).fulfil(answered(json)).value == value


def test_a_check_of_the_types_own_counts() -> None:
    """Which JSON Schema does not know."""
    assert expectation(Even).fulfil(answered({"number": 2})).value == Even(2)
    with pytest.raises(BadReply, match=r"the answer is no Even: .*an odd number"):
        expectation(Even).fulfil(answered({"number": 3}))


@pytest.mark.parametrize("kind", [type("Odd", (), {}), list[complex | set[bytes] | Point]])
def test_a_type_without_a_schema_is_refused(kind: Any) -> None:
    with pytest.raises(InvalidRequest, match="has no JSON Schema") as caught:
        expectation(kind)

    assert caught.value.field == "schema"

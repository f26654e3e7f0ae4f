"""Schemas that refer to themselves: taken where that can end, and checked in bounded time."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.reading import Unreadable, read
from llm_pool.reading.schemas import complaint_about
from llm_pool.reading.schemas.recursion import checks, extent

TREE: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#"}}},
    "required": ["name"],
}
LIST: dict[str, Any] = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["value", "next"],
        }
    },
    "$ref": "#/$defs/node",
}
TERM: dict[str, Any] = {"$ref": "#/$defs/term"}
MANY: dict[str, Any] = {"type": "array", "items": TERM}
EXPRESSION: dict[str, Any] = {
    "$defs": {
        "term": {
            "anyOf": [
                {"properties": {"op": {"const": "and"}, "terms": MANY}, "required": ["op", "terms"], "type": "object"},
                {"properties": {"op": {"const": "or"}, "terms": MANY}, "required": ["op", "terms"], "type": "object"},
                {"properties": {"op": {"const": "not"}, "term": TERM}, "required": ["op", "term"], "type": "object"},
                {"type": "string"},
            ]
        }
    },
    "type": "object",
    "properties": {"term": TERM},
    "required": ["term"],
}
MUTUAL: dict[str, Any] = {
    "$defs": {
        "folder": {"type": "object", "properties": {"entries": {"type": "array", "items": {"$ref": "#/$defs/entry"}}}},
        "entry": {"anyOf": [{"$ref": "#/$defs/folder"}, {"type": "string"}]},
    },
    "$ref": "#/$defs/folder",
}
DOUBLING: dict[str, Any] = {"type": "object", "properties": {"a": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}}


@pytest.mark.parametrize(
    ("schema", "times"), [(TREE, 1), (LIST, 1), (EXPRESSION, 3), (MUTUAL, 1), (DOUBLING, 2), ({"type": "object"}, 0)]
)
def test_it_is_taken_where_each_reference_leads_further_down(schema: dict[str, Any], times: int) -> None:
    """And it is known how many references apply to one part."""
    assert complaint_about(schema) == ""
    assert extent(schema).fan == times


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"not": {"$ref": "#"}},
        {"anyOf": [{"type": "string"}, {"allOf": [{"$ref": "#"}]}]},
        {"if": {"$ref": "#"}},
        {"dependentSchemas": {"a": {"$ref": "#"}}},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"properties": {"x": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"oneOf": [{"$ref": "#/$defs/a"}]}}},
    ],
)
def test_one_that_leads_nowhere_is_refused(schema: dict[str, Any]) -> None:
    """Checking by it would never end."""
    assert "it refers to itself with nothing in between" in complaint_about(schema)


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (TREE, '{"name":"a","children":[{"name":"b","children":[]},{"name":"c"}]}'),
        (LIST, '{"value":1,"next":{"value":2,"next":null}}'),
        (EXPRESSION, '{"term":{"op":"and","terms":["x",{"op":"not","term":{"op":"or","terms":["y","z"]}}]}}'),
        (MUTUAL, '{"entries":["a",{"entries":["b"]}]}'),
    ],
)
def test_an_answer_is_checked_to_its_depth(schema: dict[str, Any], text: str) -> None:
    """What fits is read; what does not is refused, wherever it is."""
    assert read(text, schema=schema).content == text

    wrong = text.replace('"b"', "7").replace('"y"', "7").replace('"value":2', '"value":"two"')
    with pytest.raises(Unreadable):
        read(wrong, schema=schema)


def nested(levels: int) -> str:
    """``{"a": {"a": … 1}}``."""
    return '{"a":' * levels + "1" + "}" * levels


@pytest.mark.parametrize("levels", [1, 10, 16, 24, 40, 60])
def test_checks_that_double_with_every_level_are_counted_before_they_are_made(levels: int) -> None:
    """Sixty levels would take longer than the world is old."""
    began = time.perf_counter()
    with pytest.raises(Unreadable):  # too many values, or the 1 that is no object
        read(nested(levels), schema=DOUBLING)

    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize(("levels", "times"), [(0, 1), (1, 6), (2, 16)])
def test_the_checks_of_each_part_are_counted(levels: int, times: int) -> None:
    """The root by itself; its member by five: the part that names it, two references, and what they refer to."""
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}

    assert checks(DOUBLING, value, 1000) == times
    assert checks(DOUBLING, value, times - 1) == times


REFERENCES = st.sampled_from([{"$ref": "#"}, {"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}, {"type": "string"}, {}])
PARTS: st.SearchStrategy[Any] = st.recursive(
    REFERENCES,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
            "items": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "additionalProperties": inner,
            "not": inner,
        },
    ),
    max_leaves=5,
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(["x", 1, None]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=8,
)


@given(root=PARTS, a=PARTS, b=PARTS, value=VALUES)
def test_whatever_refers_to_whatever_every_answer_is_read_or_refused(root: Any, a: Any, b: Any, value: Any) -> None:
    """Nothing hangs, and nothing crashes the checker."""
    schema = {**root, "$defs": {"a": a, "b": b}}
    if complaint_about(schema):
        return
    with suppress(Unreadable):
        read(json.dumps(value), schema=schema)

"""What is asked of a server's grammar, and what stays for our own check."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.config import prompts_folder
from llm_pool.providers.grammar_schemas import for_grammar
from llm_pool.tasks.frontmatter import split


@pytest.mark.parametrize(
    "keyword",
    [
        "uniqueItems",
        "pattern",
        "format",
        "multipleOf",
        "contains",
        "minProperties",
        "propertyNames",
        "not",
        "if",
        "$id",
    ],
)
def test_a_keyword_that_grammars_do_not_know_is_left_out(keyword: str) -> None:
    assert for_grammar({"type": "array", keyword: True}) == {"type": "array"}


def test_it_is_left_out_at_every_depth() -> None:
    inner: dict[str, Any] = {"type": "array", "items": {"type": "string", "pattern": "x"}, "uniqueItems": True}
    schema = {"type": "object", "properties": {"a": inner}, "anyOf": [inner], "$defs": {"d": inner}}
    plain = {"type": "array", "items": {"type": "string"}}

    assert for_grammar(schema) == {
        "type": "object",
        "properties": {"a": plain},
        "anyOf": [plain],
        "$defs": {"d": plain},
    }


def test_names_of_fields_are_no_keywords() -> None:
    schema = {"type": "object", "properties": {"format": {"type": "string"}, "not": {"enum": ["if"]}}}

    assert for_grammar(schema) == schema


def test_values_are_left_alone() -> None:
    schema = {"enum": [{"uniqueItems": True}], "const": {"format": 1}}

    assert for_grammar(schema) == schema


def test_names_that_a_pattern_allows_stay_allowed() -> None:
    schema = {"type": "object", "patternProperties": {"^x": {}}, "additionalProperties": False}

    assert for_grammar(schema) == {"type": "object"}


@pytest.mark.parametrize("schema", [True, False, None, {}])
def test_schemas_without_keywords_are_as_they_are(schema: Any) -> None:
    assert for_grammar(schema) == schema


LEAVES: Any = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "integer", "array", "object"]),
        "minLength": st.integers(0, 3),
        "pattern": st.sampled_from(["^a", "b$"]),
        "uniqueItems": st.booleans(),
        "minItems": st.integers(0, 2),
        "multipleOf": st.integers(1, 3),
        "enum": st.just(["a", 1, []]),
        "not": st.just({"type": "integer"}),
    },
)
SCHEMAS: Any = st.recursive(
    LEAVES,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "items": inner,
            "properties": st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "patternProperties": st.just({"^a": {"type": "string"}}),
            "additionalProperties": st.booleans(),
        },
    ),
    max_leaves=4,
)
VALUES: Any = st.recursive(
    st.sampled_from(["a", "ab", 1, 2, True, None]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=4,
)


@given(SCHEMAS, VALUES)
def test_whatever_fits_still_fits(schema: Any, value: Any) -> None:
    """A grammar may let too much through, which our check finds; it never forbids a good answer."""
    if jsonschema_rs.is_valid(schema, value):
        assert jsonschema_rs.is_valid(for_grammar(schema), value)


def test_the_shipped_tasks_keep_their_fields() -> None:
    for path in prompts_folder().glob("*.md"):
        schema = split(path, path.read_text(encoding="utf-8"))[0].output_schema
        if schema is not None:
            asked = for_grammar(schema)
            assert asked["properties"].keys() == schema["properties"].keys()
            assert "uniqueItems" not in json.dumps(asked)


def test_a_reference_to_all_of_it_gets_a_name() -> None:
    """Grammars follow names only; other references and names stay, and one that is taken is not taken again."""
    schema = {"type": "object", "properties": {"a": {"$ref": "#"}}, "$defs": {"root": {"type": "string"}}}

    sent = for_grammar(schema)

    body = {"type": "object", "properties": {"a": {"$ref": "#/$defs/root_"}}}
    assert sent == {**body, "$defs": {"root": {"type": "string"}, "root_": body}}

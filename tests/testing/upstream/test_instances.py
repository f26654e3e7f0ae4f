from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from llm_pool.tasks import load_tasks
from llm_pool.testing.upstream.instances import instance

PROMPTS = Path(__file__).parents[3] / "prompts"
IDS = {"type": "string", "enum": ["c1", "c2", "c3"]}
SCHEMAS: dict[str, Any] = {
    "verdict": {
        "type": "object",
        "properties": {"winner_id": IDS, "confidence": {"type": "number", "minimum": 0, "maximum": 1}},
        "required": ["winner_id", "confidence"],
        "additionalProperties": False,
    },
    "ranking": {"type": "array", "items": IDS, "minItems": 3, "maxItems": 3, "uniqueItems": True},
    "tags": {"type": "array", "items": {"type": "string"}, "minItems": 4, "maxItems": 8, "uniqueItems": True},
    "title": {"type": "string", "minLength": 5, "maxLength": 60},
    "short": {"type": "string", "maxLength": 3},
    "integer": {"type": "integer", "exclusiveMinimum": 2, "maximum": 9},
    "number below": {"type": "number", "exclusiveMaximum": 0},
    "nullable": {"type": ["null", "boolean"]},
    "const": {"const": {"a": 1}},
    "any of": {"anyOf": [{"type": "integer", "minimum": 4}, {"type": "string"}]},
    "pair": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2},
    "required only": {"type": "object", "required": ["a", "b"]},
    "numbers": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 3, "uniqueItems": True},
    "all of": {
        "allOf": [{"$ref": "#/$defs/named"}, {"properties": {"age": {"type": "integer"}}, "required": ["age"]}],
        "$defs": {"named": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}},
    },
    "reference": {
        "type": "object",
        "properties": {"steps": {"type": "array", "items": {"$ref": "#/$defs/step"}, "minItems": 2}},
        "$defs": {"step": {"type": "object", "properties": {"do": {"type": "string"}}, "required": ["do"]}},
    },
    "date": {"type": "string", "format": "date-time"},
    "anything": {},
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_an_instance_is_valid_and_always_the_same(name: str) -> None:
    """Whatever the schema asks for, a validator accepts the answer."""
    schema = SCHEMAS[name]

    value = instance(schema)

    jsonschema_rs.validate(schema, value)
    assert instance(schema) == value


@pytest.mark.parametrize("name", sorted(path.stem for path in PROMPTS.glob("*.md")))
def test_every_task_that_is_shipped_passes(name: str) -> None:
    """So an upstream without a script answers them all."""
    schema = load_tasks([PROMPTS])[name].output_schema

    jsonschema_rs.validate(schema, instance(schema))


def test_unique_items_keep_the_order_of_an_enum() -> None:
    """A ranking is a ranking, best first as listed."""
    assert instance(SCHEMAS["ranking"]) == ["c1", "c2", "c3"]

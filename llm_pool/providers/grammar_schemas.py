"""The part of JSON Schema that servers can turn into a grammar; our own check of an answer knows the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from llm_pool.core.messages import Json

_KEPT: Final = frozenset(
    {
        "type",
        "enum",
        "const",
        "$ref",
        "required",
        "minItems",
        "maxItems",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "description",
        "title",
    }
)
_SCHEMAS_BY_NAME: Final = frozenset({"properties", "$defs", "definitions"})
_LISTS_OF_SCHEMAS: Final = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_SCHEMAS: Final = frozenset({"items", "additionalProperties"})


def for_grammar(schema: Json) -> Json:
    """
    *schema* without what grammars do not know: ``uniqueItems``, ``pattern``, ``format``, ``not``, ``if`` and the like.

    Every value that fits *schema* fits what comes out, so a grammar made of it forbids no good answer.

    Source: vLLM, v1/structured_output/backend_xgrammar.py, ``has_xgrammar_unsupported_json_features``; llama.cpp,
    grammars/README.md.
    """
    if not isinstance(schema, dict):
        return schema
    kept: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in _KEPT:
            kept[keyword] = value
        elif keyword in _SCHEMAS_BY_NAME and isinstance(value, dict):
            kept[keyword] = {name: for_grammar(inner) for name, inner in value.items()}
        elif keyword in _LISTS_OF_SCHEMAS and isinstance(value, list | tuple):
            kept[keyword] = [for_grammar(inner) for inner in value]
        elif keyword in _SCHEMAS:
            kept[keyword] = for_grammar(value)
    if "patternProperties" in schema:
        kept.pop("additionalProperties", None)  # it speaks of the names that no pattern allows
    return kept

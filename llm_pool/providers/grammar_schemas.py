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

    Every value that fits *schema* fits what comes out, so a grammar made of it forbids no good answer. Where it refers
    to all of itself, it gets a name for that: llama.cpp follows references to names only.

    Source: vLLM, v1/structured_output/backend_xgrammar.py, ``has_xgrammar_unsupported_json_features``; llama.cpp,
    grammars/README.md.
    """
    kept = _known(schema)
    if not _refers_to_root(kept):
        return kept
    names = kept.get("$defs", {})
    name = next(f"root{'_' * tries}" for tries in range(len(names) + 1) if f"root{'_' * tries}" not in names)
    renamed = _renamed(kept, f"#/$defs/{name}")
    root = {keyword: value for keyword, value in renamed.items() if keyword != "$defs"}
    return {**renamed, "$defs": {**renamed.get("$defs", {}), name: root}}


def _refers_to_root(schema: Json) -> bool:
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if part.get("$ref") == "#":
                return True
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    return False


def _renamed(schema: Json, root: str) -> Json:
    """*schema* with *root* for a reference to all of it."""
    if isinstance(schema, dict):
        return {
            name: root if name == "$ref" and inner == "#" else _renamed(inner, root) for name, inner in schema.items()
        }
    return [_renamed(inner, root) for inner in schema] if isinstance(schema, list) else schema


def _known(schema: Json) -> Json:
    """*schema* with the keywords that grammars know."""
    if not isinstance(schema, dict):
        return schema
    kept: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in _KEPT:
            kept[keyword] = value
        elif keyword in _SCHEMAS_BY_NAME and isinstance(value, dict):
            kept[keyword] = {name: _known(inner) for name, inner in value.items()}
        elif keyword in _LISTS_OF_SCHEMAS and isinstance(value, list | tuple):
            kept[keyword] = [_known(inner) for inner in value]
        elif keyword in _SCHEMAS:
            kept[keyword] = _known(value)
    if "patternProperties" in schema:
        kept.pop("additionalProperties", None)  # it speaks of the names that no pattern allows
    return kept

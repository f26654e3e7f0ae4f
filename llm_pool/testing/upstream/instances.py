"""An instance that satisfies a JSON Schema: the same one every time."""

from __future__ import annotations

import math
from typing import Any

TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})


def instance(schema: Any, *, name: str = "text", index: int = 0, root: Any = None) -> Any:
    """
    A value that *schema* accepts, for the schemas that structured output uses (no ``pattern``, no ``not``).

    Args:
        schema: a JSON Schema; anything that is not an object accepts everything.
        name: the property's name, which strings are made of.
        index: position in an array, so that unique items differ.
        root: the whole schema, where ``$ref`` looks.
    """
    root = schema if root is None else root
    if not isinstance(schema, dict):
        return name
    if "$ref" in schema:
        return instance(_look_up(root, schema["$ref"]), name=name, index=index, root=root)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][index % len(schema["enum"])]
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            rest = {k: v for k, v in schema.items() if k != key}
            return instance({**rest, **schema[key][0]}, name=name, index=index, root=root)
    if schema.get("allOf"):
        rest = {k: v for k, v in schema.items() if k != "allOf"}
        return instance(_merged(root, [*schema["allOf"], rest]), name=name, index=index, root=root)
    return _of_type(_type(schema), schema, name, index, root)


def _of_type(kind: str, schema: dict[str, Any], name: str, index: int, root: Any) -> Any:
    if kind == "object":
        properties = {key: {} for key in schema.get("required", ())} | schema.get("properties", {})
        return {key: instance(value, name=key, index=index, root=root) for key, value in properties.items()}
    if kind == "array":
        return _array(schema, name, root)
    if kind == "string":
        return _string(schema, f"{name} {index + 1}" if index else name)
    if kind in {"number", "integer"}:
        return _number(schema, whole=kind == "integer", index=index)
    return True if kind == "boolean" else None


def _array(schema: dict[str, Any], name: str, root: Any) -> list[Any]:
    first = schema.get("prefixItems", [])
    most = schema.get("maxItems", 1_000_000)
    count = min(max(schema.get("minItems", 1), len(first)), most)
    items = schema.get("items", {})
    return [instance(first[at] if at < len(first) else items, name=name, index=at, root=root) for at in range(count)]


def _string(schema: dict[str, Any], text: str) -> str:
    formats = {
        "date": "2026-01-01",
        "date-time": "2026-01-01T00:00:00Z",
        "uri": "http://localhost/",
        "email": "a@b.example",
    }
    text = formats.get(schema.get("format", ""), text)
    while len(text) < schema.get("minLength", 0):
        text += f" {text}"
    return text[: schema.get("maxLength", len(text))]


def _number(schema: dict[str, Any], *, whole: bool, index: int) -> float:
    step = 1 if whole else 0.001
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    low = max(low, schema.get("exclusiveMinimum", -math.inf) + step)
    high = min(high, schema.get("exclusiveMaximum", math.inf) - step)
    wanted = index + 1 if whole else 0.5
    value = min(max(wanted, low + index if math.isfinite(low) else wanted), high)
    return math.floor(value) if whole else float(value)


def _type(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    if kind is None:
        kind = (
            "array" if "items" in schema else "object" if "properties" in schema or "required" in schema else "string"
        )
    return str(kind)


def _look_up(root: Any, ref: str) -> Any:
    for part in ref.lstrip("#/").split("/"):
        root = root[part]
    return root


def _merged(root: Any, schemas: list[Any]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for schema in schemas:
        part = _look_up(root, schema["$ref"]) if "$ref" in schema else schema
        properties = whole.get("properties", {}) | part.get("properties", {})
        required = [*whole.get("required", []), *part.get("required", [])]
        whole |= part
        whole |= {"properties": properties, "required": required} if properties else {}
    return whole

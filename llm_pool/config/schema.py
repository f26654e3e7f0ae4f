"""The JSON Schema of the file, for editors that complete and check TOML (Taplo, Even Better TOML)."""

from __future__ import annotations

from typing import Any

import msgspec

from llm_pool.config.models import Sections
from llm_pool.config.values import Secret


def json_schema() -> dict[str, Any]:
    """The schema as draft 2020-12."""
    schema = msgspec.json.schema(Sections, schema_hook=_schema_of_secret)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "llm-pool.toml", **_pruned(schema)}


def as_text() -> str:
    """The schema as it stands in ``docs/llm-pool.schema.json``."""
    return msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode() + "\n"


def _schema_of_secret(kind: type[Any]) -> dict[str, Any]:
    assert kind is Secret
    return {"type": "string"}


def _pruned(value: Any) -> Any:
    """*value* without null, which TOML does not have, and without the defaults of tables, which their keys have."""
    if isinstance(value, list):
        return [_pruned(item) for item in value if item != {"type": "null"}]
    if not isinstance(value, dict):
        return value
    kept = {name: _pruned(item) for name, item in value.items() if name != "default" or _is_worth_telling(item)}
    if len(kept.get("anyOf", ())) == 1:
        kept |= kept.pop("anyOf")[0]
    return kept


def _is_worth_telling(default: Any) -> bool:
    return default is not None and not isinstance(default, dict)

"""Values written as TOML, for errors, ``config show`` and the files we generate."""

from __future__ import annotations

import re
from typing import Any

from llm_pool.config.values import Secret

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_LONG = 512
"""Bits of a number that is longer than any that is meant."""
MASK = "***"


def toml_value(value: Any) -> str:
    """*value* as TOML on one line; secrets are masked, None inside tables is left out."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Secret):
        return f'"{MASK}"'
    if isinstance(value, str):
        import json

        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, dict):
        pairs = [f"{toml_name(key)} = {toml_value(item)}" for key, item in value.items() if item is not None]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(value, int) and value.bit_length() > _LONG:  # written in hexadecimal: Python prints no such number
        return hex(value)[:20] + "…"
    return str(value)


def toml_name(name: str) -> str:
    """*name* as a TOML key: bare where it can be."""
    return name if _BARE.fullmatch(name) else toml_value(name)


def dotted(path: tuple[str | int, ...]) -> str:
    """*path* as one speaks of it: ``providers[1].weight``."""
    spoken = ""
    for part in path:
        if isinstance(part, int):
            spoken += f"[{part}]"
        else:
            spoken += ("." if spoken else "") + toml_name(part)
    return spoken

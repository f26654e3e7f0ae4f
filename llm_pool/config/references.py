"""``${env:NAME}`` and ``${file:PATH}`` in any string of the file, put in place before it is read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from llm_pool.config.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from llm_pool.config.positions import KeyPath

_REFERENCE = re.compile(r"\$\{(?P<kind>[^}:]*):?(?P<name>[^}]*)\}")


def resolved(raw: Any, folder: Path, env: Mapping[str, str], path: KeyPath = ()) -> tuple[Any, list[Problem]]:
    """
    *raw* with every reference replaced, and what could not be.

    Args:
        raw: a parsed file, or a value in it.
        folder: where relative paths start.
        env: the environment.
        path: where *raw* stands.
    """
    found: list[Problem] = []

    def walk(value: Any, path: KeyPath) -> Any:
        if isinstance(value, dict):
            return {name: walk(item, (*path, name)) for name, item in value.items()}
        if isinstance(value, list):
            return [walk(item, (*path, index)) for index, item in enumerate(value)]
        if isinstance(value, str):
            return _REFERENCE.sub(lambda match: look_up(match, path), value)
        return value

    def look_up(match: re.Match[str], path: KeyPath) -> str:
        kind, name = match["kind"], match["name"]
        if kind == "env" and name in env:
            return env[name]
        if kind == "file":
            try:
                return (folder / name).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                found.append(Problem(path, f"{match[0]}: {_reason(error)}", "a readable file"))
        elif kind == "env":
            found.append(
                Problem(path, f"{match[0]}, which is not set", "a set environment variable", f"export {name}=…")
            )
        else:
            found.append(Problem(path, match[0], "${env:NAME} or ${file:PATH}"))
        return match[0]

    return walk(raw, path), found


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or "unreadable").lower() if isinstance(error, OSError) else "not UTF-8"

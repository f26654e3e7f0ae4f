"""``${env:NAME}`` and ``${file:PATH}`` in any string of the file, put in place before it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.config.problem import Problem
from llm_pool.core.files import read_bounded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from llm_pool.config.positions import KeyPath

_OPEN, _CLOSE = "${", "}"
_SHOWN = 60
"""Characters of a reference in an error."""


class Resolved(msgspec.Struct, frozen=True):
    """
    A parsed file with its references replaced.

    Attributes:
        raw: the file.
        written: where a value came from a reference: its path, and the string as it stands in the file. What came
            from outside the file is a secret wherever it stands.
        problems: references that could not be replaced.
    """

    raw: Any
    written: dict[KeyPath, str]
    problems: list[Problem]


def resolve(raw: Any, folder: Path, env: Mapping[str, str]) -> Resolved:
    """
    *raw* with every reference replaced.

    Args:
        raw: a parsed file.
        folder: where relative paths start.
        env: the environment.
    """
    result = Resolved(None, {}, [])

    def walk(value: Any, path: KeyPath) -> Any:
        if isinstance(value, dict):
            return {name: walk(item, (*path, name)) for name, item in value.items()}
        if isinstance(value, list):
            return [walk(item, (*path, index)) for index, item in enumerate(value)]
        if isinstance(value, str) and _OPEN in value:
            result.written[path] = value
            return "".join(part if is_text else look_up(part, path) for part, is_text in _parts(value))
        return value

    def look_up(reference: str, path: KeyPath) -> str:
        found = _look_up(reference, path, folder, env)
        if isinstance(found, Problem):
            result.problems.append(found)
            return reference
        return found

    return msgspec.structs.replace(result, raw=walk(raw, ()))


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """The pieces of *text*, and whether each is plain text; the last reference may lack its brace. Linear."""
    at = 0
    while (start := text.find(_OPEN, at)) >= 0:
        yield text[at:start], True
        end = text.find(_CLOSE, start)
        if end < 0:
            yield text[start:], False
            return
        at = end + 1
        yield text[start:at], False
    yield text[at:], True


def _look_up(reference: str, path: KeyPath, folder: Path, env: Mapping[str, str]) -> str | Problem:
    shown = reference if len(reference) <= _SHOWN else reference[:_SHOWN] + "…"
    if not reference.endswith(_CLOSE):
        return Problem(path, f"{shown}, which has no closing brace", "${env:NAME} or ${file:PATH}")
    kind, _, name = reference[len(_OPEN) : -len(_CLOSE)].partition(":")
    if kind == "env":
        if name in env:
            return env[name]
        return Problem(path, f"{shown}, which is not set", "a set environment variable", f"export {name}=…")
    if kind == "file":
        try:
            return read_bounded(folder / name).decode().rstrip("\r\n")
        except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a path with a NUL byte
            return Problem(path, f"{shown}: {_reason(error)}", "a readable file")
    return Problem(path, shown, "${env:NAME} or ${file:PATH}")


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return (error.strerror or "unreadable").lower()
    return "not UTF-8" if isinstance(error, UnicodeDecodeError) else "no such path can exist"

"""
Type errors: every key and value that does not fit its type.

Runs once msgspec has refused the whole, to find them all.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.config.accepted_values import accepted_values
from llm_pool.config.models import Sections
from llm_pool.config.problem import Problem, nearest
from llm_pool.config.toml import toml_name, toml_value
from llm_pool.config.type_inspection import TypeInfo, fields_of, inspect_type
from llm_pool.config.values import decode_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_pool.config.positions import KeyPath

_LONGEST_GOT = 60
_USER = re.compile(r"//\S*@")
"""The user of an address, and their password."""


def type_errors(raw: dict[str, Any]) -> Iterator[Problem]:
    """Where *raw*, a parsed file, does not fit the sections; nothing exactly if msgspec accepts it."""
    yield from _in_table(raw, Sections, ())


def _in_table(value: Any, struct: type[msgspec.Struct], path: KeyPath) -> Iterator[Problem]:
    if not isinstance(value, dict):
        yield Problem(path, _got(value), "a table")
        return
    known = fields_of(struct)
    for name, item in value.items():
        if name in known:
            yield from _in_value(item, inspect_type(known[name].type), (*path, name))
        else:
            yield _unknown(name, tuple(known), path)
    for name, field in known.items():
        if field.required and name not in value:
            yield Problem((*path, name), "nothing", accepted_values(field.type))


def _in_value(value: Any, type_info: TypeInfo, path: KeyPath) -> Iterator[Problem]:
    if type_info.kind == "struct":
        yield from _in_table(value, type_info.element, path)
    elif type_info.kind == "list" and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _in_value(item, inspect_type(type_info.element), (*path, index))
    elif type_info.kind == "dict" and isinstance(value, dict):
        for name, item in value.items():
            if not _fits(name, inspect_type(type_info.name)):
                yield Problem((*path, name), toml_value(name), accepted_values(type_info.name))
            yield from _in_value(item, inspect_type(type_info.element), (*path, name))
    else:
        yield from _in_leaf(value, type_info, path)


def _in_leaf(value: Any, type_info: TypeInfo, path: KeyPath) -> Iterator[Problem]:
    if not _fits(value, type_info):
        near = nearest(value, type_info.choices) if isinstance(value, str) else ""
        explain = f"llm-pool config explain {'.'.join(element for element in path if isinstance(element, str))}"
        yield Problem(
            path, _got(value, secret=type_info.secret), accepted_values(type_info.annotation), near or explain
        )


def _fits(value: Any, type_info: TypeInfo) -> bool:
    try:
        msgspec.convert(value, type_info.annotation, dec_hook=decode_secret)
    except msgspec.ValidationError:
        return False
    return True


def _unknown(name: str, known: tuple[str, ...], path: KeyPath) -> Problem:
    hint = nearest(name, known) or f"known here: {', '.join(sorted(known))}"
    return Problem((*path, name), f"the unknown key {toml_name(name)}", "a known key", hint)


def _got(value: Any, *, secret: bool = False) -> str:
    """*value* as the person wrote it; only its type if it is long, nested or meant to be secret."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if secret:
        return f"a value that is not a string ({type(value).__name__})"
    written = _USER.sub("//***@", toml_value(value))
    return written if len(written) <= _LONGEST_GOT else written[:_LONGEST_GOT] + "…"

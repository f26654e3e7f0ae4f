"""Every key and value that does not fit its type: runs once msgspec has refused the whole, to find them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.config.models import Sections
from llm_pool.config.problem import Problem, nearest
from llm_pool.config.shapes import Shape, fields_of, shape_of
from llm_pool.config.toml import toml_name, toml_value
from llm_pool.config.values import decode_secret
from llm_pool.config.words import want

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_pool.config.positions import KeyPath

_LONGEST_GOT = 60


def misfits(raw: dict[str, Any]) -> Iterator[Problem]:
    """Where *raw*, a parsed file, does not fit the sections; nothing exactly if msgspec accepts it."""
    yield from _in_table(raw, Sections, ())


def _in_table(value: Any, struct: type[msgspec.Struct], path: KeyPath) -> Iterator[Problem]:
    if not isinstance(value, dict):
        yield Problem(path, _got(value), "a table")
        return
    known = fields_of(struct)
    for name, item in value.items():
        if name in known:
            yield from _in_value(item, shape_of(known[name].type), (*path, name))
        else:
            yield _unknown(name, tuple(known), path)
    for name, field in known.items():
        if field.required and name not in value:
            yield Problem((*path, name), "nothing", want(field.type))


def _in_value(value: Any, shape: Shape, path: KeyPath) -> Iterator[Problem]:
    if shape.kind == "struct":
        yield from _in_table(value, shape.part, path)
    elif shape.kind == "list" and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _in_value(item, shape_of(shape.part), (*path, index))
    elif shape.kind == "dict" and isinstance(value, dict):
        for name, item in value.items():
            if not _fits(name, shape_of(shape.name)):
                yield Problem((*path, name), toml_value(name), want(shape.name))
            yield from _in_value(item, shape_of(shape.part), (*path, name))
    else:
        yield from _in_leaf(value, shape, path)


def _in_leaf(value: Any, shape: Shape, path: KeyPath) -> Iterator[Problem]:
    if not _fits(value, shape):
        near = nearest(value, shape.choices) if isinstance(value, str) else ""
        explain = f"llm-pool config explain {'.'.join(part for part in path if isinstance(part, str))}"
        yield Problem(path, _got(value, secret=shape.secret), want(shape.whole), near or explain)


def _fits(value: Any, shape: Shape) -> bool:
    try:
        msgspec.convert(value, shape.whole, dec_hook=decode_secret)
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
    written = toml_value(value)
    return written if len(written) <= _LONGEST_GOT else written[:_LONGEST_GOT] + "…"

"""A file to start from: the built-in one, or one with every key and its meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.config.keys import NAME_PLACEHOLDER, Table, tables
from llm_pool.config.load import load
from llm_pool.config.resources import builtin_config
from llm_pool.config.show import Block, blocks, sections_of
from llm_pool.config.toml import toml_name, toml_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WIDTH = 100
_SCHEMA_LINE = "#:schema "


def short() -> str:
    """The built-in file, as it is commented."""
    lines = builtin_config().read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(_SCHEMA_LINE))


def full() -> str:
    """The same configuration with every key: those that are unset as comments, each with its meaning."""
    parts = ["# Every key of llm-pool. Lines that say what is the case anyway may go.\n"]
    known = {table.path: table for table in tables()}
    for block in blocks(sections_of(load(builtin_config(), env={}))):
        table = known.pop(block.table, None)
        parts.append("\n".join([block.header, *_pairs(block)] if table is None else _documented(block, table)))
    parts += ["\n".join(_example(table)) for table in known.values()]
    return "\n\n".join(parts) + "\n"


def _documented(block: Block, table: Table) -> Iterator[str]:
    yield from _comment(table.description)
    yield block.header
    for key in table.keys:
        yield ""
        yield from _comment([f"{key.doc} {_sentence(key.accepts)}"])
        written = list(_pairs(block, key.name))
        yield from written or [f"# {key.name} = {key.example}"]


def _pairs(block: Block, only: str = "") -> Iterator[str]:
    for path, value in block.pairs:
        if value is not None and only in {"", path[0]}:
            yield f"{'.'.join(toml_name(str(part)) for part in path)} = {toml_value(value)}"


def _example(table: Table) -> Iterator[str]:
    """A table that the built-in file does not have, as comments."""
    yield from _comment(table.description)
    yield f"# {table.header.replace(NAME_PLACEHOLDER, 'name')}"
    for key in table.keys:
        yield f"# {key.name} = {key.example or key.default_text}  # {key.doc}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _comment(paragraphs: Sequence[str]) -> Iterator[str]:
    from textwrap import wrap

    for paragraph in paragraphs:
        yield from (f"# {line}" for line in wrap(paragraph, _WIDTH - 2))

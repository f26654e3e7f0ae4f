"""A file to start from: the built-in one, perhaps with other providers, or one with every key and its meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.config.keys import NAME_PLACEHOLDER, Table, tables
from llm_pool.config.load import load
from llm_pool.config.resources import builtin_config
from llm_pool.config.show import Block, blocks, sections_of
from llm_pool.config.toml import toml_name, toml_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from llm_pool.config.effective import Config
    from llm_pool.config.models import ProviderSettings

_WIDTH = 100
_SCHEMA_LINE = "#:schema "
_PROVIDER_KEYS = ("name", "driver", "base_url", "model", "tasks", "weight")
"""What the built-in file says of a provider that is no last resort."""


def short() -> str:
    """The built-in file, as it is commented."""
    lines = builtin_config().read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(_SCHEMA_LINE))


def with_providers(config: Config, remarks: Mapping[str, str]) -> str:
    """
    The built-in file, as it is commented, with the providers of *config* in the place of its own.

    Args:
        config: as ``discovery`` makes it out of the built-in one; last resorts, judge and tasks may differ in names.
        remarks: what is said of a provider, by its name.
    """
    regular = [provider for provider in config.providers if not provider.last_resort]
    written = "\n\n".join("\n".join(_provider(provider, remarks.get(provider.name, ""))) for provider in regular)
    kept: list[str] = []
    for paragraph in short().rstrip("\n").split("\n\n"):
        if paragraph.startswith("[[providers]]") and "last_resort = true" not in paragraph:
            kept += [written] if written not in kept else []
        elif paragraph.startswith("[judge]"):
            kept.append("\n".join(_judging(paragraph.splitlines(), config)))
        elif not paragraph.startswith("[discovery]"):
            kept.append(paragraph)
    return "\n\n".join(kept) + "\n"


def full(config: Config | None = None) -> str:
    """*config*, or the built-in one, with every key: those that are unset as comments, each with its meaning."""
    parts = ["# Every key of llm-pool. Lines that say what is the case anyway may go.\n"]
    known = {table.path: table for table in tables()}
    for block in blocks(sections_of(config or load(builtin_config(), env={}))):
        table = known.pop(block.table, None)
        parts.append("\n".join([block.header, *_pairs(block)] if table is None else _documented(block, table)))
    parts += ["\n".join(_example(table)) for table in known.values()]
    return "\n\n".join(parts) + "\n"


def _provider(provider: ProviderSettings, remark: str) -> Iterator[str]:
    if remark:
        yield f"# {remark}"
    yield "[[providers]]"
    for name in _PROVIDER_KEYS:
        if value := getattr(provider, name):
            yield f"{name} = {toml_value(list(value) if isinstance(value, tuple) else value)}"


def _judging(lines: Sequence[str], config: Config) -> Iterator[str]:
    """The lines of ``[judge]`` with the judges of *config*; none: the heaviest provider judges."""
    judges = list(config.judge.providers)
    for line in lines:
        if not line.startswith("model_provider"):
            yield line
        elif judges:
            yield f"model_provider = {toml_value(judges[0] if len(judges) == 1 else judges)}"


def _documented(block: Block, table: Table) -> Iterator[str]:
    yield from _comment(table.description)
    yield block.header
    for key in table.keys:
        yield ""
        yield from _comment([f"{key.doc} {_sentence(key.accepts)}"])
        written = list(_pairs(block, "" if key.name == NAME_PLACEHOLDER else key.name))
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
        name = key.name.replace(NAME_PLACEHOLDER, "name")
        yield f"# {name} = {key.example or key.default_text}  # {key.doc}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _comment(paragraphs: Sequence[str]) -> Iterator[str]:
    from textwrap import wrap

    for paragraph in paragraphs:
        yield from (f"# {line}" for line in wrap(paragraph, _WIDTH - 2))

"""The catalogue of keys, read off the structs: what docs, ``config explain`` and ``config init --full`` print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.config.accepted_values import accepted_values
from llm_pool.config.models import Sections
from llm_pool.config.toml import toml_value
from llm_pool.config.type_inspection import TypeInfo, fields_of, inspect_type, paragraphs

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME_PLACEHOLDER = "<name>"
"""Stands in a path for a name the person chooses."""


class Key(msgspec.Struct, frozen=True):
    """
    One key.

    Attributes:
        table: the dotted path of its table, ``providers[]`` for an array of tables.
        default: None where it is unset.
    """

    table: str
    name: str
    type_info: TypeInfo
    default: Any
    required: bool

    @property
    def path(self) -> str:
        """The dotted path."""
        return f"{self.table}.{self.name}"

    @property
    def accepts(self) -> str:
        """What it may be, with the unit."""
        if self.type_info.kind == "dict":
            return f"a table of names, each {accepted_values(self.type_info.element)}"
        unit = self.type_info.extra.get("unit")
        return accepted_values(self.type_info.annotation) + (f" ({unit})" if unit else "")

    @property
    def default_text(self) -> str:
        """The default as TOML; ``required`` or ``unset`` where there is none."""
        if self.required:
            return "required"
        return "unset" if self.default is None else toml_value(self.default)

    @property
    def doc(self) -> str:
        """The description, and which drivers read the key if not all do."""
        drivers = self.type_info.extra.get("drivers")
        return self.type_info.doc + (f" Only for {', '.join(f'`{driver}`' for driver in drivers)}." if drivers else "")

    @property
    def example(self) -> str:
        """A value worth showing, as TOML; empty if there is none."""
        return toml_value(self.type_info.examples[0]) if self.type_info.examples else ""


class Table(msgspec.Struct, frozen=True):
    """A table of the file: its dotted path, the paragraphs about it, and its keys."""

    path: str
    description: tuple[str, ...]
    keys: tuple[Key, ...]

    @property
    def header(self) -> str:
        """How it begins in the file: ``[qos]``, ``[[providers]]``."""
        return f"[[{self.path[:-2]}]]" if self.path.endswith("[]") else f"[{self.path.replace('[]', '')}]"


def tables() -> list[Table]:
    """All tables in the order of the documentation; those without keys of their own are left out."""
    return [table for table in _tables(Sections, "") if table.keys]


def matching_keys(asked: str) -> list[Key]:
    """The keys that *asked* names: one, all of a table, or none. ``tasks.ask.prompt`` is ``tasks.<name>.prompt``."""
    parts = _parts(asked)
    every = [key for table in tables() for key in table.keys]
    exact = [key for key in every if _fits(parts, _parts(key.path))]
    return exact or [key for key in every if _fits(parts, _parts(key.table))]


def _tables(struct: type[msgspec.Struct], path: str) -> Iterator[Table]:
    keys: list[Key] = []
    below: list[tuple[type[msgspec.Struct], str]] = []
    own: list[Table] = []
    for name, field in fields_of(struct).items():
        type_info, inner = inspect_type(field.type), f"{path}.{name}".lstrip(".")
        element = inspect_type(type_info.element).element if type_info.kind in {"list", "dict"} else type_info.element
        if isinstance(element, type) and issubclass(element, msgspec.Struct):
            below.append(
                (element, inner + {"struct": "", "list": "[]", "dict": f".{NAME_PLACEHOLDER}"}[type_info.kind])
            )
        elif not path and type_info.kind == "dict":  # a table of names that the person chooses
            named = Key(inner, NAME_PLACEHOLDER, inspect_type(type_info.element), None, required=False)
            own.append(Table(inner, (type_info.doc,), (named,)))
        else:
            keys.append(Key(path, name, type_info, _default(field), field.required))
    yield Table(path, paragraphs(struct), tuple(keys))
    for element, inner in below:
        yield from _tables(element, inner)
    yield from own


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return None if field.required else field.default


def _parts(path: str) -> list[str]:
    return [element.partition("[")[0] for element in path.split(".")]


def _fits(asked: list[str], pattern: list[str]) -> bool:
    return len(asked) == len(pattern) and all(b in {a, NAME_PLACEHOLDER} for a, b in zip(asked, pattern, strict=True))

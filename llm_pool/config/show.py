"""The configuration written out again: as it counts, with where each value comes from, or as a file to start from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.config.keys import NAME_PLACEHOLDER
from llm_pool.config.models import Sections
from llm_pool.config.toml import MASK, toml_name, toml_value
from llm_pool.config.values import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llm_pool.config.effective import Config
    from llm_pool.config.positions import KeyPath


class Block(msgspec.Struct, frozen=True):
    """
    A table as it stands in a file.

    Attributes:
        table: its path in the catalogue of ``keys``.
        pairs: unset ones with None; a dict's are dotted keys.
    """

    path: KeyPath
    table: str
    pairs: tuple[tuple[KeyPath, Any], ...]

    @property
    def header(self) -> str:
        """``[qos]`` or ``[[providers]]``."""
        name = ".".join(toml_name(part) for part in self.path if isinstance(part, str))
        return f"[[{name}]]" if isinstance(self.path[-1], int) else f"[{name}]"


def blocks(values: msgspec.Struct, path: KeyPath = (), table: str = "") -> Iterator[Block]:
    """The table that *values* is, and all those in it."""
    pairs: list[tuple[KeyPath, Any]] = []
    below: list[tuple[msgspec.Struct, KeyPath, str]] = []
    own: list[Block] = []
    for name in values.__struct_fields__:
        value, inner = getattr(values, name), f"{table}.{name}".lstrip(".")
        if isinstance(value, msgspec.Struct):
            below.append((value, (*path, name), inner))
        elif isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct):
            below += [(item, (*path, name, index), f"{inner}[]") for index, item in enumerate(value)]
        elif isinstance(value, dict):
            tables = {key: item for key, item in value.items() if isinstance(item, msgspec.Struct)}
            below += [(item, (*path, name, key), f"{inner}.{NAME_PLACEHOLDER}") for key, item in tables.items()]
            plain = {key: item for key, item in value.items() if key not in tables}
            if path:
                pairs += [((name, key), item) for key, item in plain.items()]
            elif plain:
                own.append(Block((name,), inner, tuple(((key,), item) for key, item in plain.items())))
        else:
            pairs.append(((name,), value))
    if pairs and path:
        yield Block(path, table, tuple(pairs))
    yield from own
    for item, deeper, inner in below:
        yield from blocks(item, deeper, inner)


def as_toml(config: Config, origin: Callable[[KeyPath], str] | None = None) -> str:
    """
    *config* as TOML, defaults included, secrets masked.

    Args:
        config: what to write.
        origin: tells where the value at a path comes from, for a comment behind it; None writes no comments.
    """
    parts = [] if origin is None else [f"# {config.path}"]
    for block in blocks(_masked_sections(config)):
        lines = [
            (f"{_dotted_name(name)} = {toml_value(value)}", name) for name, value in block.pairs if value is not None
        ]
        width = max(len(line) for line, _ in lines) if lines else 0
        if origin is not None:
            lines = [(f"{line:<{width}}  # {origin((*block.path, *name))}", name) for line, name in lines]
        parts.append("\n".join([block.header, *(line for line, _ in lines)]))
    return "\n\n".join(parts) + "\n"


def as_json(config: Config, origin: Callable[[KeyPath], str] | None = None) -> Any:
    """*config* for JSON, secrets masked; with *origin* a flat object of ``{"value", "origin"}`` by dotted key."""
    if origin is None:
        return _plain(_masked_sections(config))
    from llm_pool.config.toml import dotted

    found = {}
    for block in blocks(_masked_sections(config)):
        for name, value in block.pairs:
            path = (*block.path, *name)
            found[dotted(path)] = {"value": _plain(value), "origin": origin(path)}
    return found


def origins(config: Config, text: str) -> Callable[[KeyPath], str]:
    """Tells for each path of *config*, read from *text*, its file and line, or ``default``."""
    from llm_pool.config.positions import positions

    lines = positions(text)
    if ("server", "listen_addr") in lines:  # the other name of http_addr
        lines["server", "http_addr"] = lines["server", "listen_addr"]

    def origin(path: KeyPath) -> str:
        return f"{config.path.name}:{lines[path]}" if path in lines else "default"

    return origin


def sections_of(config: Config) -> Sections:
    """What the file says, without where it is."""
    return Sections(**{name: getattr(config, name) for name in Sections.__struct_fields__})


def _masked_sections(config: Config) -> Sections:
    """What the file says, with a Secret wherever a value came from outside of it, and in the query of an address."""

    def walk(value: Any, path: KeyPath) -> Any:
        if path in config.from_outside:
            return value if isinstance(value, Secret) else Secret(str(value))
        if isinstance(value, msgspec.Struct):
            changed = {name: walk(getattr(value, name), (*path, name)) for name in value.__struct_fields__}
            return msgspec.structs.replace(value, **changed)
        if isinstance(value, dict):
            return {name: walk(item, (*path, name)) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(walk(item, (*path, index)) for index, item in enumerate(value))
        if isinstance(value, str) and path[-2:] == ("request", "path") and "?" in value:
            return f"{value.partition('?')[0]}?{MASK}"  # where a backend takes its key in the query
        return value

    masked: Sections = walk(sections_of(config), ())
    return masked


def _dotted_name(name: KeyPath) -> str:
    return ".".join(toml_name(str(part)) for part in name)


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, enc_hook=_masked)


def _masked(value: Any) -> str:
    assert isinstance(value, Secret)
    return MASK

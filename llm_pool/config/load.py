"""Read a configuration file, or say what is wrong with it: file, line, key, what was expected, what to do."""

from __future__ import annotations

import os
import re
import tomllib
from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.config.cross_field_errors import cross_field_errors
from llm_pool.config.effective import Config
from llm_pool.config.locations import NAME
from llm_pool.config.models import Sections
from llm_pool.config.values import decode_secret
from llm_pool.core.errors import ConfigError
from llm_pool.core.files import whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from llm_pool.config.positions import KeyPath
    from llm_pool.config.problem import Problem


MAX_PARTS = 32
"""Parts of a dotted key; ours have four at most, and reading one takes the square of them."""

_PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')"""
_DEEP_KEY = re.compile(rf"(?:^|[\[{{,])[ \t]*+(?P<key>{_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{MAX_PARTS}}})", re.MULTILINE)


def load(path: Path, env: Mapping[str, str] = os.environ) -> Config:
    """
    The configuration in *path*.

    Args:
        path: a TOML file.
        env: where ``${env:NAME}`` looks.

    Raises:
        ConfigError: the first mistake in the file; its ``also`` has the others.
    """
    return parse(read(path), path, env)


def read(path: Path) -> str:
    """The text of *path*; raises ConfigError."""
    try:
        with path.open("rb") as file:  # a pipe is as good as a file: secrets may come by one
            return whole(file).decode("utf-8-sig")
    except OSError as error:
        got = (error.strerror or type(error).__name__).lower()
        raise ConfigError(path=path, key="", got=got, want="a readable file") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        got = f"the byte 0x{error.object[error.start]:02x}"
        raise ConfigError(path=path, key="", line=line, got=got, want="UTF-8") from None


def parse(text: str, path: Path, env: Mapping[str, str] = os.environ) -> Config:
    """The configuration in *text*, which stands in *path*; raises ConfigError as ``load`` does."""
    try:
        return _parse(text, path, env)
    except RecursionError:
        raise ConfigError(path=path, key="", got="tables or lists nested too deeply", want="TOML") from None


def from_tables(raw: dict[str, Any], folder: Path) -> Config:
    """
    The configuration that a program made.

    Args:
        raw: the tables of a file, as ``tomllib`` gives them; nothing in them is looked up elsewhere.
        folder: where relative paths begin, and where ``prompts/`` may be.

    Raises:
        ConfigError: as ``load``, without file and line.
    """
    return _checked(raw, folder / NAME, (), lambda problems: _raise_any(problems, "", None))


def _parse(text: str, path: Path, env: Mapping[str, str]) -> Config:
    raw = raw_tables(text, path)
    written: dict[KeyPath, str] = {}
    if "${" in text:
        from llm_pool.config.references import resolve

        resolved = resolve(raw, path.parent, env)
        _raise_any(resolved.problems, text, path)
        raw, written = resolved.raw, resolved.written
    return _checked(raw, path, written, lambda problems: _raise_any(_as_written(problems, written), text, path))


def _checked(
    raw: dict[str, Any], path: Path, from_outside: Iterable[KeyPath], raise_any: Callable[[Iterable[Problem]], None]
) -> Config:
    """*raw* as a configuration; its mistakes go to *raise_any*."""
    try:
        sections = msgspec.convert(raw, Sections, dec_hook=decode_secret)
    except msgspec.ValidationError:
        from llm_pool.config.type_errors import type_errors

        raise_any(type_errors(raw))
        raise
    raise_any(cross_field_errors(sections, raw))
    return Config(path=path, from_outside=frozenset(from_outside), **msgspec.structs.asdict(sections))


def _as_written(problems: Iterable[Problem], written: Mapping[KeyPath, str]) -> Iterator[Problem]:
    """*problems*, those with a value from a reference showing the reference: the value may be a secret."""
    for problem in problems:
        if problem.path in written:
            yield msgspec.structs.replace(problem, got=f"the value of {written[problem.path]!r}", hint="")
        else:
            yield problem


def raw_tables(text: str, path: Path) -> dict[str, Any]:
    """*text* parsed; raises ConfigError with line and column where it is no TOML."""
    if (deep := _DEEP_KEY.search(text)) is not None:
        line = text.count("\n", 0, deep.start("key")) + 1
        raise ConfigError(path=path, key="", line=line, got=f"a key of more than {MAX_PARTS} parts", want="TOML")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(str(error), text, path) from None
    except ValueError as error:  # Python's own limit on the digits of a number
        raise ConfigError(path=path, key="", got=str(error).partition(";")[0], want="TOML") from None


def _syntax_error(said: str, text: str, path: Path) -> ConfigError:
    """The sentence of ``tomllib``, such as "Invalid value (at line 3, column 5)", as ours."""
    reason, _, place = said.partition(" (at ")
    found = re.search(r"line (\d+), column (\d+)", place)
    line = int(found[1]) if found else text.count("\n") + 1
    where = f" at column {found[2]}" if found else " at the end of the file"
    return ConfigError(path=path, key="", line=line, got=reason[:1].lower() + reason[1:] + where, want="TOML")


def _raise_any(found: Iterable[Problem], text: str, path: Path | None) -> None:
    """Raise the problems as one ConfigError, in the file's order; nothing if there is none."""
    problems = list(found)
    if not problems:
        return
    from llm_pool.config.positions import line_of, positions
    from llm_pool.config.toml import dotted

    lines = positions(text)
    errors = [
        ConfigError(path=path, line=line_of(p.path, lines), key=dotted(p.path), got=p.got, want=p.want, hint=p.hint)
        for p in problems
    ]
    errors.sort(key=lambda error: error.line or 0)
    errors[0].also = tuple(errors[1:])
    raise errors[0]

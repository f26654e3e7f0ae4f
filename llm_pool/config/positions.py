"""
Where each key of a TOML text stands: what ``tomllib`` leaves out.

The text is valid TOML already, so the scanner only follows keys, brackets and strings; it checks nothing.
"""

from __future__ import annotations

import re
from typing import TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]
"""From the root: names of tables and keys, indexes of arrays."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'  # up to two quotes may stand before the closing three
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'",
    re.DOTALL,
)
_PLAIN_VALUE = re.compile(r"[^,\]}#\r\n]+")


def positions(text: str) -> dict[KeyPath, int]:
    """
    The 1-based line of every key, table and array element in *text*.

    Args:
        text: valid TOML.
    """
    return _Scanner(text).scan()


def line_of(path: KeyPath, known: dict[KeyPath, int]) -> int | None:
    """The line of *path* or, for a key that is not in the file, of the nearest table around it."""
    for end in range(len(path), 0, -1):
        if path[:end] in known:
            return known[path[:end]]
    return None


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._lines: dict[KeyPath, int] = {}
        self._lengths: dict[KeyPath, int] = {}  # of the arrays of tables so far
        self._line, self._counted = 1, 0

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)
        return self._lines

    def _header(self) -> KeyPath:
        """``[a.b]`` or ``[[a.b]]``: the path of the table that begins here."""
        line, is_array = self._line_here(), self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        *around, last = self._dotted()
        self._at = self._text.index("]", self._at) + (2 if is_array else 1)
        path: KeyPath = ()
        for name in around:
            path = self._newest((*path, name), line)
        path = (*path, last)
        self._lines.setdefault(path, line)
        if is_array:
            self._lengths[path] = self._lengths.get(path, 0) + 1
            path = (*path, self._lengths[path] - 1)
            self._lines[path] = line
        return path

    def _newest(self, path: KeyPath, line: int) -> KeyPath:
        """The table at *path* or, if it is an array of tables, its newest element."""
        self._lines.setdefault(path, line)
        return (*path, self._lengths[path] - 1) if path in self._lengths else path

    def _pair(self, table: KeyPath) -> None:
        """``a.b = value``."""
        line, path = self._line_here(), table
        for name in self._dotted():
            path = (*path, name)
            self._lines.setdefault(path, line)
        self._skip(_BLANK)
        self._at += 1  # the equals sign
        self._skip(_BLANK)
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        first = self._text[self._at]
        if first == "{":
            self._inline_table(path)
        elif first == "[":
            self._array(path)
        else:
            self._skip(_STRING if first in "\"'" else _PLAIN_VALUE)

    def _inline_table(self, path: KeyPath) -> None:
        while not self._closes("}"):
            self._pair(path)

    def _array(self, path: KeyPath) -> None:
        index = 0
        while not self._closes("]"):
            self._lines[*path, index] = self._line_here()
            self._value((*path, index))
            index += 1

    def _closes(self, bracket: str) -> bool:
        """Step over the opening bracket or a comma; whether *bracket* follows, which is stepped over too."""
        self._skip(_BLANK)
        if self._text[self._at] in "{[,":
            self._at += 1
            self._skip(_BLANK)
        if self._text[self._at] != bracket:
            return False
        self._at += 1
        return True

    def _dotted(self) -> list[str]:
        names = [self._name()]
        self._skip(_BLANK)
        while self._text[self._at] == ".":
            self._at += 1
            self._skip(_BLANK)
            names.append(self._name())
            self._skip(_BLANK)
        return names

    def _name(self) -> str:
        self._skip(_BLANK)
        start = self._at
        if self._text[start] in "\"'":
            self._skip(_STRING)
            return _unquoted(self._text[start : self._at])
        self._skip(_BARE_KEY)
        return self._text[start : self._at]

    def _skip(self, what: re.Pattern[str]) -> None:
        found = what.match(self._text, self._at)
        assert found is not None
        self._at = found.end()

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line


def _unquoted(name: str) -> str:
    """A quoted key as TOML reads it."""
    import tomllib

    return next(iter(tomllib.loads(f"{name} = 0")))

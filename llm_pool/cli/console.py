"""
Where words go: data to stdout, talk to stderr, and colour only where somebody looks.

Colour follows https://no-color.org and clig.dev: ``--color`` first, then NO_COLOR, FORCE_COLOR, TERM=dumb, and
else whether the stream is a terminal, each stream for itself.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Literal, TextIO, TypeAlias

import msgspec

if TYPE_CHECKING:
    from llm_pool.errors import LlmPoolError
    from llm_pool.messages import Json

When: TypeAlias = Literal["auto", "always", "never"]

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


class PipeClosed(Exception):
    """Whoever read our stdout has gone: there is nothing left to do, and nothing to complain about."""


class Console:
    """
    The two streams of a command.

    Args:
        color: when to colour.
        quiet: say nothing on stderr but errors.
    """

    def __init__(
        self,
        *,
        color: When = "auto",
        quiet: bool = False,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.stdout, self.stderr = stdout or sys.stdout, stderr or sys.stderr
        self.quiet = quiet
        self._color = color

    def out(self, text: str, *, end: str = "\n") -> None:
        """Data; written through at once, so that pipes see it as it comes. Raises PipeClosed."""
        try:
            self.stdout.write(text + end)
            self.stdout.flush()
        except BrokenPipeError:
            raise PipeClosed from None

    def json(self, value: Json) -> None:
        """One value as JSON: a line, or indented for a person at a terminal."""
        encoded = msgspec.json.encode(value)
        self.out((msgspec.json.format(encoded, indent=2) if self.stdout.isatty() else encoded).decode())

    def line(self, value: Json) -> None:
        """One of many values: a line of JSON, wherever it goes."""
        self.out(msgspec.json.encode(value).decode())

    def say(self, text: str) -> None:
        """Talk: progress, notes, what to type next."""
        if not self.quiet:
            self.stderr.write(text + "\n")
            self.stderr.flush()

    def error(self, error: LlmPoolError) -> None:
        """What went wrong in a sentence, details below it, and the way out."""
        first, *rest = neutral(str(error)).splitlines() or [""]
        self.stderr.write(f"{self.paint('error:', 'red', self.stderr)} {first}\n")
        for line in rest:
            self.stderr.write(f"{line}\n")
        if error.hint:
            self.stderr.write(f"{self.paint('hint:', 'cyan', self.stderr)} {error.hint}\n")
        self.stderr.flush()

    def paint(self, text: str, style: str, stream: TextIO) -> str:
        """*text* in *style* if *stream* shows colours."""
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.has_color(stream) else text

    def has_color(self, stream: TextIO) -> bool:
        """Whether *stream* is to be coloured."""
        if self._color != "auto":
            return self._color == "always"
        if os.environ.get("NO_COLOR") or os.environ.get("LLM_POOL_NO_COLOR"):
            return False
        if os.environ.get("FORCE_COLOR"):
            return True
        return stream.isatty() and os.environ.get("TERM") != "dumb"


def neutral(text: str) -> str:
    """
    *text* without power over a terminal: control characters but tab and newline become visible.

    Text from models and servers is data; an escape sequence in it could move the cursor, set the title or
    write to the clipboard.
    """
    return "".join(c if c in "\n\t" or not _is_control(c) else f"\\x{ord(c):02x}" for c in text)


def _is_control(char: str) -> bool:
    return ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0

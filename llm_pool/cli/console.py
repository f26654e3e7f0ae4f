"""
Where words go: data to stdout, talk to stderr, and colour only where somebody looks.

Colour follows https://no-color.org and clig.dev: ``--color`` first, then NO_COLOR, FORCE_COLOR, TERM=dumb, and
else whether the stream is a terminal, each stream for itself.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Literal, TextIO, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.errors import LlmPoolError
    from llm_pool.core.messages import Json

ColorMode: TypeAlias = Literal["auto", "always", "never"]
MessageFormat: TypeAlias = Literal["text", "json"]

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


class PipeClosed(Exception):
    """Whoever read our stdout or stderr has gone: there is nothing left to do, and nothing to complain about."""


class Console:
    """
    The two streams of a command.

    Args:
        color: when to colour.
        quiet: say nothing on stderr but errors.
        message_format: how errors are told: in sentences, or as a line of JSON.
    """

    def __init__(
        self,
        *,
        color: ColorMode = "auto",
        quiet: bool = False,
        message_format: MessageFormat = "text",
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.stdout, self.stderr = stdout or sys.stdout, stderr or sys.stderr
        self.color, self.quiet, self.message_format = color, quiet, message_format

    @property
    def is_live(self) -> bool:
        """Whether somebody watches stderr, so that a line on it may change while they do."""
        return self.stderr.isatty() and not self.quiet and os.environ.get("TERM") != "dumb"

    def out(self, text: str, *, end: str = "\n") -> None:
        """Data; written through at once, so that pipes see it as it comes. Raises PipeClosed."""
        _write(self.stdout, text + end)

    def json(self, value: Json) -> None:
        """One value as JSON: a line, or indented for a person at a terminal."""
        import msgspec

        encoded = msgspec.json.encode(value)
        self.out((msgspec.json.format(encoded, indent=2) if self.stdout.isatty() else encoded).decode())

    def line(self, value: Json) -> None:
        """One of many values: a line of JSON, wherever it goes."""
        import msgspec

        self.out(msgspec.json.encode(value).decode())

    def help(self, page: str) -> None:
        """A page of help: headings in bold, examples as they are."""
        lines = (
            self.paint(line, "bold", self.stdout) if line.endswith(":") and line[:1].strip() else line
            for line in page.splitlines()
        )
        self.out("\n".join(lines))

    def say(self, text: str) -> None:
        """Talk: progress, notes, what to type next. Raises PipeClosed."""
        if not self.quiet:
            _write(self.stderr, text + "\n")

    def draw(self, text: str) -> None:
        """The one live line on stderr, in the place of what it said before; empty takes it away."""
        width = _width(self.stderr) - 1
        _write(self.stderr, f"\r{text[:width]}\x1b[K")

    def error(self, error: LlmPoolError, code: int) -> None:
        """
        What went wrong in a sentence, details below it, and the way out; every mistake, where there are several.

        Args:
            error: what is told.
            code: the exit code that goes with it; JSON says it too.
        """
        every = (error, *getattr(error, "also", ()))
        if self.message_format == "json":
            _write(self.stderr, _error_line(every, code))
            return
        for one in every:
            first, *rest = escaped(str(one)).splitlines() or [""]
            lines = [f"{self.paint('error:', 'red', self.stderr)} {first}", *rest]
            if one.hint:
                lines.append(f"{self.paint('hint:', 'cyan', self.stderr)} {escaped(one.hint)}")
            _write(self.stderr, "\n".join(lines) + "\n")

    def paint(self, text: str, style: str, stream: TextIO) -> str:
        """*text* in *style* if *stream* shows colours."""
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.has_color(stream) else text

    def has_color(self, stream: TextIO) -> bool:
        """Whether *stream* is to be coloured."""
        if self.color != "auto":
            return self.color == "always"
        if os.environ.get("NO_COLOR") or os.environ.get("LLM_POOL_NO_COLOR"):
            return False
        if os.environ.get("FORCE_COLOR"):
            return True
        return stream.isatty() and os.environ.get("TERM") != "dumb"


def escaped(text: str) -> str:
    """
    *text* without power over a terminal: control characters but tab and newline become visible.

    Text from models and servers is data; an escape sequence in it could move the cursor, set the title or
    write to the clipboard.
    """
    return "".join(c if c in "\n\t" or not _is_control(c) else f"\\x{ord(c):02x}" for c in text)


def _is_control(char: str) -> bool:
    return ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        raise PipeClosed from None


def _width(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _error_line(every: Sequence[LlmPoolError], code: int) -> str:
    import msgspec

    from llm_pool.wire.json import error_json

    first, *also = [error_json(error)["error"] for error in every]
    first["exit_code"] = code
    if also:
        first["also"] = also
    return msgspec.json.encode({"error": first}).decode() + "\n"

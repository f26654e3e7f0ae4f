"""
Where words go: data to stdout, talk to stderr, and colour only where somebody looks.

What goes to a terminal passes one cleaner, ``escaped``: text from models, backends and files is data. What rich draws
passes it too (``cli.drawing``).

Colour follows https://no-color.org and clig.dev: ``--color`` first, then NO_COLOR, FORCE_COLOR, TERM=dumb, and
else whether the stream is a terminal, each stream for itself.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Literal, TextIO, TypeAlias

import click

from llm_pool.core.errors import LlmPoolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from llm_pool.core.messages import Json

ColorMode: TypeAlias = Literal["auto", "always", "never"]
MessageFormat: TypeAlias = Literal["text", "json"]

_UNBOUNDED = 10_000
"""Columns where no terminal sets an end: more than any line of ours."""

_POWERFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""
Characters with power over a terminal: C0 and C1 controls but tab and newline, DEL, and those that reorder text.

Source: UAX #9 for the latter; Boucher and Anderson, Trojan Source, 2021, for what they are used for.
"""


class OutputFailed(LlmPoolError):
    """The output cannot be written: the disk is full, or the device is gone."""


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
        """
        Data: as it is into a pipe or a file, escaped on a terminal; written through at once.

        Raises:
            PipeClosed: nobody reads any more.
            OutputFailed: it cannot be written.
        """
        self._write(self.stdout, escaped(text) + end if self.stdout.isatty() else text + end)

    def json(self, value: Json) -> None:
        """One value as JSON: a line, or indented for a person at a terminal."""
        import msgspec

        encoded = msgspec.json.encode(value)
        if self.stdout.isatty():
            self.out(_json_escaped(msgspec.json.format(encoded, indent=2).decode()))
        else:
            self.out(encoded.decode())

    def line(self, value: Json) -> None:
        """One of many values: a line of JSON, wherever it goes."""
        import msgspec

        text = msgspec.json.encode(value).decode()
        self.out(_json_escaped(text) if self.stdout.isatty() else text)

    def show(self, drawing: RenderableType, *, err: bool = False, most: int = _UNBOUNDED) -> None:
        """
        Something that rich draws: a table, a panel, Markdown.

        On a terminal it is as wide as that, *most* columns at most; in a pipe a line is as long as it need be, unless
        *most* or ``COLUMNS`` say something else. Talk goes to *err*. Raises PipeClosed and OutputFailed.
        """
        from llm_pool.cli.drawing import drawn

        stream = self.stderr if err else self.stdout
        width = min(most, self.width if err else self.out_width)
        if not (err and self.quiet):
            self._write(stream, drawn(drawing, color=self.has_color(stream), width=width))

    @property
    def width(self) -> int:
        """Columns of a line on stderr; 80 where nothing sets an end."""
        return _columns(self.stderr, 80)

    @property
    def out_width(self) -> int:
        """Columns of a line on stdout; more than any line of ours needs where nothing sets an end."""
        return _columns(self.stdout, _UNBOUNDED)

    def say(self, text: str) -> None:
        """Talk: progress, notes, what to type next. Raises PipeClosed."""
        if not self.quiet:
            self._write(self.stderr, escaped(text) + "\n")

    def warn(self, text: str) -> None:
        """What holds for the data itself, and so is told even where ``-q`` asks for quiet. Raises PipeClosed."""
        self._write(self.stderr, escaped(text) + "\n")

    def error(self, error: LlmPoolError, code: int) -> None:
        """
        What went wrong in a sentence, details below it, and the way out; every mistake, where there are several.

        Args:
            error: what is told.
            code: the exit code that goes with it; JSON says it too.
        """
        every = (error, *getattr(error, "also", ()))
        if self.message_format == "json":
            self._write(self.stderr, _json_escaped(_error_line(every, code)))
            return
        for one in every:
            first, *rest = str(one).split("\n")
            lines = [f"{self._label('error:', 'red')} {escaped(first)}", *map(escaped, rest)]
            if one.hint:
                lines.append(f"{self._label('hint:', 'cyan')} {escaped(one.hint)}")
            self._write(self.stderr, "\n".join(lines) + "\n")

    def _label(self, word: str, color: str) -> str:
        """A word of ours on stderr, coloured where that shows colours."""
        return click.style(word, fg=color) if self.has_color(self.stderr) else word

    def has_color(self, stream: TextIO) -> bool:
        """Whether *stream* is to be coloured."""
        if self.color != "auto":
            return self.color == "always"
        if os.environ.get("NO_COLOR") or os.environ.get("LLM_POOL_NO_COLOR"):
            return False
        if os.environ.get("FORCE_COLOR"):
            return True
        return stream.isatty() and os.environ.get("TERM") != "dumb"

    def _write(self, stream: TextIO, text: str) -> None:
        try:
            stream.write(text)
            stream.flush()
        except BrokenPipeError:
            raise PipeClosed from None
        except OSError as error:
            what = (error.strerror or type(error).__name__).lower()
            raise OutputFailed(f"{stream.name}: {what}", hint="what was written before is incomplete") from None


def escaped(text: str) -> str:
    """
    *text* without power over a terminal: control characters but tab and newline become visible.

    An escape sequence in it could move the cursor, set the title or write to the clipboard; a bidirectional control
    could show something else than what is there.
    """
    return _POWERFUL.sub(lambda found: f"\\x{ord(found[0]):02x}" if ord(found[0]) < 0x100 else _json_form(found), text)


def _json_escaped(text: str) -> str:
    """*text*, which is JSON, with the characters of ``_POWERFUL`` as JSON writes them: the same value."""
    return _POWERFUL.sub(_json_form, text)


def _json_form(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _columns(stream: TextIO, otherwise: int) -> int:
    """Columns of *stream*: the terminal's, or what COLUMNS says."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or otherwise
    except (OSError, ValueError):
        said = os.environ.get("COLUMNS", "")
        return int(said) if said.isdecimal() and int(said) > 0 else otherwise


def _error_line(every: Sequence[LlmPoolError], code: int) -> str:
    import msgspec

    from llm_pool.wire.json import error_json

    first, *also = [error_json(error, commands=True)["error"] for error in every]
    first["exit_code"] = code
    if also:
        first["also"] = also
    return msgspec.json.encode({"error": first}).decode() + "\n"

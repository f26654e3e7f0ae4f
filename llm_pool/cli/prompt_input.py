"""Where a prompt comes from: the argument, stdin, or both (piped text first, so that the instruction may come last)."""

from __future__ import annotations

import os
import select
import stat
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

from llm_pool.core.errors import InvalidRequest, LlmPoolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from llm_pool.core.messages import Json

NOTICE_AFTER = 2.0
"""Seconds without a byte on stdin after which a person is told that we wait for one."""


class UndecodableInput(LlmPoolError):
    """Input that is not UTF-8, or a line that is not JSON."""


class MissingInput(LlmPoolError):
    """An input file that cannot be opened."""


def gather_prompt(argument: str | None, *, read_stdin: bool, say: Callable[[str], None]) -> str:
    """
    The prompt.

    Args:
        argument: from the command line; ``-`` asks for stdin.
        read_stdin: False never touches stdin, for callers whose stdin never closes.
        say: told when stdin is waited for.

    Raises:
        InvalidRequest: there is none, and stdin is a terminal.
        UndecodableInput: stdin is not UTF-8.
    """
    wanted = argument in {None, "-"}
    piped = ""
    if read_stdin and (_is_piped(sys.stdin.fileno()) or (wanted and not sys.stdin.isatty())):
        piped = decode(_all_of(sys.stdin.buffer, say), "stdin").rstrip("\n")
    elif argument == "-":
        piped = sys.stdin.read().rstrip("\n")
    parts = [part for part in (piped, "" if wanted else argument) if part]
    if not parts:
        raise InvalidRequest("prompt", "there is none", hint='llm-pool infer "Is 17 prime?"   or pipe text into it')
    return "\n".join(parts)


def read_schema(path: Path) -> dict[str, Json]:
    """
    The JSON Schema in a file.

    Raises:
        MissingInput: it cannot be opened.
        InvalidRequest: it is no JSON object.
    """
    import msgspec

    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise MissingInput(f"--schema: cannot open '{path}': {reason}") from None
    except msgspec.DecodeError as error:
        raise InvalidRequest("--schema", f"{path} is no JSON Schema: {error}") from None


def decode(data: bytes, source: str) -> str:
    """*data* as text; raises UndecodableInput naming the byte."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UndecodableInput(
            f"{source}: invalid UTF-8 at byte {error.start} (0x{data[error.start]:02x})",
            hint="convert it first, e.g. with  iconv -t UTF-8",
        ) from None


def lines_of(source: str | Path) -> Iterator[tuple[int, str]]:
    """
    The non-empty lines of a file or, for ``-``, of stdin, numbered from 1, as they come.

    Raises:
        MissingInput: the file cannot be opened.
        UndecodableInput: a line is not UTF-8.
    """
    with opened(source) as stream:
        for number, line in enumerate(stream, start=1):
            text = decode(line, f"line {number}").strip()
            if text:
                yield number, text


def opened(source: str | Path) -> BinaryIO:
    """A file, or stdin for ``-``, to be closed; raises MissingInput."""
    if str(source) == "-":
        return os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    try:
        return open(source, "rb")  # noqa: PTH123  # closed by the caller's with
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise MissingInput(f"--input: cannot open '{source}': {reason}") from None


def _is_piped(descriptor: int) -> bool:
    """Whether somebody sends something: not a terminal, and not /dev/null."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def _all_of(stream: BinaryIO, say: Callable[[str], None]) -> bytes:
    ready, _, _ = select.select([stream], [], [], NOTICE_AFTER)
    if not ready:
        say("waiting for stdin (Ctrl-D ends it; --no-stdin ignores it)")
    return stream.read()

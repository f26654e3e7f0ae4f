"""Where ``infer --input`` writes: stdout, or a file that an interrupted run goes on with."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Protocol

import msgspec

from llm_pool.cli.console import OutputFailed
from llm_pool.core.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llm_pool.cli.console import Console
    from llm_pool.core.messages import Json


class _Written(msgspec.Struct):
    """What is read of a line that an earlier run wrote."""

    line: int
    error: dict[str, object] | None = None


class DoneLines:
    """Which lines are done: a bit each, so that a hundred thousand take twelve kilobytes."""

    def __init__(self) -> None:
        self._bits = bytearray()
        self.count = 0

    def add(self, number: int) -> None:
        """Line *number*, at least 0, is done."""
        place, bit = divmod(number, 8)
        if place >= len(self._bits):
            self._bits.extend(bytes(place + 1 - len(self._bits)))
        if not self._bits[place] >> bit & 1:
            self._bits[place] |= 1 << bit
            self.count += 1

    def __contains__(self, number: int) -> bool:
        place, bit = divmod(number, 8)
        return place < len(self._bits) and bool(self._bits[place] >> bit & 1)


class Sink(Protocol):
    """Takes results, one JSON object each; *done*: the lines that have one already."""

    done: DoneLines

    def line(self, result: Json) -> None:
        """Write one; raises OutputFailed, and on a pipe PipeClosed."""


class ConsoleSink:
    """Results on stdout."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.done = DoneLines()

    def line(self, result: Json) -> None:
        """Print one."""
        self._console.line(result)


class FileSink:
    """Results in a file, each written through at once."""

    def __init__(self, file: int, path: Path, done: DoneLines) -> None:
        self._file, self._path, self.done = file, path, done

    def line(self, result: Json) -> None:
        """Append one."""
        rest = memoryview(msgspec.json.encode(result) + b"\n")
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            raise _failed(self._path, error) from None


@contextlib.contextmanager
def file_sink(path: Path, *, resume: bool, retry_failed: bool) -> Iterator[FileSink]:
    """
    The file *path* for results.

    Args:
        path: it is made; one that is there is gone on with, or not touched.
        resume: lines with a result in it are done. A last line that was not written whole is taken away.
        retry_failed: lines with an error in it are not done, and the errors are taken away.

    Raises:
        InvalidRequest: it is there and nobody said *resume*, or it is not what such a run wrote.
        OutputFailed: it cannot be written.
    """
    done = DoneLines()
    try:
        there = path.stat().st_size > 0 if path.exists() else False
        if there and not resume:
            raise InvalidRequest("--output", f"{path} is there already", hint="--resume goes on with it")
        if there:
            _take_up(path, done, retry_failed=retry_failed)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    except OSError as error:
        raise _failed(path, error) from None
    try:
        yield FileSink(file, path, done)
    finally:
        os.close(file)


def _take_up(path: Path, done: DoneLines, *, retry_failed: bool) -> None:
    """Note what is done in *path*, and leave in it what stays."""
    kept = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with path.open("rb") as old, kept.open("wb") as new:
            for number, line in enumerate(old, start=1):
                if not line.endswith(b"\n"):
                    break  # the run was interrupted here
                try:
                    written = msgspec.json.decode(line, type=_Written)
                except msgspec.DecodeError:
                    raise InvalidRequest("--resume", f"{path}:{number} is no line of such a run") from None
                if written.line < 0 or (retry_failed and written.error is not None):
                    continue
                done.add(written.line)
                new.write(line)
        kept.replace(path)
    finally:
        kept.unlink(missing_ok=True)


def _failed(path: Path, error: OSError) -> OutputFailed:
    what = (error.strerror or type(error).__name__).lower()
    return OutputFailed(f"{path}: {what}", hint="what was written before is kept; --resume goes on with it")

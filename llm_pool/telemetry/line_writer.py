"""
Lines written by a thread: who has a line to write does not wait for who reads it.

A line that comes after a pause is written at once; what comes within ``PAUSE`` after it is written together: of a
thousand lines a second ten go into each write.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PAUSE = 0.05
"""Seconds between two writes."""
LIMIT = 4 << 20
"""Bytes that may wait to be written; further lines are dropped and counted."""
WHOLE = 4096
"""Bytes that Linux writes to a pipe without those of others between them."""
FLUSH_TIME = 2.0
"""Seconds that a flush waits for a reader who does not read."""


class LineWriter:
    """
    Writes lines, each whole, in their order. The thread begins with the first line.

    Args:
        write: writes bytes, and may take its time; an OSError of it loses them.
        tell_dropped: the line that says how many could not be kept.
    """

    def __init__(self, write: Callable[[bytes], None], tell_dropped: Callable[[int], bytes]) -> None:
        self._write, self._tell_dropped = write, tell_dropped
        self._changed = threading.Condition()
        self._lines: list[bytes] = []
        self._size = self._dropped = 0
        self._pauses = self._writes = self._hurries = self._is_closed = False
        self._thread: threading.Thread | None = None

    def put(self, line: bytes, *, at_once: bool = False) -> None:
        """Have *line*, with its end, written soon; *at_once*: not even after a pause."""
        with self._changed:
            if self._size + len(line) > LIMIT:
                self._dropped += 1
                return
            self._lines.append(line)
            self._size += len(line)
            self._hurries = self._hurries or at_once
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="write lines", daemon=True)
                self._thread.start()
            elif self._hurries or not self._pauses:
                self._changed.notify_all()

    def flush(self) -> None:
        """Return once all is written, or after ``FLUSH_TIME``."""
        with self._changed:
            self._hurries = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not (self._lines or self._writes) or self._thread is None, FLUSH_TIME)

    def close(self) -> None:
        """Write what is left, and end the thread."""
        self.flush()
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        while lines := self._next():
            with suppress(OSError):  # whoever read them is gone
                for batch in batches(lines):
                    self._write(batch)
            with self._changed:
                self._writes, self._pauses = False, True
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._hurries or self._is_closed, PAUSE)
                self._pauses = False

    def _next(self) -> list[bytes]:
        """What is to be written, as soon as there is anything; nothing once this is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._is_closed)
            if self._dropped:
                self._lines.append(self._tell_dropped(self._dropped))
            lines = self._lines
            self._lines, self._size, self._dropped = [], 0, 0
            self._writes, self._hurries = bool(lines), False
            return lines


def batches(lines: Iterable[bytes]) -> Iterator[bytes]:
    """
    *lines* joined, in pieces of ``WHOLE`` bytes at most, but for a line that is longer.

    A pipe takes such a piece as a whole, whoever else writes to it. Source: POSIX, write(), {PIPE_BUF}.
    """
    batch: list[bytes] = []
    size = 0
    for line in lines:
        if batch and size + len(line) > WHOLE:
            yield b"".join(batch)
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield b"".join(batch)

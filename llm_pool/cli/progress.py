"""A line on stderr that says how far things are: live on a terminal, a first and a last word elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from llm_pool.cli.console import Console

_EVERY = 0.1
"""Seconds between two drawings at least: a terminal needs no more."""


class Progress:
    """
    Progress of one thing with a known or unknown end.

    Args:
        console: its stderr is drawn on.
        label: what is going on, e.g. ``pulling phi3:mini``.
        unit: formats an amount, e.g. ``1.2 GB``.
    """

    def __init__(self, console: Console, label: str, *, unit: Callable[[float], str] = "{:.0f}".format) -> None:
        self._console, self._label, self._unit = console, label, unit
        self._manager = console.is_live
        self._began = time.monotonic()
        self._drawn = self._start = -1.0

    def __enter__(self) -> Self:
        if not self._manager:
            self._console.say(f"{self._label} …")
        return self

    def update(self, done: float, total: float | None = None) -> None:
        """*done* of *total* so far; *total* None while nobody knows. What was there at the first call is no speed."""
        now = time.monotonic()
        if self._start < 0:
            self._start, self._began = done, now
        if self._manager and (now - self._drawn >= _EVERY or done == total):
            self._drawn = now
            self._console.draw("  ".join(self._parts(done, total, now - self._began)))

    def note(self, text: str) -> None:
        """What goes on while there is nothing to count."""
        if self._manager:
            self._console.draw(f"{self._label}  {text}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def clear(self) -> None:
        """Take the line away, until the next update."""
        if self._manager:
            self._console.draw("")
            self._drawn = -1.0

    def _parts(self, done: float, total: float | None, elapsed: float) -> list[str]:
        speed = (done - self._start) / elapsed if elapsed > 0.5 else 0.0
        parts = [self._label, self._unit(done) if total is None else f"{self._unit(done)} of {self._unit(total)}"]
        if total:
            parts.insert(1, bar(done / total))
        if speed > 0:
            parts.append(f"{self._unit(speed)}/s" if speed >= 1 else f"{speed:.1f}/s")
            if total is not None:
                parts.append(f"{format_duration((total - done) / speed)} left")
        return parts


def bar(share: float, width: int = 16) -> str:
    """A bar *width* cells wide, filled for *share* in [0, 1] to an eighth of a cell."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(width, "░")


def format_duration(seconds: float) -> str:
    """A time span for a person: ``8 s``, ``3 min``, ``2 h 05 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def amount(size: float) -> str:
    """A number of bytes for a person, in the units that model pages use: ``4.7 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"

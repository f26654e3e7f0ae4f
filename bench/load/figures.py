"""Figures of several rounds, the bounds they are held to, and the Markdown they are shown in."""

from __future__ import annotations

import datetime as dt
import os
import platform
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RESULTS = Path(__file__).parents[1] / "results"


class Spread(NamedTuple):
    """The median of some rounds, with the lowest and the highest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of *values*; there is at least one."""
        return cls(statistics.median(values), min(values), max(values))

    def told(self, digits: int = 0) -> str:
        """``median (low..high)``, with *digits* decimals."""
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}..{self.high:,.{digits}f})"


class Verdict(NamedTuple):
    """
    A figure beside its bound.

    Attributes:
        value: None where it could not be had; then nothing is broken.
        at_least: the bound is the lowest that will do; otherwise it is the highest.
    """

    what: str
    value: float | None
    must: float
    aim: float | None = None
    unit: str = ""
    at_least: bool = False

    @property
    def is_broken(self) -> bool:
        """The figure is there and beyond its bound."""
        return self.value is not None and not self._meets(self.must)

    def row(self) -> str:
        """A row of ``table_of``."""
        value = "not measured" if self.value is None else f"{self.value:,.2f}{self.unit}"
        aim = "" if self.aim is None else f"{self.aim:g}{self.unit}"
        bound = f"{'≥' if self.at_least else '≤'} {self.must:g}{self.unit}"
        return f"| {self.what} | {value} | {bound} | {aim} | {self._word()} |"

    def _meets(self, bound: float) -> bool:
        assert self.value is not None
        return self.value >= bound if self.at_least else self.value <= bound

    def _word(self) -> str:
        if self.value is None:
            return "?"
        if self.is_broken:
            return "**broken**"
        return "aim" if self.aim is not None and self._meets(self.aim) else "must"


def table_of(verdicts: Iterable[Verdict]) -> list[str]:
    """A Markdown table: each figure, what it must be, what it aims at, and which of them it meets."""
    return ["| | measured | must | aim | meets |", "|---|---:|---:|---:|---|", *(each.row() for each in verdicts)]


def page(title: str, command: str, load: str, blocks: Iterable[Sequence[str]]) -> str:
    """A page of results: when, where and how they were made, then *blocks* of lines."""
    date = dt.datetime.now(tz=dt.UTC).date().isoformat()
    made = f"{date}, {machine()}; load average before: {load}. `{command}`, which says how."
    return "\n".join([f"# {title}", "", made, *(line for block in blocks for line in ("", *block))]) + "\n"


def machine() -> str:
    """What the figures were made on."""
    return f"{os.cpu_count()} vCPU, CPython {platform.python_version()}"


def load_average() -> str:
    """Of the last minute: what else the machine does."""
    return f"{os.getloadavg()[0]:.2f}"


def keep(name: str, text: str) -> None:
    """Write a page into the results."""
    (RESULTS / name).write_text(text, encoding="utf-8")

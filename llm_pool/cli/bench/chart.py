"""The figures on the terminal: a table, and a bar per subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from llm_pool.cli.drawing import grid, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from llm_pool.cli.bench.figures import Figures, Spread

SHADES = ("█", "▓", "░")
"""A bar's cells up to p50, p95 and p99."""
_WIDTH = 44


def table(rows: Sequence[Figures]) -> Table:
    """One line of figures per subject, under a heading; columns nobody measured are left out."""
    cells = [
        ("p50", *(milliseconds(one.took, "p50") for one in rows)),
        ("p95", *(milliseconds(one.took, "p95") for one in rows)),
        ("p99", *(milliseconds(one.took, "p99") for one in rows)),
        ("queue p50", *(milliseconds(one.queued, "p50") for one in rows)),
        ("first token p50", *(milliseconds(one.first_token, "p50") for one in rows)),
        ("p95", *(milliseconds(one.first_token, "p95") for one in rows)),
        ("writing p50", *(milliseconds(one.writing, "p50") for one in rows)),
        ("tok/s", *("" if one.speed is None else f"{one.speed:.0f}" for one in rows)),
        ("answers/s", *(f"{one.rate:.1f}" for one in rows)),
        ("errors", *(f"{one.errors * 100:.0f}%" for one in rows)),
        ("degraded", *(f"{one.degraded}" if one.degraded else "" for one in rows)),
        ("agreement", *("" if one.agreement is None else f"{one.agreement:.2f}" for one in rows)),
    ]
    shown = [column for column in cells if any(column[1:])]
    drawn = Table(box=None, show_edge=False, pad_edge=False, padding=(0, 1), header_style="dim")
    drawn.add_column("", overflow="fold")
    for head, *_ in shown:
        drawn.add_column(head, justify="right")
    for index, one in enumerate(rows, start=1):
        drawn.add_row(text(one.subject), *(column[index] for column in shown))
    return drawn


def bars(rows: Sequence[Figures], width: int = _WIDTH) -> RenderableType:
    """A bar per subject on one scale from 0: full to p50, dense to p95, light to p99."""
    longest = max((one.took.p99 for one in rows if one.took is not None), default=0.0)
    drawn = grid("wrap", "left")
    for one in rows:
        if one.took is None or not longest:
            drawn.add_row(text(one.subject), "no answer")
        else:
            drawn.add_row(text(one.subject), f"{_bar(one.took, longest, width)} {milliseconds(one.took, 'p99')} ms")
    legend = "  ".join(f"{shade} to {name}" for shade, name in zip(SHADES, ("p50", "p95", "p99"), strict=True))
    return Group("", drawn, Text(legend, "dim"))


def milliseconds(one: Spread | None, name: str) -> str:
    """A percentile of *one* in milliseconds; empty where nothing was measured."""
    return "" if one is None else f"{getattr(one, name) * 1000:.0f}"


def _bar(took: Spread, longest: float, width: int) -> str:
    ends = [round(value / longest * width) for value in (took.p50, took.p95, took.p99)]
    drawn, cells = 0, ""
    for shade, end in zip(SHADES, ends, strict=True):
        cells += shade * (end - drawn)
        drawn = max(drawn, end)
    return cells or SHADES[0]

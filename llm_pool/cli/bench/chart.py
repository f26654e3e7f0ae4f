"""The figures as a table and bars for the terminal, and as a picture for a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.cli.bench.figures import Figures, Spread

SHADES = ("█", "▓", "░")
"""A bar's cells up to p50, p95 and p99."""
_WIDTH = 44
_COLORS = ("#2f5d8a", "#7fa8cf", "#cfdfee")
_DARK, _PALE = "#222222", "#767676"
_LEFT, _BAR, _ROW, _TOP = 230, 400, 34, 64  # pixels


class Box(NamedTuple):
    """A filled rectangle; pixels from the top left."""

    x: float
    y: float
    width: float
    height: float
    color: str


class Label(NamedTuple):
    """A line of text; *x* its left end, *y* its base line."""

    x: float
    y: float
    text: str
    color: str


class Picture(NamedTuple):
    """What SVG and PNG both draw."""

    width: int
    height: int
    shapes: tuple[Shape, ...]


Shape: TypeAlias = Box | Label


def table(rows: Sequence[Figures]) -> list[str]:
    """One line of figures per subject, under a heading; columns nobody measured are left out."""
    cells = [
        ("", *(one.subject for one in rows)),
        ("p50", *(_ms(one.took, "p50") for one in rows)),
        ("p95", *(_ms(one.took, "p95") for one in rows)),
        ("p99", *(_ms(one.took, "p99") for one in rows)),
        ("queue p50", *(_ms(one.queued, "p50") for one in rows)),
        ("first token p50", *(_ms(one.first_token, "p50") for one in rows)),
        ("p95", *(_ms(one.first_token, "p95") for one in rows)),
        ("writing p50", *(_ms(one.writing, "p50") for one in rows)),
        ("tok/s", *("" if one.speed is None else f"{one.speed:.0f}" for one in rows)),
        ("answers/s", *(f"{one.rate:.1f}" for one in rows)),
        ("errors", *(f"{one.errors * 100:.0f}%" for one in rows)),
        ("degraded", *(f"{one.degraded}" if one.degraded else "" for one in rows)),
        ("agreement", *("" if one.agreement is None else f"{one.agreement:.2f}" for one in rows)),
    ]
    shown = [column for column in cells if any(column[1:])]
    widths = [max(map(len, column)) for column in shown]
    return [
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in zip(*shown, strict=True)
    ]


def bars(rows: Sequence[Figures], width: int = _WIDTH) -> list[str]:
    """A bar per subject on one scale from 0: full to p50, dense to p95, light to p99."""
    longest = _longest(rows)
    names = max((len(one.subject) for one in rows), default=0)
    lines = []
    for one in rows:
        if one.took is None or not longest:
            lines.append(f"{one.subject:<{names}}  no answer")
            continue
        ends = [round(value / longest * width) for value in (one.took.p50, one.took.p95, one.took.p99)]
        drawn, cells = 0, ""
        for shade, end in zip(SHADES, ends, strict=True):
            cells += shade * (end - drawn)
            drawn = max(drawn, end)
        lines.append(f"{one.subject:<{names}}  {cells or SHADES[0]} {_ms(one.took, 'p99')} ms")
    return [*lines, f"{'':<{names}}  {SHADES[0]} to p50  {SHADES[1]} to p95  {SHADES[2]} to p99"]


def picture(title: str, rows: Sequence[Figures]) -> Picture:
    """The bars as a picture, with their figures beside them."""
    longest = _longest(rows)
    shapes: list[Shape] = [Label(16, 28, title, _DARK)]
    for index, (color, name) in enumerate(zip(_COLORS, ("to p50", "to p95", "to p99"), strict=True)):
        shapes += [Box(_LEFT + index * 110, 40, 12, 12, color), Label(_LEFT + 18 + index * 110, 51, name, _PALE)]
    for index, one in enumerate(rows):
        top = _TOP + index * _ROW
        shapes.append(Label(16, top + 18, one.subject, _DARK))
        shapes += _row(one, top, longest)
    return Picture(_LEFT + _BAR + 290, _TOP + len(rows) * _ROW + 16, tuple(shapes))


def svg(drawn: Picture) -> str:
    """*drawn* as SVG, in whatever plain font the reader has."""
    from xml.sax.saxutils import escape  # writes only; what it escapes is ours

    shapes = [
        f'<rect x="{one.x:g}" y="{one.y:g}" width="{one.width:.1f}" height="{one.height:g}" fill="{one.color}"/>'
        if isinstance(one, Box)
        else f'<text x="{one.x:g}" y="{one.y:g}" fill="{one.color}">{escape(one.text)}</text>'
        for one in drawn.shapes
    ]
    size = f'width="{drawn.width}" height="{drawn.height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">'
    paper = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return "\n".join([head, paper, *shapes, "</svg>\n"])


def _row(one: Figures, top: float, longest: float) -> list[Shape]:
    if one.took is None or not longest:
        return [Label(_LEFT, top + 18, "no answer", _PALE)]
    ends = [value / longest * _BAR for value in (one.took.p50, one.took.p95, one.took.p99)]
    boxes = [Box(_LEFT, top + 4, end, 20, color) for end, color in zip(reversed(ends), reversed(_COLORS), strict=True)]
    words = f"{_ms(one.took, 'p50')} / {_ms(one.took, 'p95')} / {_ms(one.took, 'p99')} ms"
    return [*boxes, Label(_LEFT + ends[-1] + 8, top + 18, words, _PALE)]


def _longest(rows: Sequence[Figures]) -> float:
    return max((one.took.p99 for one in rows if one.took is not None), default=0.0)


def _ms(one: Spread | None, name: str) -> str:
    return "" if one is None else f"{getattr(one, name) * 1000:.0f}"

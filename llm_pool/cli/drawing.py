"""
rich, behind the one cleaner: whatever is drawn of strangers' text has no power over a terminal.

Only what draws imports this: help, tables, progress and status on a terminal, Markdown.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NoReturn

import rich.console
from rich.table import Table
from rich.text import Text

from llm_pool.cli.console import PipeClosed, escaped

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from rich.console import ConsoleOptions, RenderableType
    from rich.segment import Segment

    from llm_pool.cli.console import Console


class CleanConsole(rich.console.Console):
    """A console of rich whose text passes ``escaped``: only what rich itself says may move the cursor."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of *renderable*, cleaned."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=escaped(segment.text))

    def on_broken_pipe(self) -> NoReturn:
        """Nobody reads any more."""
        raise PipeClosed


def console_for(stream: TextIO, *, color: bool, width: int | None = None) -> CleanConsole:
    """A console that draws on *stream*; *width* in columns, else the terminal's."""
    return CleanConsole(
        file=stream,
        color_system="standard" if color else None,
        width=width,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )


def drawn(renderable: RenderableType, *, color: bool, width: int) -> str:
    """*renderable* as text, *width* columns wide at most, each line without blanks at its end."""
    page = io.StringIO()
    console_for(page, color=color, width=width).print(renderable)
    return "".join(f"{line.rstrip()}\n" for line in page.getvalue().splitlines())


def text(words: str, style: str = "") -> Text:
    """*words*, which may be anybody's, in *style*."""
    return Text(escaped(words), style)


def grid(*columns: str, gap: int = 2) -> Table:
    """
    A table without lines.

    Args:
        columns: each ``left``, ``right``, or ``wrap`` for one on the left that may take several lines.
        gap: blanks between two of them.
    """
    table = Table.grid(padding=(0, gap, 0, 0))
    for column in columns:
        table.add_column(
            justify="right" if column == "right" else "left",
            no_wrap=column != "wrap",
            overflow="fold",
        )
    return table


def live_console(console: Console) -> CleanConsole:
    """A console for what moves on the stderr of *console*."""
    return console_for(console.stderr, color=console.has_color(console.stderr))

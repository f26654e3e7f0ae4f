"""Markdown as it comes: finished blocks are printed for good, the last one is drawn anew until it is finished."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich.live import Live
from rich.markdown import Markdown

from llm_pool.cli.console import escaped
from llm_pool.cli.drawing import console_for

if TYPE_CHECKING:
    from llm_pool.cli.console import Console

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_PER_SECOND = 8


class Blocks:
    """Cuts a text that comes in pieces where a block of Markdown ends: at a blank line outside of code."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._part = ""
        self._fence = ""

    def feed(self, text: str) -> str:
        """Take in *text*; the blocks that it finished, or nothing."""
        *whole, self._part = (self._part + text).split("\n")
        finished: list[str] = []
        for line in whole:
            self._lines.append(line)
            if (found := _FENCE.match(line)) is not None:
                if not self._fence:
                    self._fence = found[1]
                elif found[1].startswith(self._fence) and not line.strip().strip(found[1][0]):
                    self._fence = ""
            if not line.strip() and not self._fence:
                finished += self._lines
                self._lines = []
        return "\n".join([*finished, ""]) if finished else ""

    @property
    def rest(self) -> str:
        """What is not finished yet."""
        return "\n".join([*self._lines, self._part])


class MarkdownStream:
    """Draws an answer on stdout, a terminal, while it comes."""

    def __init__(self, console: Console) -> None:
        self._console = console_for(console.stdout, color=console.has_color(console.stdout))
        self._blocks = Blocks()
        self._live: Live | None = None
        self.text = ""

    def feed(self, text: str) -> None:
        """Draw the next piece."""
        self.text += text
        if self._live is None:
            self._live = Live(console=self._console, refresh_per_second=_PER_SECOND, transient=True)
            self._live.start()
        if finished := self._blocks.feed(text):
            self._live.console.print(_drawn(finished), "")
        self._live.update(_drawn(self._blocks.rest))

    def finish(self) -> None:
        """Print what is left for good."""
        if self._live is not None:
            self._live.update("")
            self._live.stop()
            self._live = None
            if self._blocks.rest.strip():
                self._console.print(_drawn(self._blocks.rest))
        self._blocks = Blocks()


def print_markdown(text: str, console: Console) -> None:
    """Print a whole text on stdout, a terminal."""
    console.show(_drawn(text))


def _drawn(text: str) -> Markdown:
    return Markdown(escaped(text), hyperlinks=False)

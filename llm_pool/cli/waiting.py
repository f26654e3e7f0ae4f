"""What a person sees while a request is under way: which model is loading, and how long it may still take."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from llm_pool.cli.progress import span
from llm_pool.messages import ModelLoading, TextArrived

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from llm_pool.cli.console import Console
    from llm_pool.messages import Event

QUIET = 2.0
"""Seconds without a word after which the wait is explained; shorter ones need no explanation."""


class Waiting:
    """The line on stderr of one request; nothing at all where stderr is no terminal."""

    def __init__(self, console: Console, deadline: float) -> None:
        self._console, self._until = console, deadline
        self._live = console.stderr.isatty() and not console.quiet
        self._text, self._shown = "waiting for the models", False

    def on(self, event: Event) -> None:
        """Note what is waited for; text that arrives ends the wait."""
        if isinstance(event, ModelLoading):
            self._text = f"loading {event.model}"
            self._draw()
        elif isinstance(event, TextArrived) and event.committed:
            self.clear()

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            self._console.stderr.write("\r\x1b[K")
            self._console.stderr.flush()
            self._shown = False

    async def tick(self) -> None:
        """Redraw each second once the wait is worth a word; runs until cancelled."""
        await asyncio.sleep(QUIET)
        while True:
            self._draw()
            await asyncio.sleep(1)

    def _draw(self) -> None:
        if self._live:
            left = self._until - asyncio.get_running_loop().time()
            self._console.stderr.write(f"\r{self._text} … {span(max(0.0, left))} left\x1b[K")
            self._console.stderr.flush()
            self._shown = True


@asynccontextmanager
async def waiting(console: Console, deadline: float) -> AsyncIterator[Waiting]:
    """
    A wait explained on stderr while the block runs.

    Args:
        console: where to.
        deadline: instant on the loop's clock.
    """
    line = Waiting(console, deadline)
    ticking = asyncio.create_task(line.tick())
    try:
        yield line
    finally:
        ticking.cancel()
        line.clear()

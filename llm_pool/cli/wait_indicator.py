"""What a person sees while a request is under way: which model is loading, and how long it may still take."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from llm_pool.cli.progress import format_duration
from llm_pool.core.events import ModelLoading, ReasoningArrived, TextArrived

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from llm_pool.cli.console import Console
    from llm_pool.core.events import Event

SHOW_AFTER = 2.0
"""Seconds without a word after which the wait is explained; shorter ones need no explanation."""


class WaitIndicator:
    """
    The line on stderr of one request; nothing at all where nobody watches.

    Args:
        console: its stderr is drawn on.
        until: instant on the loop's clock at which the wait ends at the latest.
    """

    def __init__(self, console: Console, until: float) -> None:
        self._console, self._until = console, until
        self._text, self._shown, self._over = "waiting for the models", False, False

    def on(self, event: Event) -> None:
        """Note what is waited for; text that arrives ends the wait."""
        if isinstance(event, ModelLoading):
            self._text = f"loading {event.model}"
            self.draw()
        elif isinstance(event, ReasoningArrived):
            self._text = f"{event.provider} is reasoning"  # drawn with the next second: there is one event a token
        elif isinstance(event, TextArrived) and event.committed:
            self.finish()

    def finish(self) -> None:
        """Take the line away for good."""
        if self._shown:
            self._console.draw("")
        self._shown, self._over = False, True

    def draw(self) -> None:
        """Write the line, with the seconds that are left."""
        if not self._over:
            left = self._until - asyncio.get_running_loop().time()
            self._console.draw(f"{self._text} … {format_duration(max(0.0, left))} left")
            self._shown = True

    async def tick(self) -> None:
        """Redraw each second once the wait is worth a word; runs until cancelled."""
        await asyncio.sleep(SHOW_AFTER)
        while True:
            self.draw()
            await asyncio.sleep(1)


class _NullIndicator:
    def on(self, event: Event) -> None:
        pass


@asynccontextmanager
async def wait_indicator(
    console: Console, deadline: Callable[[], Awaitable[float]]
) -> AsyncIterator[WaitIndicator | _NullIndicator]:
    """
    A wait explained on stderr while the block runs.

    Args:
        console: where to.
        deadline: gives an instant on the loop's clock; asked only where somebody watches.
    """
    if not console.is_live:
        yield _NullIndicator()
        return
    line = WaitIndicator(console, await deadline())
    ticking = asyncio.create_task(line.tick())
    try:
        yield line
    finally:
        ticking.cancel()
        line.finish()

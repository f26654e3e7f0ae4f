"""What a person sees while a request is under way: which model is loading, and how long it may still take."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from llm_pool.cli.progress import StatusLine, format_duration
from llm_pool.core.events import AttemptStarted, ModelLoading, ReasoningArrived, TextArrived

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from llm_pool.cli.console import Console
    from llm_pool.core.events import Event

SHOW_AFTER = 2.0
"""Seconds without a word after which the wait is explained; shorter ones need no explanation."""


class WaitIndicator:
    """
    The line on stderr of one request.

    Args:
        console: its stderr is drawn on.
        until: instant on the loop's clock at which the wait ends at the latest; a load before the first call comes on
            top of it.
    """

    def __init__(self, console: Console, until: float) -> None:
        self._status, self._now = StatusLine(console), asyncio.get_running_loop().time
        self._left = until - self._now()
        self._until = until
        self._text, self._over = "waiting for the models", False
        self._load: tuple[ModelLoading, float] | None = None
        self._asked = False

    def on(self, event: Event) -> None:
        """Note what is waited for; text that arrives ends the wait."""
        match event:
            case ModelLoading() if not self._asked:
                self._load = (event, self._now())
                self.draw()
            case ModelLoading():
                self._text = f"loading {event.model}"
                self.draw()
            case AttemptStarted() if not self._asked:
                self._asked, self._load, self._until = True, None, self._now() + self._left
            case ReasoningArrived():  # drawn with the next second: there is one event a token
                self._text = f"{event.provider} is reasoning"
            case TextArrived() if event.committed:
                self.finish()

    def finish(self) -> None:
        """Take the line away for good."""
        self._status.clear()
        self._over = True

    def draw(self) -> None:
        """Write the line, with the seconds that are left, or that a load has taken."""
        if not self._over:
            self._status.show(self._line())

    async def tick(self) -> None:
        """Redraw each second once the wait is worth a word; runs until cancelled."""
        await asyncio.sleep(SHOW_AFTER)
        while True:
            self.draw()
            await asyncio.sleep(1)

    def _line(self) -> str:
        if self._load is None:
            return f"{self._text} … {format_duration(max(0.0, self._until - self._now()))} left"
        load, began = self._load
        usual = "" if load.usual is None else f", usually {format_duration(load.usual)}"
        return f"loading {load.model} … {format_duration(self._now() - began)} so far{usual}"


class LoadNotice:
    """One line on stderr about a load before the first call that takes long, where no line may change."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._timer: asyncio.TimerHandle | None = None

    def on(self, event: Event) -> None:
        """Note that a model is loaded, or that the models are asked at last."""
        if isinstance(event, ModelLoading | AttemptStarted):
            self.finish()
        if isinstance(event, ModelLoading):
            text = f"loading {event.model} …"
            self._timer = asyncio.get_running_loop().call_later(SHOW_AFTER, self._console.say, text)

    def finish(self) -> None:
        """Say nothing any more."""
        if self._timer is not None:
            self._timer.cancel()


@asynccontextmanager
async def wait_indicator(
    console: Console, deadline: Callable[[], Awaitable[float]]
) -> AsyncIterator[WaitIndicator | LoadNotice]:
    """
    A wait explained on stderr while the block runs.

    Args:
        console: where to.
        deadline: gives an instant on the loop's clock; asked only where somebody watches.
    """
    if not console.is_live:
        notice = LoadNotice(console)
        try:
            yield notice
        finally:
            notice.finish()
        return
    line = WaitIndicator(console, await deadline())
    ticking = asyncio.create_task(line.tick())
    try:
        yield line
    finally:
        ticking.cancel()
        line.finish()

"""
How long a task may wait: ``asyncio.timeout``, made to cost little where it hardly ever strikes.

Entering and leaving take no coroutine, and a limit that is moved forward, as by each word of an answer that flows, is
only noted: its timer finds that out when it fires, and waits on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

RESOLUTION = 0.001
"""Seconds by which a timer may fire early: uvloop counts in milliseconds."""


class TimeLimit:
    """
    Cancels what the block waits for at an instant, and raises TimeoutError in its place.

    ::

        with TimeLimit(call.deadline) as limit:
            ...
            limit.move(later)

    One task at a time enters it. Leaving ends the limit; with *keep* there may be another block, and ``close`` ends it.
    Whose instant comes between two blocks strikes as soon as the next one has to wait.

    Args:
        at: instant on the loop's clock; None: never, until it is moved.
        keep: whether there may be another block.

    Raises:
        TimeoutError: leaving the block, once it has struck in it.
    """

    __slots__ = ("_at", "_cancelling", "_fired", "_keep", "_loop", "_task", "_timer", "_timer_at")

    def __init__(self, at: float | None = None, *, keep: bool = False) -> None:
        self._at, self._keep = at, keep
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at, self._cancelling, self._fired = 0.0, 0, False

    @property
    def expired(self) -> bool:
        """Whether it has struck."""
        return self._fired

    def move(self, at: float) -> None:
        """Strike at *at* instead, if it has not struck."""
        self._at = at
        if self._loop is not None and not self._fired and (self._timer is None or at < self._timer_at):
            self._arm()

    def close(self) -> None:
        """Never strike any more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._loop = self._task = None

    def __enter__(self) -> Self:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task(self._loop)
        assert self._task is not None, "entered outside of a task"
        self._cancelling = self._task.cancelling()
        if self._timer is None and self._at is not None:
            self._arm()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        struck = self._fired
        if not self._keep or struck:
            self.close()
        if struck and task is not None:
            is_own = task.uncancel() <= self._cancelling and kind is asyncio.CancelledError
            del task  # it will know this frame, by what is raised here
            if is_own:
                raise TimeoutError from error

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        assert self._loop is not None
        assert self._at is not None
        self._timer_at = self._at
        self._timer = self._loop.call_at(self._at, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._loop is None or self._at is None:
            return
        if self._at - self._loop.time() > RESOLUTION:
            self._arm()
            return
        if self._task is not None:
            self._fired = True
            self._task.cancel()

    def __repr__(self) -> str:
        return f"<TimeLimit at {self._at}{', struck' if self._fired else ''}>"

"""
An answer that is told while it is made.

::

    event ─▶ heard, as it comes ─▶ [end of this turn of the event loop] ─▶ told: one piece of body, one write
                                     └─ the client does not read: later, together with what comes until then

Nobody waits between an event and its write: no task, no queue. What comes in one turn of the loop goes out together.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from llm_pool.server.exchange import Exchange

PING_EVERY = 15.0
"""Seconds of silence after which a stream shows that it lives."""


class Stream:
    """
    Tells what there is to tell, while its block runs.

    Args:
        exchange: its way out.
        told: gives the bytes of what was heard since it was last asked; nothing where that is nothing. It begins the
            answer before it gives the first.
        heartbeat: likewise, after a long silence: something that says nothing.
    """

    def __init__(self, exchange: Exchange, told: Callable[[], bytes], heartbeat: Callable[[], bytes]) -> None:
        self._exchange, self._told, self._heartbeat = exchange, told, heartbeat
        self._loop = asyncio.get_running_loop()
        self._is_due, self._has_ended = False, False
        self._failure: Exception | None = None

    def __enter__(self) -> Self:
        """Begin to tell."""
        self._task = asyncio.current_task()
        self._exchange.on_writable = self.flush
        self._told_at = self._loop.time()
        self._timer = self._loop.call_later(PING_EVERY, self._ping)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell no more; raises what ``told`` raised."""
        self._has_ended = True
        self._timer.cancel()
        self._exchange.on_writable = None
        if self._failure is not None:
            raise self._failure from None

    def wake(self) -> None:
        """There is something to tell."""
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._flush_due)

    def flush(self) -> None:
        """Tell it now, unless the client is behind."""
        if self._exchange.is_writable:
            self._write(self._told)

    def _flush_due(self) -> None:
        self._is_due = False
        if not self._has_ended:
            self.flush()

    def _write(self, make: Callable[[], bytes]) -> None:
        try:
            data = make()
        except Exception as error:  # noqa: BLE001  # nobody waits here: it is the block's
            if self._failure is None and self._task is not None:
                self._failure = error
                self._task.cancel()
            return
        if data:
            self._told_at = self._loop.time()
            self._exchange.write(data)

    def _ping(self) -> None:
        silent = self._loop.time() - self._told_at
        if silent >= PING_EVERY and self._exchange.is_writable:
            self._write(self._heartbeat)
            silent = 0.0
        self._timer = self._loop.call_later(PING_EVERY - min(silent, PING_EVERY - 1.0), self._ping)

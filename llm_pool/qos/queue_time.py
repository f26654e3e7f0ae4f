"""
How long an attempt has waited in our own queues, apart from what its backend took.

Whoever runs an attempt does so within a ``QueueTime``; a policy that makes it wait notes that there, however deep
it stands among the others. A context variable carries it, as it carries a trace's span: the time belongs to the
attempt, and neither to the question nor to what comes back.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_current: ContextVar[QueueTime | None] = ContextVar("queue time", default=None)


class QueueTime:
    """
    Seconds that one attempt has waited in queues; several waits add up.

    Args:
        now: the time, in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self._ended = now, 0.0
        self._since: float | None = None

    def __enter__(self) -> None:
        self._before = _current.set(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.reset(self._before)

    @property
    def total(self) -> float:
        """So far, a wait that goes on included."""
        return self._ended + (0.0 if self._since is None else self._now() - self._since)

    def begin(self) -> None:
        """A wait begins."""
        self._since = self._now()

    def end(self) -> None:
        """It is over."""
        self._ended, self._since = self.total, None


class waiting:  # noqa: N801  a context manager, named as what it says
    """Counts the time in the block as waiting, for the attempt that runs in this task, if one does."""

    __slots__ = ("_current",)

    def __enter__(self) -> None:
        self._current = _current.get()
        if self._current is not None:
            self._current.begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._current is not None:
            self._current.end()

"""Time that passes only when there is nothing else to do."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class WrappedSelector(selectors.BaseSelector):
    """The platform's selector, *real*, for a loop that wants to know when it would sleep: ``select`` is its own."""

    def __init__(self) -> None:
        self.real = selectors.DefaultSelector()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As the platform's; so are the others."""
        return self.real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Likewise."""
        return self.real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Likewise."""
        return self.real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Likewise."""
        return self.real.get_map()

    def close(self) -> None:
        """Likewise."""
        self.real.close()


class Deadlock(AssertionError):
    """Every task waits for something that nobody will bring; the message lists who waits where."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """
    An asyncio event loop on which five minutes of waiting take no time at all.

    ``time()`` starts at 1000.0 (so that nobody mistakes the start for zero) and stands still while something is
    ready. When nothing is, it jumps to the next timer. Sockets are real and served at once, in zero virtual
    time; so is work in ``run_in_executor``, which is waited for before time moves on. Threads that the loop did
    not start (a Rust HTTP client) and other processes are outside: tests of those want the real loop.

    Attributes:
        patience: real seconds to wait for a socket or a stray thread when no timer is left, before saying Deadlock.
    """

    patience = 1.0

    def __init__(self) -> None:
        self._now = 1000.0
        self._jobs = 0
        super().__init__(_VirtualSelector(self))

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """As everywhere; time stands still until *func* is done."""
        future = super().run_in_executor(executor, func, *args)
        self._jobs += 1
        future.add_done_callback(self._job_done)
        return future

    async def shutdown_default_executor(self, *args: Any, **kwargs: Any) -> None:
        """As everywhere; joining its threads is work too, and time stands still for it."""
        self._jobs += 1
        try:
            await super().shutdown_default_executor(*args, **kwargs)
        finally:
            self._jobs -= 1

    def _job_done(self, _: asyncio.Future[Any]) -> None:
        self._jobs -= 1

    def idle(self, selector: selectors.BaseSelector, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        """What woke the loop; called by its selector when nothing is ready and *timeout* virtual seconds may pass."""
        if self._jobs:
            return selector.select(None)
        if timeout is not None:
            self._now += timeout
            return []
        events = selector.select(self.patience)
        if not events:
            raise Deadlock(f"nothing is ready and nothing is scheduled at {self._now:.3f}\n{_who_waits(self)}")
        return events


class ManualClock:
    """A Clock that a test sets by hand: *now* in monotonic seconds, *wall* in Unix seconds."""

    def __init__(self, now: float = 1000.0, wall: float = 1_800_000_000.0) -> None:
        self._now, self._wall = now, wall

    def now(self) -> float:
        """Monotonic seconds."""
        return self._now

    def wall(self) -> float:
        """Unix seconds."""
        return self._wall

    def advance(self, seconds: float) -> None:
        """Let time pass on both."""
        self._now += seconds
        self._wall += seconds

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back, as a time server would; monotonic time does not notice."""
        self._wall += seconds


class _VirtualSelector(WrappedSelector):
    """Where the platform's selector would sleep, it asks the loop."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = self.real.select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        return self._loop.idle(self.real, timeout)


def _who_waits(loop: asyncio.AbstractEventLoop) -> str:
    lines = []
    for task in sorted(asyncio.all_tasks(loop), key=asyncio.Task.get_name):
        place = next((f"{f.f_code.co_filename}:{f.f_lineno}" for f in task.get_stack()[-1:]), "not started")
        lines.append(f"  {task.get_name()} waits at {place}")
    return "\n".join(lines)

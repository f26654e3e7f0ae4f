"""An event loop that counts what it is made to do, and says when it has nothing left to do."""

from __future__ import annotations

import asyncio
import io
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_pool.testing.virtual_time import WrappedSelector

if TYPE_CHECKING:
    import selectors
    from collections.abc import Callable, Coroutine
    from types import FrameType

WRITES = frozenset({"send", "sendall", "sendmsg", "write", "writev"})
IDLE_TIMEOUT = 20.0


class Counts(NamedTuple):
    """
    What was done.

    Attributes:
        tasks: that were started.
        timers: that were set, whether they went off or not.
        writes: to sockets and to the log.
        calls: of Python functions; each step of a coroutine or a generator is one, as the interpreter sees it.
        blocks: of memory that are in use.
    """

    tasks: float
    timers: float
    writes: float
    calls: float
    blocks: float

    def __sub__(self, other: tuple[float, ...]) -> Counts:
        return Counts(*(a - b for a, b in zip(self, other, strict=True)))


class CountingLoop(asyncio.SelectorEventLoop):
    """
    asyncio's loop in Python, counting for the thread that runs it.

    Attributes:
        wakes: times it had something to do again.
        is_idle: it waits for somebody else.
    """

    def __init__(self) -> None:
        self._tasks = self._timers = self._writes = self._calls = 0
        self.wakes, self.is_idle = 0, False
        super().__init__(_TellingSelector(self))
        self.set_task_factory(self._new_task)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        """As everywhere."""
        self._timers += 1
        return super().call_at(when, callback, *args, context=context)

    def run_forever(self) -> None:
        """As everywhere."""
        sys.setprofile(self._profile)
        try:
            super().run_forever()
        finally:
            sys.setprofile(None)

    def counts(self) -> Counts:
        """What was done until now."""
        return Counts(self._tasks, self._timers, self._writes, self._calls, sys.getallocatedblocks())

    def after(self, act: Callable[[], object]) -> None:
        """From another thread: *act*, which gives the loop something to do, and wait until it is done with that."""
        wakes = self.wakes
        act()
        until = time.monotonic() + IDLE_TIMEOUT
        while self.wakes == wakes or not self.is_idle:
            time.sleep(0.0001)
            if time.monotonic() > until:
                raise TimeoutError(f"the loop does not come to rest in {IDLE_TIMEOUT:g} s")

    def _new_task(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **more: Any
    ) -> asyncio.Task[Any]:
        self._tasks += 1
        return asyncio.Task(coro, loop=loop, **more)

    def _profile(self, _frame: FrameType, event: str, arg: Any) -> None:
        if event == "call":
            self._calls += 1
        elif event == "c_call" and arg.__name__ in WRITES and _leaves_the_process(arg.__self__):
            self._writes += 1


def _leaves_the_process(written: Any) -> bool:
    """Whether *written*, which has a method for it, is a socket, a file, or ``os``."""
    if isinstance(written, socket.socket | io.TextIOWrapper | io.BufferedWriter | io.FileIO):
        return True
    return getattr(written, "__name__", "") == "posix"


class _TellingSelector(WrappedSelector):
    """It says when it sleeps."""

    def __init__(self, loop: CountingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self.real.select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        self._loop.is_idle = True
        try:
            return self.real.select(timeout)
        finally:
            self._loop.is_idle = False
            self._loop.wakes += 1

"""
Single flight: equal requests in the air share one run, for as long as it runs, and its stream.

The run has a task of its own, so that the first asker may leave without taking the others along; when the last
one leaves, the run is cancelled. Who joins late is told what was said so far, then reads along.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from llm_pool.core.clock import loop_time
from llm_pool.core.errors import DeadlineExceeded
from llm_pool.core.events import TextArrived, ToolCallArrived
from llm_pool.core.time_limit import TimeLimit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llm_pool.core.events import Event
    from llm_pool.core.interfaces import Emit
    from llm_pool.core.messages import Answer


class SingleFlight:
    """The runs in the air, by key."""

    def __init__(self) -> None:
        self._runs: dict[str, _SharedRun] = {}

    def __len__(self) -> int:
        return len(self._runs)

    async def share(
        self, key: str, run: Callable[[Emit], Awaitable[Answer]], emit: Emit | None, *, deadline: float
    ) -> Answer:
        """
        The answer of the run under *key*, started if none is in the air.

        Args:
            key: equal for requests that may have the same answer.
            run: makes the answer, telling its events.
            emit: told of the run's events, those before joining included.
            deadline: instant; a joined run that ends later raises DeadlineExceeded here and goes on for others.

        Raises:
            LlmPoolError: what the run raised. If the run was started under a shorter deadline than this one and
                failed on it, another run is started instead.
        """
        now = loop_time()
        while True:
            run_in_progress = self._runs.get(key)  # one whose last reader has left is not among them any more
            joined = run_in_progress is not None
            if run_in_progress is None:
                run_in_progress = self._runs[key] = _SharedRun(run, on_closed=partial(self._forget, key))
            try:
                return await run_in_progress.read(emit, deadline if joined else None)
            except DeadlineExceeded:
                if not joined or now() >= deadline:
                    raise

    def _forget(self, key: str, run_in_progress: _SharedRun) -> None:
        if self._runs.get(key) is run_in_progress:
            del self._runs[key]


class _SharedRun:
    """One run and those who read it; *on_closed* is told when nobody may join it any more."""

    def __init__(self, run: Callable[[Emit], Awaitable[Answer]], *, on_closed: Callable[[_SharedRun], None]) -> None:
        self._on_closed = on_closed
        self._replay: list[Event] = []
        self._readers: list[Emit | None] = []
        self._task: asyncio.Task[Answer] | None = asyncio.create_task(self._execute(run), name="single flight")
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Answer]) -> None:
        self._on_closed(self)
        if not task.cancelled():
            task.exception()  # its readers may all have left: then nobody else takes it

    async def read(self, emit: Emit | None, deadline: float | None) -> Answer:
        if emit is not None:
            for event in self._replay:
                emit(event)
        self._readers.append(emit)
        task = self._task
        assert task is not None, "joined after its last reader left"
        try:
            if deadline is None:
                await _end_of(task)
            else:
                await self._end_by(deadline, task)
            return task.result()
        finally:
            self._readers.remove(emit)
            if not self._readers:
                self._on_closed(self)  # nobody may join any more
                self._task = None  # its exception knows this run, and both would wait for the garbage collector
                if not task.done():
                    task.cancel()
                    await asyncio.wait([task])
            del task  # likewise

    @staticmethod
    async def _end_by(deadline: float, task: asyncio.Task[Answer]) -> None:
        """Wait for the end of *task*; raises DeadlineExceeded at *deadline*."""
        began = loop_time()()
        try:
            with TimeLimit(deadline):
                await _end_of(task)
        except TimeoutError:
            raise DeadlineExceeded(deadline - began) from None

    async def _execute(self, run: Callable[[Emit], Awaitable[Answer]]) -> Answer:
        return await run(self._broadcast)

    def _broadcast(self, event: Event) -> None:
        if isinstance(event, TextArrived | ToolCallArrived):
            self._replay.append(event)
        for emit in self._readers:
            if emit is not None:
                emit(event)


async def _end_of(task: asyncio.Task[Answer]) -> None:
    """Wait for the end of *task*; leaving earlier does not end it."""
    waiter: asyncio.Future[None] = task.get_loop().create_future()

    def wake(_: asyncio.Task[Answer]) -> None:
        if not waiter.done():
            waiter.set_result(None)

    task.add_done_callback(wake)
    try:
        await waiter
    finally:
        task.remove_done_callback(wake)

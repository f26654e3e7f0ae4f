"""Coroutines for callers without a loop."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import TYPE_CHECKING

import pytest

from llm_pool.core.loop_thread import LoopThread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    thread = LoopThread("a test")
    yield thread
    thread.stop()


class Numbers:
    """Endless numbers, and whether they were closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    async def count(self) -> AsyncGenerator[int]:
        number = 0
        try:
            while True:
                await asyncio.sleep(0)
                yield number
                number += 1
        finally:
            self.closed.set()


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


def test_several_threads_wait_at_once(thread: LoopThread) -> None:
    """Each gets its own."""
    got: dict[int, int] = {}
    threads = [threading.Thread(target=lambda n=n: got.update({n: thread.wait(double(n))})) for n in range(8)]

    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert got == {n: 2 * n for n in range(8)}


def test_an_error_is_raised_where_it_is_waited_for(thread: LoopThread) -> None:
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        thread.wait(fail())


def test_an_interruption_cancels_the_work(thread: LoopThread, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ctrl-C does in the main thread."""
    cancelled = threading.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    def interrupt(future: object) -> None:
        thread.wait(double(1))  # the work has begun
        raise KeyboardInterrupt

    results = iter([interrupt])
    original = asyncio.run_coroutine_threadsafe

    def run(coroutine: object, loop: asyncio.AbstractEventLoop) -> object:
        future = original(coroutine, loop)  # type: ignore[arg-type]
        if (act := next(results, None)) is not None:
            monkeypatch.setattr(future, "result", lambda: act(future))
        return future

    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", run)

    with pytest.raises(KeyboardInterrupt):
        thread.wait(work())

    assert cancelled.wait(5)


def test_leaving_a_generator_closes_it(thread: LoopThread) -> None:
    """Whoever stops reading stops the writing."""
    numbers = Numbers()
    pieces = thread.iterate(numbers.count())

    assert [next(pieces), next(pieces)] == [0, 1]
    pieces.close()

    assert numbers.closed.is_set()


def test_a_generator_left_behind_is_closed_even_on_the_loops_own_thread(thread: LoopThread) -> None:
    """The collector runs wherever it likes; waiting there would be for ever."""
    numbers = Numbers()
    holder = [thread.iterate(numbers.count())]
    next(holder[0])

    async def drop() -> None:
        holder.clear()
        gc.collect()

    thread.wait(drop())

    assert numbers.closed.wait(5)


def test_after_the_end_it_says_so(thread: LoopThread) -> None:
    thread.stop()
    thread.stop()

    with pytest.raises(RuntimeError, match="a test is closed"):
        thread.wait(double(1))

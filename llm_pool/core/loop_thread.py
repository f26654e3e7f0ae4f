"""An event loop in a thread of its own, for callers without one: they wait for what runs on it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Generator

T = TypeVar("T")


class LoopThread:
    """
    Runs coroutines for any number of threads, until ``stop``.

    A caller may be on a running event loop itself, as in a notebook: it blocks that one, as every call without
    ``await`` does.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    @property
    def is_stopped(self) -> bool:
        """Whether ``stop`` was called."""
        return self._loop.is_closed()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """
        What *work* returns or raises; an interruption of the caller's thread, such as Ctrl-C, cancels it.

        Raises:
            RuntimeError: the thread is stopped.
        """
        if self.is_stopped:
            work.close()
            raise RuntimeError(f"{self._thread.name} is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, pieces: AsyncGenerator[T]) -> Generator[T]:
        """*pieces*, one by one; closing the generator closes them, and so cancels what makes them."""
        try:
            while (piece := self.wait(_next(pieces))) is not None:
                yield piece[0]
        finally:
            self._end(pieces)

    def stop(self) -> None:
        """End the thread and its loop. Idempotent."""
        if self.is_stopped:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _end(self, pieces: AsyncGenerator[Any]) -> None:
        if self.is_stopped:
            return
        if threading.current_thread() is self._thread:  # a generator that was left behind, collected here of all places
            self._left_behind = self._loop.create_task(_close(pieces))
        else:
            self.wait(_close(pieces))


async def _next(pieces: AsyncGenerator[T]) -> tuple[T] | None:
    """The next piece; None at the end."""
    try:
        return (await anext(pieces),)
    except StopAsyncIteration:
        return None


async def _close(pieces: AsyncGenerator[Any]) -> None:
    await pieces.aclose()

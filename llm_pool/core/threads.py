"""Threads that nobody waits for: for system calls that cannot be interrupted, and may hang."""

from __future__ import annotations

import asyncio
import errno
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DAEMON_THREADS = 32
"""Such calls at once in this process; those that hang and that nobody waits for any more count too."""

T = TypeVar("T")
_free = threading.BoundedSemaphore(MAX_DAEMON_THREADS)


def in_daemon_thread(func: Callable[[], T], name: str) -> asyncio.Future[T]:
    """
    What *func* returns or raises, from a thread that ends with the process.

    ``asyncio.to_thread`` is for work that ends: its few threads are joined when the loop is closed, and with some of
    them hanging nothing else gets one.

    Args:
        func: may block for as long as it likes.
        name: of the thread, for those who look at the process.

    Raises:
        BlockingIOError: MAX_DAEMON_THREADS of them are busy already.
    """
    if not _free.acquire(blocking=False):
        raise BlockingIOError(errno.EAGAIN, f"{MAX_DAEMON_THREADS} system calls hang already")
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()
    result.add_done_callback(_retrieve)

    def run() -> None:
        try:
            returned = func()
        except Exception as error:  # noqa: BLE001  # whoever waits gets it
            end = _failing(result, error)
        else:
            end = _returning(result, returned)
        finally:
            _free.release()
        with suppress(RuntimeError):  # the loop was closed meanwhile: nobody is left to be told
            loop.call_soon_threadsafe(end)

    try:
        threading.Thread(target=run, name=name, daemon=True).start()
    except RuntimeError as error:  # the system gives no more threads
        _free.release()
        raise BlockingIOError(errno.EAGAIN, str(error)) from error
    return result


def _returning(result: asyncio.Future[T], returned: T) -> Callable[[], None]:
    return lambda: None if result.done() else result.set_result(returned)


def _failing(result: asyncio.Future[T], error: Exception) -> Callable[[], None]:
    return lambda: None if result.done() else result.set_exception(error)


def _retrieve(result: asyncio.Future[T]) -> None:
    """Take note of an error, so that asyncio does not complain of it when all who waited have left."""
    if not result.cancelled():
        result.exception()

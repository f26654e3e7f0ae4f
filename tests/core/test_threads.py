"""System calls that hang take a thread and nothing else."""

from __future__ import annotations

import asyncio
import threading

import pytest

from llm_pool.core import threads
from llm_pool.core.threads import in_daemon_thread

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]


async def test_what_is_returned_and_raised_comes_back() -> None:
    def fail() -> None:
        raise OSError("no")

    assert await in_daemon_thread(lambda: 7, "seven") == 7
    with pytest.raises(OSError, match="no"):
        await in_daemon_thread(fail, "fail")


async def test_hanging_calls_are_bounded_and_give_their_threads_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_free", threading.BoundedSemaphore(2))
    release = threading.Event()
    hanging = [in_daemon_thread(release.wait, "hangs") for _ in range(2)]

    with pytest.raises(BlockingIOError, match="hang already"):
        in_daemon_thread(release.wait, "one too many")

    release.set()
    assert await asyncio.gather(*hanging) == [True, True]
    assert await in_daemon_thread(lambda: "again", "again") == "again"


async def test_nobody_has_to_wait_for_one() -> None:
    """Its asker left; the result of the call that ends afterwards goes nowhere, and nothing complains."""
    release = threading.Event()
    left = in_daemon_thread(release.wait, "hangs")
    left.cancel()

    release.set()

    assert await in_daemon_thread(lambda: 1, "later") == 1

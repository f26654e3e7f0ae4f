"""A TimeLimit keeps the promises of asyncio.timeout, moved or not, in one block or in several."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.core.time_limit import TimeLimit
from llm_pool.testing import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_it_ends_a_wait_at_its_instant() -> None:
    """With TimeoutError, and the task is not marked as cancelled afterwards."""
    began = now()

    with pytest.raises(TimeoutError), TimeLimit(began + 1.0):
        await asyncio.sleep(5.0)

    assert now() == pytest.approx(began + 1.0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_what_ends_in_time_is_left_alone() -> None:
    """Also later: its timer is gone."""
    with TimeLimit(now() + 1.0) as limit:
        await asyncio.sleep(0.5)
    await asyncio.sleep(5.0)

    assert not limit.expired


async def test_an_instant_that_has_passed_ends_the_first_wait() -> None:
    """As asyncio.timeout does."""
    with pytest.raises(TimeoutError), TimeLimit(now() - 1.0):
        await asyncio.sleep(5.0)


async def test_none_is_no_limit_until_it_is_moved() -> None:
    """From then on it strikes."""
    limit = TimeLimit()
    asyncio.get_running_loop().call_later(2.0, lambda: limit.move(now()))
    began = now()

    with pytest.raises(TimeoutError), limit:
        await asyncio.sleep(10.0)

    assert now() == pytest.approx(began + 2.0)


@given(moves=st.lists(st.tuples(st.integers(0, 20), st.integers(1, 50)), max_size=6))
def test_it_strikes_when_asyncio_timeout_would(moves: list[tuple[int, int]]) -> None:
    """Moved forth or back at any instants, to the millisecond."""

    async def struck(limited: Callable[[float], object]) -> float:
        limit = limited(now() + 2.0)
        move = limit.move if isinstance(limit, TimeLimit) else limit.reschedule  # type: ignore[attr-defined]
        at = now()
        for wait, ahead in moves:
            at += wait / 10 + 0.03  # so that none is moved at the very instant it strikes
            asyncio.get_running_loop().call_at(at, lambda ahead=ahead: _quietly(move, now() + ahead / 10))
        began = now()
        try:
            if isinstance(limit, TimeLimit):
                with limit:
                    await asyncio.sleep(100)
            else:
                async with limit:  # type: ignore[attr-defined]
                    await asyncio.sleep(100)
        except TimeoutError:
            return now() - began
        return 100.0

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        ours, theirs = runner.run(struck(TimeLimit)), runner.run(struck(asyncio.timeout_at))

    assert ours == pytest.approx(theirs, abs=0.0021)


def _quietly(move: Callable[[float], None], at: float) -> None:
    with suppress(RuntimeError):  # asyncio's: it has struck
        move(at)


async def test_somebody_elses_cancellation_stays_one() -> None:
    """Only the limit's own becomes a TimeoutError."""

    async def limited() -> None:
        with TimeLimit(now() + 10.0):
            await asyncio.sleep(20.0)

    task = asyncio.create_task(limited())
    await asyncio.sleep(1.0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_limits_nest() -> None:
    """The outer one, striking first, passes the inner one by."""
    inner_struck = False

    async def inner() -> None:
        nonlocal inner_struck
        try:
            with TimeLimit(now() + 2.0):
                await asyncio.sleep(5.0)
        except TimeoutError:
            inner_struck = True

    with pytest.raises(TimeoutError), TimeLimit(now() + 1.0):
        await inner()

    assert not inner_struck


async def test_one_that_is_kept_strikes_only_where_a_block_waits() -> None:
    """Between two blocks nobody is cancelled, and what is ready in the next one is not lost."""
    limit, ready = TimeLimit(now() + 1.0, keep=True), asyncio.get_running_loop().create_future()
    with limit:
        await asyncio.sleep(0.5)

    await asyncio.sleep(2.0)  # others' time
    ready.set_result(1)

    with limit:
        assert await ready == 1
    began = now()
    with pytest.raises(TimeoutError), limit:
        await asyncio.sleep(5.0)
    assert now() == began


async def test_one_that_is_kept_works_in_each_tasks_block() -> None:
    """A stream may be read by one task after the other."""
    limit = TimeLimit(now() + 1.0, keep=True)

    async def wait(seconds: float) -> None:
        with limit:
            await asyncio.sleep(seconds)

    await asyncio.create_task(wait(0.4))
    with pytest.raises(TimeoutError):
        await asyncio.create_task(wait(5.0))


async def test_a_closed_one_leaves_nothing_behind() -> None:
    """No timer, and nothing for the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            limit = TimeLimit(now() + 60.0, keep=True)
            for _ in range(2):
                with limit:
                    await asyncio.sleep(0)
            limit.close()
            with TimeLimit(now() + 60.0):
                await asyncio.sleep(0)
        del limit
        assert gc.collect() < 10
    finally:
        gc.enable()

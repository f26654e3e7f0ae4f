"""The first address that can be reached, and no socket left behind: real sockets on the loopback."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llm_pool.providers.happy_eyeballs import ATTEMPT_DELAY, open_socket
from llm_pool.providers.resolver import Address

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]


@contextmanager
def listening() -> Iterator[Address]:
    """An address that answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Address(socket.AF_INET, listener.getsockname())


@contextmanager
def black_hole() -> Iterator[Address]:
    """An address from which nothing comes back: its queue is full, and the system drops what else knocks."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            knocking = stack.enter_context(socket.socket())
            knocking.setblocking(False)
            knocking.connect_ex(listener.getsockname())
        yield Address(socket.AF_INET, listener.getsockname())


def refusing() -> Address:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return Address(socket.AF_INET, listener.getsockname())


def open_files() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


async def test_a_dead_first_address_costs_250_ms() -> None:
    loop = asyncio.get_running_loop()
    with black_hole() as hole, listening() as alive:
        began, files = loop.time(), open_files()

        with await open_socket([hole, alive]) as connected:
            took = loop.time() - began
            assert connected.getpeername() == alive.sockaddr

        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert ATTEMPT_DELAY <= took < ATTEMPT_DELAY + 1
        assert open_files() == files


async def test_a_refusal_does_not_wait_for_its_turn_to_end() -> None:
    with listening() as alive:
        async with asyncio.timeout(5):
            with await open_socket([refusing(), refusing(), alive], delay=60) as connected:
                assert connected.getpeername() == alive.sockaddr


async def test_a_slow_first_address_may_still_win() -> None:
    """The first attempt goes on while the second one is made; here the second is refused."""
    with black_hole() as hole:
        async with asyncio.timeout(5):
            attempt = asyncio.create_task(open_socket([hole, refusing()], delay=0.01))
            await asyncio.sleep(0.1)
            assert not attempt.done()
            attempt.cancel()
            with pytest.raises(asyncio.CancelledError):
                await attempt


async def test_with_none_that_can_be_reached_the_first_error_is_told() -> None:
    with pytest.raises(ConnectionRefusedError):
        await open_socket([refusing(), refusing()])


@pytest.mark.parametrize("turns", range(12))
async def test_cancelled_at_any_turn_it_leaves_no_socket(turns: int) -> None:
    with listening() as alive, black_hole() as hole:
        files, tasks = open_files(), asyncio.all_tasks()
        attempt = asyncio.create_task(open_socket([hole, alive], delay=0))
        for _ in range(turns):
            await asyncio.sleep(0)

        attempt.cancel()
        [result] = await asyncio.gather(attempt, return_exceptions=True)
        if isinstance(result, socket.socket):
            result.close()
        for _ in range(3):
            await asyncio.sleep(0)

        assert open_files() == files
        assert asyncio.all_tasks() == tasks

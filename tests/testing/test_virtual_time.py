from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

from llm_pool.testing import Deadlock, ManualClock, VirtualLoop

pytestmark = pytest.mark.anyio


async def test_five_minutes_cost_no_real_time() -> None:
    """Sleeping moves the loop's clock by exactly what was asked, and nobody waits."""
    loop, began = asyncio.get_running_loop(), time.perf_counter()
    start = loop.time()

    await asyncio.sleep(300)

    assert loop.time() - start == pytest.approx(300)
    assert time.perf_counter() - began < 1


async def test_timers_fire_in_their_order() -> None:
    """What is due earlier happens earlier, whenever it was scheduled."""
    seen: list[str] = []

    async def say(word: str, after: float) -> None:
        await asyncio.sleep(after)
        seen.append(word)

    await asyncio.gather(say("late", 60), say("early", 0.001), say("middle", 5))

    assert seen == ["early", "middle", "late"]


async def test_timeouts_expire_in_virtual_time() -> None:
    """``asyncio.timeout`` is on the same clock."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(120):
            await asyncio.sleep(121)


async def test_sockets_are_served_before_time_moves() -> None:
    """A loopback exchange fits in a timeout of no length worth mentioning."""

    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    start = asyncio.get_running_loop().time()
    async with server, asyncio.timeout(1e-6):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"blue\n")
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()

    assert answer == b"BLUE\n"
    assert asyncio.get_running_loop().time() == start


async def test_work_in_a_thread_takes_no_virtual_time() -> None:
    """A timer does not overtake a thread that the loop has started."""
    async with asyncio.timeout(0.001):
        thread = await asyncio.to_thread(lambda: (time.sleep(0.02), threading.current_thread())[1])

    assert thread is not threading.current_thread()


def test_a_deadlock_says_who_waits() -> None:
    """With nothing ready and nothing scheduled, the loop names the task instead of hanging."""
    loop = VirtualLoop()
    loop.patience = 0.01

    async def wait_for_godot() -> None:
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=lambda: loop) as runner, pytest.raises(Deadlock, match=r"waits at .*test_virtual"):
        runner.run(wait_for_godot())


def test_a_manual_clock_moves_by_hand() -> None:
    """``advance`` moves both scales; ``step_wall`` only the one that people set."""
    clock = ManualClock(now=5.0, wall=100.0)

    clock.advance(2.5)
    clock.step_wall(-3600)

    assert clock.now() == 7.5
    assert clock.wall() == 102.5 - 3600


def test_the_network_is_closed() -> None:
    """Only loopback connects while tests run."""
    with socket.socket() as sock, pytest.raises(PermissionError, match="loopback only"):
        sock.connect(("192.0.2.1", 80))

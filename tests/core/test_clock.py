"""The system's clock goes by the loop that runs."""

from __future__ import annotations

import asyncio
import time

import pytest

from llm_pool.core.clock import SystemClock, loop_time

pytestmark = pytest.mark.anyio


async def test_on_virtual_time_the_loop_is_asked() -> None:
    """Five minutes pass at once, for the clock too."""
    clock, loop = SystemClock(), asyncio.get_running_loop()
    began = clock.now()

    await asyncio.sleep(300)

    assert clock.now() == loop.time() == pytest.approx(began + 300)


@pytest.mark.real_loop
async def test_on_real_time_it_is_the_systems() -> None:
    """And the loop's own time is on the same scale."""
    assert loop_time() is time.monotonic
    assert asyncio.get_running_loop().time() == pytest.approx(SystemClock().now(), abs=1.0)


def test_outside_a_loop_it_is_the_systems() -> None:
    """As in a thread."""
    assert loop_time() is time.monotonic

"""R6: when every backend is down, load upstream grows by the budget and no more, and goodput is back at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from llm_pool.core.errors import Busy, Failed, LlmPoolError, ProviderError, Unreachable
from llm_pool.testing import Reply, a_call

if TYPE_CHECKING:
    from tests.promises.conftest import Pool

RATE = 50  # requests a second
OUTAGE = 30.0

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "error", [Busy("x", "503"), Failed("x", "500"), Unreachable("x", "refused")], ids=lambda error: error.kind
)
async def test_no_retry_storm(pool: type[Pool], error: ProviderError) -> None:
    """Half a minute of failures, then health: attempts within the budget, 95 of 100 answered within five seconds."""
    down = True
    three = pool(lambda _: Reply.failing(error) if down else Reply("blue", ttft=0.02, duration=0.05), slots=8)

    await drive(three, seconds=OUTAGE)
    attempts = three.attempts
    down = False
    await drive(three, seconds=5.0)
    good = await drive(three, seconds=2.0)

    assert attempts <= 1.1 * RATE * OUTAGE + 15
    assert good >= 0.95 * RATE * 2


async def drive(three: Pool, *, seconds: float) -> int:
    """Open loop at RATE; gives how many were answered."""
    answered = 0

    async def one() -> None:
        nonlocal answered
        try:
            await three.ask(a_call(deadline=asyncio.get_running_loop().time() + 2.0))
        except LlmPoolError:
            return
        answered += 1

    async with asyncio.TaskGroup() as asking:
        for _ in range(int(seconds * RATE)):
            asking.create_task(one())
            await asyncio.sleep(1 / RATE)
    return answered

"""R8: one of three backends is a black hole or gone, and the askers hardly notice."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

import pytest

from llm_pool.core.errors import Unreachable
from llm_pool.qos.breaker import State
from llm_pool.testing import Reply, a_call

if TYPE_CHECKING:
    from tests.promises.conftest import Pool

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("hole", "hedge_after"),
    [(Reply.hanging(), 0.3), (Reply.failing(Unreachable("phi3", "refused")), None)],
    ids=["hangs", "refuses"],
)
async def test_isolation(pool: type[Pool], hole: Reply, hedge_after: float | None) -> None:
    """Every request is answered; after five failures as fast as ever, and the hole is left alone."""
    healthy, three = await warmed(pool, hedge_after), await warmed(pool, hedge_after)
    three.backends[0]._script = hole
    for backend in three.backends:
        backend.calls.clear()

    usual = await drive(healthy)
    times = await drive(three)

    assert len(times) == len(usual) == 200
    assert len(three.backends[0].calls) <= 5 + 1
    assert three.breakers.states()["phi3", "ask"] is State.OPEN
    assert p99(times[6:]) <= 1.15 * p99(usual)


async def warmed(pool: type[Pool], hedge_after: float | None) -> Pool:
    """A pool that has answered a while, so that what is usual is known."""
    rng = Random(8)

    def reply(_: object) -> Reply:
        ttft = rng.uniform(0.05, 0.1)
        return Reply("blue", ttft=ttft, duration=ttft + rng.uniform(0.1, 0.2))

    three = pool(reply, slots=8, hedge_after=hedge_after)
    for member in three.panel:
        for _ in range(40):
            async for _delta in member.provider.stream(a_call()):
                pass
    await asyncio.sleep(5)
    return three


async def drive(three: Pool) -> list[float]:
    """Two hundred requests, two a second; gives the seconds each took."""
    loop = asyncio.get_running_loop()

    async def one() -> float:
        began = loop.time()
        await three.ask(a_call(deadline=began + 20.0))
        return loop.time() - began

    asking = []
    for _ in range(200):
        asking.append(asyncio.create_task(one()))
        await asyncio.sleep(0.5)
    return list(await asyncio.gather(*asking))


def p99(times: list[float]) -> float:
    return sorted(times)[int(0.99 * (len(times) - 1))]

"""R22: a machine that sleeps, and wakes an hour later, neither stampedes nor waits a negative time."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.core.errors import Failed, LlmPoolError, ProviderError
from llm_pool.core.messages import Query
from llm_pool.qos.breaker import State
from llm_pool.testing import Reply, VirtualLoop, a_call

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from llm_pool.core.messages import Call, Delta
    from tests.promises.conftest import Pool

pytestmark = pytest.mark.anyio

HOUR = 3600.0


def sleep_through(seconds: float) -> None:
    """The monotonic clock jumps, as it does on systems where it counts a suspend."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop._now += seconds


async def test_no_stampede_on_waking(pool: type[Pool]) -> None:
    """Three open breakers whose cooldown has passed in their sleep: one probe each, not everybody at once."""
    down = True
    ill = Reply.failing(Failed("x", "500"))
    three = pool(lambda _: ill if down else Reply("blue", ttft=1.0, duration=2.0), slots=8, hedge_after=None)
    for _ in range(40):
        await settled(three, a_call())
    assert set(three.breakers.states().values()) == {State.OPEN}
    for backend in three.backends:
        backend.calls.clear()
    down = False

    sleep_through(HOUR)
    await asyncio.gather(*(drained(three.panel[0].provider.stream(a_call())) for _ in range(20)))

    assert len(three.backends[0].calls) == 1
    assert three.breakers.states()["phi3", "ask"] is State.CLOSED


async def test_calls_in_the_air_end_and_the_pool_goes_on(pool: type[Pool]) -> None:
    """Requests that run and queue while the machine sleeps are told so at once; the next ones are answered."""
    three = pool(Reply("blue", ttft=1.0, duration=4.0), hedge_after=None)
    began = asyncio.get_running_loop().time()
    asking = [asyncio.create_task(settled(three, a_call(deadline=began + 30.0))) for _ in range(6)]
    await asyncio.sleep(2.0)

    sleep_through(HOUR)
    await asyncio.gather(*asking)
    woke = asyncio.get_running_loop().time()
    answered = await settled(three, a_call(deadline=woke + 30.0))

    assert woke - began - HOUR < 5.0
    assert answered
    assert three.seen.events == []


async def drained(stream: AsyncGenerator[Delta]) -> None:
    """Read to the end, whatever it is."""
    with suppress(ProviderError):
        async for _ in stream:
            pass


async def settled(three: Pool, call: Call) -> bool:
    """Whether the call was answered."""
    try:
        await three.ask(call)
    except LlmPoolError:
        return False
    return True


async def test_a_cache_that_slept_fills_up_in_one_call(on_virtual_time: Any) -> None:
    """Every answer expired in its sleep: those who ask at once share one run."""
    async with on_virtual_time(Reply("blue"), text="[cache]\nenabled = true") as (app, [model]):
        await app.orchestrator.infer(Query(prompt="q"))

        sleep_through(HOUR)
        answers = await asyncio.gather(*(app.orchestrator.infer(Query(prompt="q")) for _ in range(50)))

        assert {answer.from_cache for answer in answers} == {False}
        assert len(model.calls) == 2


@pytest.mark.parametrize("step", [-HOUR, HOUR])
async def test_the_wall_clock_decides_nothing(
    on_virtual_time: Any, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    """Set forward or back by an hour in the middle of it: deadlines, cache and cooldowns go on as they were."""
    async with on_virtual_time(Reply("blue"), text="[cache]\nenabled = true") as (app, [model]):
        running = asyncio.create_task(app.orchestrator.infer(Query(prompt="running", deadline=1.4)))
        kept = await app.orchestrator.infer(Query(prompt="kept"))

        stepped = time.time() + step
        monkeypatch.setattr(time, "time", lambda: stepped)
        again = await app.orchestrator.infer(Query(prompt="kept"))

        assert (await running).duration == pytest.approx(0.5, abs=0.01)
        assert (kept.from_cache, again.from_cache) == (False, True)
        assert again.age == pytest.approx(0.0, abs=0.01)
        assert len(model.calls) == 2

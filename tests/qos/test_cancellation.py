"""Cancelled at every await, in every policy: no permit, slot, lease or task is left behind."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from random import Random
from typing import TYPE_CHECKING

import pytest

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import Failed, ProviderError
from llm_pool.qos.breaker import Permit, Rules, State
from llm_pool.qos.breaking import Breakers, Breaking
from llm_pool.qos.budget import Budget
from llm_pool.qos.concurrency_limit import ConcurrencyLimited
from llm_pool.qos.gate import Gate
from llm_pool.qos.latency import Latencies
from llm_pool.qos.loaded_models import LoadedModels
from llm_pool.qos.queueing import Limits
from llm_pool.qos.retrying import Retrying
from llm_pool.qos.timed import Timed
from llm_pool.testing import Reply, ScriptedProvider, a_call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llm_pool.core.messages import Call

    Ask = Callable[..., Awaitable[str]]

pytestmark = pytest.mark.anyio


class Stack:
    """The whole formula around one backend that fails, answers or hangs by chance."""

    def __init__(self, script: Reply | Callable[[Call], Reply]) -> None:
        clock, rng = SystemClock(), Random(1)
        self._tasks = asyncio.all_tasks()
        self.backend = ScriptedProvider("phi3", script)
        self.breakers = Breakers(Rules(cooldown=1.0, max_cooldown=2.0), clock, rng, lambda _: None)
        self.gate = Gate("box", Limits(slots=2, queue=64), clock, LoadedModels(clock, self._look))
        timed = Timed(self.backend, Latencies(), clock, timeout=5.0)
        breaking = Breaking(timed, self.breakers, lambda _: True)
        limited = ConcurrencyLimited(breaking, self.gate, "phi3", lambda _: None)
        self.provider = Retrying(limited, Budget(1.0, 100.0), clock, rng, retries=2)

    async def _look(self) -> tuple[str, ...]:
        await asyncio.sleep(0.01)
        return ("phi3",)

    def assert_nothing_is_left(self) -> None:
        assert self.backend.in_flight == 0
        assert self.gate.has_room
        assert not self.gate._leases
        assert asyncio.all_tasks() == self._tasks


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("step", range(40))
async def test_cancelled_at_every_step(ask: Ask, step: int) -> None:
    """A call that fails once and then answers, cancelled after *step* turns of the event loop or waits."""
    replies = iter([Reply.failing(Failed("phi3", "500"), after=0.1)])
    stack = Stack(lambda _: next(replies, Reply("a b c d e", ttft=0.1, duration=0.5)))
    busy = [asyncio.create_task(ask(stack.provider)) for _ in range(2)]
    asking = asyncio.create_task(ask(stack.provider))

    for turn in range(step):
        await asyncio.sleep(0 if turn % 2 else 0.03)
    asking.cancel()
    await asyncio.gather(asking, *busy, return_exceptions=True)

    await settle()
    stack.assert_nothing_is_left()


async def test_a_storm_of_cancels_leaves_a_clean_machine(ask: Ask) -> None:
    """R4's core: 500 calls that hang, fail and answer, each cancelled at random; then all 20 clean calls answer."""
    rng, storming = Random(4), True

    def moody(_: Call) -> Reply:
        choices = [Reply.hanging(), Reply.failing(Failed("phi3", "500"), after=0.05), Reply("a b c", duration=0.3)]
        return rng.choice(choices) if storming else Reply("blue", ttft=0.01, duration=0.02)

    stack = Stack(moody)

    async def fickle() -> None:
        await asyncio.sleep(rng.uniform(0, 30))
        asking = asyncio.create_task(ask(stack.provider))
        await asyncio.sleep(rng.choice([0, 0.001, 0.01, 0.05, 0.3, 2]))
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    await asyncio.gather(*(fickle() for _ in range(500)))
    stack.assert_nothing_is_left()
    storming = False
    await asyncio.sleep(2.5)

    assert await ask(stack.provider) == "blue"
    assert await asyncio.gather(*(ask(stack.provider) for _ in range(20))) == ["blue"] * 20
    stack.assert_nothing_is_left()


async def test_a_slot_granted_to_someone_just_cancelled_goes_to_the_next(ask: Ask) -> None:
    """Grant and cancel in the same turn of the loop: the slot is not lost."""
    gate = Gate("box", Limits(slots=1), SystemClock(), LoadedModels(SystemClock()))
    held = await gate.acquire("p", "m", asyncio.get_running_loop().time() + 60, lambda _: None)
    deadline = asyncio.get_running_loop().time() + 60
    unlucky = asyncio.create_task(gate.acquire("p", "m", deadline, lambda _: None))
    lucky = asyncio.create_task(gate.acquire("p", "m", deadline + 1, lambda _: None))
    await settle()

    gate.release(held, served=True)
    unlucky.cancel()
    lease = await lucky

    assert unlucky.cancelled()
    gate.release(lease, served=True)
    assert gate.has_room


async def test_a_stream_closed_half_read_gives_everything_back() -> None:
    """A reader that breaks off after the first word."""
    stack = Stack(Reply("a b c d", duration=2.0))

    async with aclosing(stack.provider.stream(a_call())) as deltas:
        await anext(deltas)

    stack.assert_nothing_is_left()
    assert stack.backend.cancelled == 1


async def test_a_stream_never_begun_takes_nothing() -> None:
    """Making the generator asks nobody."""
    stack = Stack(Reply("blue"))

    await stack.provider.stream(a_call()).aclose()

    stack.assert_nothing_is_left()
    assert stack.backend.calls == []


async def test_a_probe_cancelled_in_any_phase_leaves_no_lease(ask: Ask) -> None:
    """After every one of them the next caller gets the probe."""
    stack = Stack(Reply.failing(Failed("phi3", "500")))
    while stack.breakers.refusal("phi3", "ask") is None:
        with pytest.raises(ProviderError):
            await ask(stack.provider)
    stack.backend._script = Reply.hanging()

    for phase in (0.0, 0.001, 0.02, 0.5):
        await asyncio.sleep(3.0)
        probing = asyncio.create_task(ask(stack.provider))
        await asyncio.sleep(phase)
        probing.cancel()
        await asyncio.gather(probing, return_exceptions=True)

        assert stack.breakers.states()["phi3", "ask"] is State.HALF_OPEN
        permit = stack.breakers.admit("phi3", a_call(), force=False)
        assert isinstance(permit, Permit)
        assert permit.probe
        stack.breakers.record("phi3", "ask", permit, "neutral")

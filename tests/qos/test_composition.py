"""Pairs of policies: what one does must not be counted by the other."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

import pytest

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import BreakerOpen, Busy, Failed, ProviderError, QueueFull, Unreachable
from llm_pool.qos.breaker import Rules, State
from llm_pool.qos.breaking import Breakers, Breaking
from llm_pool.qos.budget import Budget
from llm_pool.qos.concurrency_limit import ConcurrencyLimited
from llm_pool.qos.gate import Gate
from llm_pool.qos.latency import Latencies, LatencyKey
from llm_pool.qos.loaded_models import LoadedModels
from llm_pool.qos.queueing import Limits
from llm_pool.qos.retrying import Retrying
from llm_pool.qos.timed import Timed
from llm_pool.testing import Reply, ScriptedProvider, a_call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from llm_pool.qos.policy import Policy

    Ask = Callable[..., Awaitable[str]]

pytestmark = pytest.mark.anyio


class Parts:
    """What the policies of a pool share."""

    def __init__(self, *, slots: int = 1) -> None:
        self.clock, self.rng = SystemClock(), Random(2)
        self.latencies, self.budget = Latencies(), Budget()
        self.breakers = Breakers(Rules(cooldown=60.0, jitter=0.0), self.clock, self.rng, lambda _: None)
        self.gate = Gate("box", Limits(slots=slots), self.clock, LoadedModels(self.clock))

    def limited_timed(self, backend: ScriptedProvider, *, timeout: float | None = None) -> ConcurrencyLimited:
        timed = Timed(backend, self.latencies, self.clock, timeout=timeout)
        return ConcurrencyLimited(Breaking(timed, self.breakers, lambda _: True), self.gate, "phi3", lambda _: None)


def backend(replies: Reply | Sequence[Reply]) -> ScriptedProvider:
    return ScriptedProvider("phi3", replies)


async def outcomes(ask: Ask, provider: Policy, times: int) -> list[type]:
    results = await asyncio.gather(*(ask(provider) for _ in range(times)), return_exceptions=True)
    return [type(each) for each in results]


async def test_limited_timed_waiting_for_a_slot_is_no_latency(ask: Ask) -> None:
    """Ten calls of a second each, one at a time: the record says a second, the last asker waited ten."""
    parts = Parts()
    provider = parts.limited_timed(backend(Reply("blue", ttft=0.5, duration=1.0)))

    await outcomes(ask, provider, 10)

    now = asyncio.get_running_loop().time()
    slowest = parts.latencies.quantile(LatencyKey("phi3", "ask", "total"), 0.99, now, min_samples=1)
    assert slowest == pytest.approx(1.0, rel=0.06)


async def test_limited_timed_waiting_for_a_slot_does_not_time_out(ask: Ask) -> None:
    """A provider's timeout of two seconds is for the provider: the tenth in the queue is answered all the same."""
    provider = Parts().limited_timed(backend(Reply("blue", ttft=0.5, duration=1.0)), timeout=2.0)

    assert await outcomes(ask, provider, 10) == [str] * 10


async def test_limited_breaking_a_full_queue_is_not_ill(ask: Ask) -> None:
    """A hundred deadlines that pass in the queue leave the breaker closed."""
    parts = Parts()
    provider = parts.limited_timed(backend(Reply("blue", ttft=1.0, duration=30.0)))
    soon = asyncio.get_running_loop().time() + 2.0
    running = asyncio.create_task(ask(provider))
    await asyncio.sleep(0.1)

    asking = [ask(provider, a_call(deadline=soon)) for _ in range(100)]
    results = await asyncio.gather(*asking, return_exceptions=True)

    assert {type(each) for each in results} == {QueueFull}
    assert parts.breakers.states()["phi3", "ask"] is State.CLOSED
    assert await running


async def test_limited_breaking_who_queues_for_a_breaker_that_opens_leaves_at_once(ask: Ask) -> None:
    """Twenty queue for a black hole: five find out, fifteen do not have to."""
    parts = Parts()
    hole = backend(Reply.hanging())
    provider = parts.limited_timed(hole, timeout=2.0)
    began = asyncio.get_running_loop().time()

    results = await outcomes(ask, provider, 20)

    assert len(hole.calls) == 5
    assert results.count(BreakerOpen) == 15
    assert asyncio.get_running_loop().time() - began == pytest.approx(10.0)


async def test_limited_breaking_a_probes_lease_does_not_run_in_the_queue(ask: Ask) -> None:
    """A probe that waits for a slot for longer than a lease is not a hung one."""
    parts = Parts()
    healthy = ConcurrencyLimited(backend(Reply("x", ttft=1.0, duration=50.0)), parts.gate, "gemma2", lambda _: None)
    sick = backend([Reply.failing(Failed("phi3", "500"))] * 5 + [Reply("blue")])
    provider = parts.limited_timed(sick)
    for _ in range(5):
        await outcomes(ask, provider, 1)
    await asyncio.sleep(60)
    long_call = asyncio.create_task(ask(healthy))
    await asyncio.sleep(0.1)

    assert await ask(provider) == "blue"
    assert parts.breakers.states()["phi3", "ask"] is State.CLOSED
    await long_call


async def test_retrying_limited_a_slot_is_free_while_its_holder_backs_off(ask: Ask) -> None:
    """Told to come back in ten seconds, a request lets another one through meanwhile."""
    parts = Parts()
    busy = backend([Reply.failing(Busy("phi3", "503", retry_after=10.0)), Reply("blue")])
    waiting = Retrying(
        ConcurrencyLimited(busy, parts.gate, "phi3", lambda _: None), parts.budget, parts.clock, parts.rng
    )
    other = ConcurrencyLimited(backend(Reply("red")), parts.gate, "phi3", lambda _: None)
    patient = asyncio.create_task(ask(waiting))
    await asyncio.sleep(1)
    began = asyncio.get_running_loop().time()

    assert await ask(other) == "red"
    assert asyncio.get_running_loop().time() - began == pytest.approx(0.5)
    assert await patient == "blue"


async def test_retrying_breaking_every_attempt_counts_and_an_open_breaker_ends_it(ask: Ask) -> None:
    """Two attempts a call: the breaker opens in the third call, whose retry it refuses without a fourth wait."""
    parts = Parts()
    dead = backend(Reply.failing(Unreachable("phi3", "refused")))
    breaking = Breaking(dead, parts.breakers, lambda _: True)
    provider = Retrying(breaking, parts.budget, parts.clock, parts.rng)

    kinds = [(await outcomes(ask, provider, 1))[0] for _ in range(4)]

    assert kinds == [Unreachable, Unreachable, BreakerOpen, BreakerOpen]
    assert len(dead.calls) == 5


async def test_retrying_breaking_a_rest_is_waited_out(ask: Ask) -> None:
    """Retry-After makes the breaker rest and the retry wait: both for the same time, so the retry gets through."""
    parts = Parts()
    busy = backend([Reply.failing(Busy("phi3", "429", retry_after=3.0)), Reply("blue")])
    provider = Retrying(Breaking(busy, parts.breakers, lambda _: True), parts.budget, parts.clock, parts.rng)

    assert await ask(provider) == "blue"


async def test_a_policy_passes_on_what_it_does_not_change() -> None:
    """Name, state, load and close reach the backend through the whole formula."""
    parts = Parts()
    bare = backend(Reply("blue"))
    provider = Retrying(parts.limited_timed(bare), parts.budget, parts.clock, parts.rng)

    await provider.load()
    state = await provider.state()
    await provider.aclose()

    assert (provider.name, state.name, bare.loads, bare.closed) == ("phi3", "phi3", 1, True)
    assert repr(provider).startswith("Retrying(ConcurrencyLimited(Breaking(Timed(")


async def test_nothing_but_provider_errors_comes_out(ask: Ask) -> None:
    """Whatever goes wrong in whichever policy, the seam's promise holds."""
    parts = Parts(slots=1)
    rng = Random(3)

    def moody(_: object) -> Reply:
        return rng.choice([Reply.hanging(), Reply.failing(Failed("phi3", "500")), Reply("blue")])

    inner = parts.limited_timed(ScriptedProvider("phi3", moody), timeout=3.0)
    provider = Retrying(inner, parts.budget, parts.clock, parts.rng, retries=3)

    deadlines = [asyncio.get_running_loop().time() + rng.uniform(-1, 20) for _ in range(80)]
    asking = [ask(provider, a_call(deadline=deadline)) for deadline in deadlines]
    results = await asyncio.gather(*asking, return_exceptions=True)

    assert all(isinstance(each, str | ProviderError) for each in results)
    assert parts.gate.has_room

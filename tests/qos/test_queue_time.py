"""An attempt's time in our own queue is told apart from what its backend took."""

from __future__ import annotations

import asyncio

import pytest

from llm_pool.core.clock import SystemClock
from llm_pool.core.events import AttemptEnded
from llm_pool.core.interfaces import Member
from llm_pool.core.messages import Attempt
from llm_pool.ensemble.attempts import AttemptGroup
from llm_pool.qos import queue_time
from llm_pool.qos.concurrency_limit import ConcurrencyLimited
from llm_pool.qos.gate import Gate
from llm_pool.qos.loaded_models import LoadedModels
from llm_pool.qos.queueing import Limits
from llm_pool.testing import Reply, ScriptedProvider, a_call

pytestmark = pytest.mark.anyio


def limited(gate: Gate) -> Member:
    backend = ScriptedProvider("phi3", Reply("yes", ttft=0.25, duration=1.0))
    provider = ConcurrencyLimited(backend, gate, "phi3", lambda _: None)
    return Member(provider=provider, model="phi3", weight=1.0, group="box", rank=0)


def box() -> Gate:
    clock = SystemClock()
    return Gate("box", Limits(slots=1), clock, LoadedModels(clock))


async def test_queue_first_token_and_writing_add_up() -> None:
    """The third of three waits for two; its backend is as quick as for the first."""
    gate = box()

    async with AttemptGroup(lambda _: None) as group:
        for _ in range(3):
            group.start(limited(gate), a_call(), why="vote")
        attempts = [attempt async for attempt in group.as_completed()]

    assert [attempt.queued for attempt in attempts] == pytest.approx([0.0, 1.0, 2.0])
    assert [attempt.first_token for attempt in attempts] == pytest.approx([0.25] * 3)
    assert [attempt.writing for attempt in attempts] == pytest.approx([0.75] * 3)
    assert [attempt.duration for attempt in attempts] == pytest.approx([1.0, 2.0, 3.0])


async def test_one_that_leaves_the_queue_was_in_it() -> None:
    """However it left."""
    gate, ended = box(), list[Attempt]()

    def note(event: object) -> None:
        if isinstance(event, AttemptEnded):
            ended.append(event.attempt)

    async with AttemptGroup(note) as group:
        group.start(limited(gate), a_call(), why="vote")
        group.start(limited(gate), a_call(), why="vote")
        await asyncio.sleep(0.5)

    assert sorted((attempt.outcome, attempt.queued) for attempt in ended) == [
        ("cancelled", pytest.approx(0.0)),
        ("cancelled", pytest.approx(0.5)),
    ]


async def test_several_waits_add_up_and_one_that_goes_on_counts() -> None:
    """As for a call that is tried again."""
    now = asyncio.get_running_loop().time
    queued = queue_time.QueueTime(now)

    with queued:
        for _ in range(2):
            with queue_time.waiting():
                await asyncio.sleep(1.0)
            await asyncio.sleep(5.0)
        with queue_time.waiting():
            await asyncio.sleep(0.5)
            assert queued.total == pytest.approx(2.5)

    assert queued.total == pytest.approx(2.5)


async def test_a_wait_outside_of_an_attempt_is_nobodys() -> None:
    async def wait() -> float:
        with queue_time.waiting():
            await asyncio.sleep(1.0)
        return 1.0

    assert await asyncio.create_task(wait()) == 1.0

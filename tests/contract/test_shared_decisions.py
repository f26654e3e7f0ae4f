"""Feedback on an answer is taken by each process on one Redis, and counts once."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import InvalidRequest
from llm_pool.core.events import RequestAnswered
from llm_pool.core.messages import Attempt, Cluster, Query, Reading
from llm_pool.engine.shared_decisions import PREFIX, SharedDecisions
from llm_pool.qos.redis import BudgetedRedis
from llm_pool.tasks import ASK
from llm_pool.testing import an_answer
from llm_pool.trust.learning import TrustLearner
from llm_pool.trust.model import STRENGTH, Trust
from llm_pool.trust.store import TrustStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.contract.conftest import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]


class Process:
    """A learner with a memory, files and a connection of its own."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self.redis = BudgetedRedis(server.url, SystemClock(), key="cache.url")
        self.decisions, self.trust, self.folder = SharedDecisions(self.redis), Trust(), folder
        store = TrustStore(folder / "trust.json")
        self.learner = TrustLearner(
            self.trust, store, folder / "decisions.jsonl", lambda _: ASK, exchange=self.decisions
        )

    async def answer(self, request_id: str, tenant: str = "") -> None:
        """Answer a question that divides the panel."""
        readings = {"a": Reading("blue", None), "b": Reading("red", None), "c": Reading("blue", None)}
        attempts = tuple(
            Attempt(provider=name, model=name, outcome="ok", started=0, duration=1, why="vote", reading=reading)
            for name, reading in readings.items()
        )
        answer = an_answer("blue")
        clusters = Cluster(("a", "c"), 2.0), Cluster(("b",), 1.0)
        decision = msgspec.structs.replace(answer.decision, winner="a", attempts=attempts, clusters=clusters)
        answer = msgspec.structs.replace(answer, decision=decision, request_id=request_id)
        self.learner.on(RequestAnswered(Query(prompt="which colour?", tenant_id=tenant), answer))
        await self.decisions.aclose()  # kept by now

    def losses(self) -> float:
        """What feedback took from the winner."""
        return sum(one.losses for one in self.trust.trust_records() if one.expert == "provider:a")


@asynccontextmanager
async def processes(server: RedisServer, folder: Path, count: int = 2) -> AsyncIterator[list[Process]]:
    made = [Process(server, folder / str(number)) for number in range(count)]
    for process in made:
        process.folder.mkdir()
        await process.redis.client.ping()
    yield made
    for process in made:
        await process.redis.aclose()


async def test_another_process_takes_feedback(redis_server: RedisServer, tmp_path: Path) -> None:
    async with processes(redis_server, tmp_path) as (one, other):
        await one.answer("r1", "acme")

        assert await other.learner.feedback("r1", "acme", good=False) is True
        assert other.losses() == pytest.approx(STRENGTH["feedback"])
        assert (await asyncio.to_thread(other.learner._store.load)).trust_records()


async def test_the_first_word_counts_wherever_it_comes(redis_server: RedisServer, tmp_path: Path) -> None:
    """Ten at once at each of three processes: one is heard."""
    async with processes(redis_server, tmp_path, 3) as made:
        await made[0].answer("r2")

        said = await asyncio.gather(*(one.learner.feedback("r2", "", good=False) for one in made * 10))

        assert sum(said) == 1


async def test_a_request_of_another_tenant_is_not_known(redis_server: RedisServer, tmp_path: Path) -> None:
    async with processes(redis_server, tmp_path) as (one, other):
        await one.answer("r3", "acme")

        with pytest.raises(InvalidRequest, match="r3"):
            await other.learner.feedback("r3", "beta", good=True)

        assert await other.learner.feedback("r3", "acme", good=True) is True


async def test_it_ends_by_itself(redis_server: RedisServer, tmp_path: Path) -> None:
    async with processes(redis_server, tmp_path) as (one, other):
        await one.answer("r4")
        assert await one.redis.client.ttl(f"{PREFIX}\x1fr4") > 0

        await other.learner.feedback("r4", "", good=True)

        assert await one.redis.client.ttl(f"{PREFIX}\x1fr4") > 0


async def test_while_redis_is_frozen_each_takes_feedback_on_its_own(redis_server: RedisServer, tmp_path: Path) -> None:
    async with processes(redis_server, tmp_path) as (one, other):
        with redis_server.frozen():
            await one.answer("r5")

            with pytest.raises(InvalidRequest, match="r5"):
                await other.learner.feedback("r5", "", good=False)
            assert await one.learner.feedback("r5", "", good=False) is True
            assert await one.learner.feedback("r5", "", good=False) is False


async def test_a_word_that_could_not_be_learned_may_be_said_again(redis_server: RedisServer, tmp_path: Path) -> None:
    """The disk took nothing: another process learns it."""
    async with processes(redis_server, tmp_path, 3) as (one, broken, other):
        await one.answer("r6")
        (broken.folder / "trust.lock").mkdir()

        with pytest.raises(InvalidRequest, match="cannot be kept"):
            await broken.learner.feedback("r6", "", good=False)

        assert await other.learner.feedback("r6", "", good=False) is True


async def test_rubbish_in_redis_is_not_known(redis_server: RedisServer, tmp_path: Path) -> None:
    async with processes(redis_server, tmp_path) as (one, _):
        await one.redis.client.set(f"{PREFIX}\x1fr7", b"\xc1")
        await one.redis.client.lpush(f"{PREFIX}\x1fr8", b"x")

        for request_id in ("r7", "r8"):
            with pytest.raises(InvalidRequest, match=request_id):
                await one.learner.feedback(request_id, "", good=True)

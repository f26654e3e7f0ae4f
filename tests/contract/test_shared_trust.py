"""Trust that processes learn together through Redis."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from llm_pool.core.clock import SystemClock
from llm_pool.engine import shared_trust
from llm_pool.engine.shared_trust import SharedTrust
from llm_pool.qos.redis import BudgetedRedis, RedisUnavailable
from llm_pool.trust.model import PanelAnswer, PanelOutcome, Trust

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.contract.conftest import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]


def outcome(*clusters: tuple[str, int], task: str = "judge") -> PanelOutcome:
    return PanelOutcome(task, tuple(PanelAnswer(name, place) for name, place in clusters))


DIVIDED = outcome(("a", 0), ("b", 0), ("c", 1))


@asynccontextmanager
async def process(server: RedisServer, trust: Trust) -> AsyncIterator[SharedTrust]:
    redis = BudgetedRedis(server.url, SystemClock(), key="cache.url")
    await redis.client.ping()
    shared = SharedTrust(redis, trust)
    shared.start()
    yield shared
    await shared.aclose()
    await redis.aclose()


@pytest.fixture(autouse=True)
def _by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """They exchange when the test says so."""
    monkeypatch.setattr(shared_trust, "INTERVAL", 3600.0)


def records(trust: Trust) -> dict[tuple[str, str], tuple[float, float]]:
    return {(one.task, one.expert): (round(one.wins, 4), round(one.losses, 4)) for one in trust.trust_records()}


async def test_two_that_learn_come_to_the_records_of_one_that_learned_it_all(redis_server: RedisServer) -> None:
    one, other, alone = Trust(), Trust(), Trust()
    async with process(redis_server, one) as first, process(redis_server, other) as second:
        for n in range(300):
            for trust in (one if n % 2 else other, alone):
                trust.of("t" if n % 3 else "").learn(DIVIDED, "feedback", good=n % 5 != 0)
            await (first if n % 2 else second).exchange()
        await first.exchange()
        await second.exchange()

    assert records(one) == records(other) == records(alone)


async def test_the_first_brings_what_it_knows_and_the_next_one_takes_it(redis_server: RedisServer) -> None:
    known, new = Trust(), Trust()
    known.learn(DIVIDED, "feedback")
    new.learn(outcome(("z", 0), ("y", 1)), "feedback")
    before = records(known)
    async with process(redis_server, known) as first, process(redis_server, new) as second:
        await first.exchange()
        await second.exchange()

        assert records(new) == records(known) == before


async def test_what_was_learned_while_redis_was_away_is_told_once(redis_server: RedisServer) -> None:
    one, other, alone = Trust(), Trust(), Trust()
    async with process(redis_server, one) as first, process(redis_server, other) as second:
        await first.exchange()
        with redis_server.frozen():
            for trust in (one, alone):
                trust.learn(DIVIDED, "feedback")
            with pytest.raises(RedisUnavailable):
                await first.exchange()  # it goes on behind, and is done when the server thaws
        await asyncio.sleep(1.2)
        await first.exchange()
        await first.exchange()
        await second.exchange()

    assert records(one) == records(other) == records(alone)


async def test_a_redis_that_comes_back_empty_gets_the_records_again(redis_server: RedisServer) -> None:
    one, other, alone = Trust(), Trust(), Trust()
    async with process(redis_server, one) as first, process(redis_server, other) as second:
        for trust in (one, alone):
            trust.learn(DIVIDED, "feedback")
        await first.exchange()
        await second.exchange()
        redis_server.ask("FLUSHALL")
        for trust in (other, alone):
            trust.learn(DIVIDED, "feedback", good=False)

        await second.exchange()
        await first.exchange()

    assert records(one) == records(other) == records(alone)


async def test_a_change_of_redis_that_succeeds_goes_on_and_one_that_fails_changes_nothing(
    redis_server: RedisServer,
) -> None:
    """As in a reload: the new one is made before the old one ends, and either may be the one that stays."""
    trust = Trust()
    async with process(redis_server, trust) as old:
        refused = SharedTrust(old._redis, trust)
        await refused.aclose()
        trust.learn(DIVIDED, "feedback")
        assert len(old._pending) > 0

        async with process(redis_server, trust) as new:
            await old.aclose()
            trust.learn(DIVIDED, "feedback")

            assert len(new._pending) > 0


async def test_rubbish_in_redis_is_passed_over(redis_server: RedisServer) -> None:
    trust = Trust()
    async with process(redis_server, trust) as shared:
        trust.learn(DIVIDED, "feedback")
        await shared.exchange()
        for value in ("x", "nan_1", "-1_2", "1e999_1"):
            redis_server.ask("HSET", f"{shared_trust.PREFIX}records", f"t{value}", value)
        redis_server.ask("INCR", f"{shared_trust.PREFIX}version")

        await shared.exchange()

    assert {task for task, _ in records(trust)} == {"judge"}

"""R13 among processes: one run for one id, whichever of them is asked, and what happens while Redis is away."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from llm_pool.cache import redis_idempotency
from llm_pool.cache.idempotency import IdempotencyStore
from llm_pool.cache.redis_idempotency import PREFIX, RedisIdempotency
from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import AllProvidersFailed, DeadlineExceeded, InvalidRequest
from llm_pool.qos.redis import BudgetedRedis
from llm_pool.testing import an_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from llm_pool.core.messages import Answer
    from tests.contract.conftest import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]


class Work:
    """A run that counts, and takes *seconds*."""

    def __init__(self, seconds: float = 0.1, *, failures: int = 0) -> None:
        self.runs, self._seconds, self._failures = 0, seconds, failures

    async def make(self) -> Answer:
        self.runs += 1
        await asyncio.sleep(self._seconds)
        if self.runs <= self._failures:
            raise AllProvidersFailed("ask")
        return an_answer(f"run {self.runs}")


@asynccontextmanager
async def processes(server: RedisServer, count: int) -> AsyncIterator[list[RedisIdempotency]]:
    """As many processes: each with a memory and a connection of its own."""
    clock = SystemClock()
    connections = [BudgetedRedis(server.url, clock, key="cache.url") for _ in range(count)]
    for redis in connections:
        await redis.client.ping()
    yield [RedisIdempotency(IdempotencyStore(clock, ttl=60), redis, clock, ttl=60) for redis in connections]
    for redis in connections:
        await redis.aclose()


async def ask(store: RedisIdempotency, work: Work, name: str, *, body: str = "b", seconds: float = 10) -> Answer:
    deadline = asyncio.get_running_loop().time() + seconds
    return await store.run("t", name, body, work.make, deadline=deadline)


async def test_three_processes_run_once(redis_server: RedisServer) -> None:
    """Fifteen calls of one id at once: one run, one answer, and the late ones get it too."""
    work = Work()
    async with processes(redis_server, 3) as stores:
        answers = await asyncio.gather(*(ask(store, work, "i1") for store in stores * 5))
        late = await ask(stores[2], work, "i1")

    assert work.runs == 1
    assert {answer.content for answer in (*answers, late)} == {"run 1"}


async def test_another_body_is_an_error_anywhere(redis_server: RedisServer) -> None:
    async with processes(redis_server, 2) as (one, other):
        await ask(one, Work(), "i2")

        with pytest.raises(InvalidRequest, match="i2"):
            await ask(other, Work(), "i2", body="another")


async def test_an_owner_who_fails_or_leaves_gives_the_claim_back(redis_server: RedisServer) -> None:
    """The next one runs at once, and does not wait for a lease to end."""
    async with processes(redis_server, 2) as (one, other):
        with pytest.raises(AllProvidersFailed):
            await ask(one, Work(failures=1), "i3")
        assert (await ask(other, Work(), "i3", seconds=1)).content == "run 1"

        leaving = asyncio.create_task(ask(one, Work(60), "i4"))
        await asyncio.sleep(0.1)
        leaving.cancel()
        assert (await ask(other, Work(), "i4", seconds=1)).content == "run 1"


async def test_a_process_that_died_is_followed_when_its_lease_ends(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its claim is there, and nobody renews it."""
    monkeypatch.setattr(redis_idempotency, "LEASE", 0.5)
    redis_server.ask("HSET", f"{PREFIX}t:i5", "fingerprint", "b", "token", "dead")
    redis_server.ask("PEXPIRE", f"{PREFIX}t:i5", "500")
    async with processes(redis_server, 1) as (store,):
        with pytest.raises(DeadlineExceeded):
            await ask(store, Work(), "i5", seconds=0.2)

        assert (await ask(store, Work(), "i5", seconds=3)).content == "run 1"


async def test_a_run_longer_than_its_lease_keeps_it(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_idempotency, "LEASE", 0.3)
    work = Work(1.0)
    async with processes(redis_server, 2) as stores:
        answers = await asyncio.gather(*(ask(store, work, "i6") for store in stores))

    assert work.runs == 1
    assert {answer.content for answer in answers} == {"run 1"}


async def test_a_claim_that_came_slowly_is_still_had(redis_server: RedisServer) -> None:
    """Redis takes it while its process runs already: the others wait for that run."""
    work = Work(1.5)
    async with processes(redis_server, 2) as (one, other):
        with redis_server.frozen():
            running = asyncio.create_task(ask(one, work, "i8"))
            await asyncio.sleep(0.5)
        await asyncio.sleep(0.2)
        answer = await ask(other, work, "i8")

        assert (answer.content, (await running).content, work.runs) == ("run 1", "run 1", 1)


async def test_a_result_that_redis_did_not_take_is_told_later(redis_server: RedisServer) -> None:
    """Who waits for it elsewhere gets it, and does not run again."""
    work = Work(0.3)
    async with processes(redis_server, 2) as (one, other):
        running = asyncio.create_task(ask(one, work, "i9"))
        await asyncio.sleep(0.1)
        with redis_server.frozen():
            await running
            await asyncio.sleep(0.2)
        answer = await ask(other, work, "i9")

        assert (answer.content, work.runs) == ("run 1", 1)


async def test_while_redis_is_frozen_each_process_keeps_its_own(redis_server: RedisServer) -> None:
    """An id runs once in each, and a request waits no longer than the budget."""
    work, loop = Work(0.01), asyncio.get_running_loop()
    async with processes(redis_server, 2) as stores:
        with redis_server.frozen():
            began = loop.time()
            answers = [await ask(store, work, "i7") for store in stores * 2]
            took = loop.time() - began

    assert work.runs == 2
    assert [answer.content for answer in answers] == ["run 1", "run 2", "run 1", "run 2"]
    assert took < 2


@pytest.mark.parametrize(
    "spoiled",
    [
        ("SET", "{key}", "rubbish"),
        ("LPUSH", "{key}", "a"),
        ("HSET", "{key}", "answer", "rubbish"),
        ("HSET", "{key}", "answer", "[" * 5000),
        ("HSET", "{key}", "answer", "[1,5]"),
    ],
    ids=lambda words: f"{words[0]} {words[-1][:8]}",
)
async def test_an_entry_that_nobody_can_read_is_as_none(redis_server: RedisServer, spoiled: tuple[str, ...]) -> None:
    """Two processes run once, and the answer is kept in its place."""
    async with processes(redis_server, 2) as (one, other):
        key, first, second = f"{PREFIX}t:spoiled", Work(), Work()
        redis_server.ask("DEL", key)
        if spoiled[0] == "HSET":
            await ask(one, Work(0.0), "spoiled")
            one = RedisIdempotency(IdempotencyStore(SystemClock(), ttl=60), one._redis, SystemClock(), ttl=60)  # noqa: PLW2901  # another process
        redis_server.ask(*(word.format(key=key) for word in spoiled))

        answers = await asyncio.gather(ask(one, first, "spoiled"), ask(other, second, "spoiled"))

    assert first.runs + second.runs == 1
    assert {answer.content for answer in answers} == {"run 1"}
    assert redis_server.ask("TYPE", key) == b"+hash\r\n"

"""One run for one request id (promise R13)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from llm_pool.cache.encoding import pack
from llm_pool.cache.idempotency import IdempotencyStore
from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import AllProvidersFailed, DeadlineExceeded, InvalidRequest
from llm_pool.testing import an_answer

if TYPE_CHECKING:
    from llm_pool.core.messages import Answer

pytestmark = pytest.mark.anyio


class Work:
    """A run of one second that counts, and fails as often as it is told to."""

    def __init__(self, *, failures: int = 0) -> None:
        self.runs, self._failures = 0, failures

    async def make(self) -> Answer:
        self.runs += 1
        await asyncio.sleep(1)
        if self.runs <= self._failures:
            raise AllProvidersFailed("ask")
        return an_answer(f"run {self.runs}")


async def ask(store: IdempotencyStore, work: Work, *, body: str = "b", owner: str = "t", seconds: float = 60) -> Answer:
    deadline = asyncio.get_running_loop().time() + seconds
    return await store.run(owner, "id-1", body, work.make, deadline=deadline)


async def test_fifty_parallel_calls_run_once_and_get_one_answer() -> None:
    """R13."""
    store, work = IdempotencyStore(SystemClock(), ttl=900), Work()

    answers = await asyncio.gather(*(ask(store, work) for _ in range(50)))

    assert work.runs == 1
    assert {answer.content for answer in answers} == {"run 1"}


async def test_the_answer_is_remembered_for_its_ttl() -> None:
    """The same id gives the same answer for fifteen minutes, and then a new one."""
    store, work = IdempotencyStore(SystemClock(), ttl=900), Work()

    await ask(store, work)
    await asyncio.sleep(899)
    remembered = await ask(store, work)
    await asyncio.sleep(2)
    renewed = await ask(store, work)

    assert (remembered.content, renewed.content) == ("run 1", "run 2")


@pytest.mark.parametrize("wait", [0.5, 5.0], ids=["while it runs", "when it is done"])
async def test_the_same_id_with_another_body_is_an_error(wait: float) -> None:
    """It names the id and the way out."""
    store, work = IdempotencyStore(SystemClock(), ttl=900), Work()
    first = asyncio.create_task(ask(store, work))
    await asyncio.sleep(wait)

    with pytest.raises(InvalidRequest, match="id-1"):
        await ask(store, work, body="another")

    await first


async def test_tenants_never_meet() -> None:
    """The same id of another tenant is another request."""
    store, work = IdempotencyStore(SystemClock(), ttl=900), Work()

    await asyncio.gather(ask(store, work, owner="a"), ask(store, work, owner="b"))

    assert work.runs == 2


async def test_an_error_is_not_remembered() -> None:
    """A request that failed may be tried again under its id."""
    store, work = IdempotencyStore(SystemClock(), ttl=900), Work(failures=1)

    with pytest.raises(AllProvidersFailed):
        await ask(store, work)

    assert (await ask(store, work)).content == "run 2"


async def test_when_the_owner_leaves_the_next_one_runs() -> None:
    """Those who wait do not wait for nobody."""
    store, work = IdempotencyStore(SystemClock(), ttl=900), Work()
    owner = asyncio.create_task(ask(store, work))
    await asyncio.sleep(0.5)
    waiting = asyncio.create_task(ask(store, work))
    await asyncio.sleep(0)

    owner.cancel()

    assert (await waiting).content == "run 2"


async def test_somebody_elses_run_is_waited_for_until_the_own_deadline() -> None:
    """A deadline is hard, whoever does the work."""
    store, work = IdempotencyStore(SystemClock(), ttl=900), Work()
    owner = asyncio.create_task(ask(store, work))
    await asyncio.sleep(0)

    with pytest.raises(DeadlineExceeded):
        await ask(store, work, seconds=0.3)

    await owner


async def test_old_answers_make_room() -> None:
    """Memory is bounded in bytes, ids included: the oldest go first."""
    size = len("t") + len("id-0") + len(pack(an_answer("run 1"), made=0.0)) + 700
    store = IdempotencyStore(SystemClock(), ttl=900, max_bytes=4 * size)
    deadline = asyncio.get_running_loop().time() + 60
    work = Work()

    for number in range(6):
        await store.run("t", f"id-{number}", "b", work.make, deadline=deadline)
    await store.run("t", "id-5", "b", work.make, deadline=deadline)
    await store.run("t", "id-0", "b", work.make, deadline=deadline)

    assert work.runs == 7


async def test_a_repeated_answer_says_that_it_is_one() -> None:
    """So that what is learned and counted of a run is learned once."""
    store, work = IdempotencyStore(SystemClock(), ttl=900), Work()
    first = await ask(store, work)
    await asyncio.sleep(5)
    again = await ask(store, work)

    assert (first.from_cache, again.from_cache, again.content) == (False, True, first.content)
    assert again.age == pytest.approx(5)

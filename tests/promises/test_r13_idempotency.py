"""R13: one request id, one run, one answer; through a whole pool and over sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llm_pool.core.errors import DeadlineExceeded, InvalidRequest
from llm_pool.core.messages import Query
from llm_pool.testing import Reply
from llm_pool.testing.upstream import Upstream

pytestmark = pytest.mark.anyio


@pytest.mark.real_loop
async def test_fifty_parallel_calls_run_once(over_loopback: Any) -> None:
    """And are told the same, word by word; the same id with another body is an error."""
    async with Upstream(ttft="const:0.05") as up, over_loopback(up) as app:
        query = Query(prompt="which colour?", request_id="r1", deadline=1.4, no_cache=True)

        answers = await asyncio.gather(*(app.orchestrator.infer(query) for _ in range(50)))
        late = await app.orchestrator.infer(query)

        assert up.counts.requests == 1
        assert len({answer.content for answer in (*answers, late)}) == 1
        assert {answer.request_id for answer in (*answers, late)} == {"r1"}
        with pytest.raises(InvalidRequest, match="request_id"):
            await app.orchestrator.infer(Query(prompt="another", request_id="r1"))


async def test_tenants_do_not_share_ids(on_virtual_time: Any) -> None:
    """An id is its owner's."""
    async with on_virtual_time([Reply("mine"), Reply("theirs")]) as (app, _):
        first, second = [
            await app.orchestrator.infer(Query(prompt="q", request_id="r1", tenant_id=tenant)) for tenant in "ab"
        ]

        assert (first.content, second.content) == ("mine", "theirs")


async def test_the_owner_may_leave_and_the_next_runs(on_virtual_time: Any) -> None:
    """Nobody waits for a run that its owner took along."""
    async with on_virtual_time(Reply("blue", ttft=0.5, duration=0.6)) as (app, [model]):
        query = Query(prompt="q", request_id="r1", deadline=1.4, no_cache=True)
        owner = asyncio.create_task(app.orchestrator.infer(query))
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(app.orchestrator.infer(query))
        await asyncio.sleep(0.1)

        owner.cancel()
        answer = await waiting

        assert answer.content == "blue"
        assert (len(model.calls), model.cancelled) == (2, 1)


async def test_an_error_may_be_tried_again_under_its_id(on_virtual_time: Any) -> None:
    """Only answers are remembered."""
    async with on_virtual_time([Reply.hanging(), Reply("blue", duration=0.2)]) as (app, _):
        query = Query(prompt="q", request_id="r1", deadline=0.5)
        with pytest.raises(DeadlineExceeded):
            await app.orchestrator.infer(query)

        assert (await app.orchestrator.infer(query)).content == "blue"


async def test_an_answer_is_remembered_for_its_time(on_virtual_time: Any) -> None:
    """A quarter of an hour, if nothing else is configured."""
    async with on_virtual_time([Reply("first"), Reply("second")]) as (app, _):
        query = Query(prompt="q", request_id="r1")
        said = []
        for pause in (0.0, 890.0, 20.0):
            await asyncio.sleep(pause)
            said.append((await app.orchestrator.infer(query)).content)

        assert said == ["first", "first", "second"]

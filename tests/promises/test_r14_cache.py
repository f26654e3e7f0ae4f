"""R14: the cache spares work and never gives a bad answer again; without Redis it is only slower."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.core.errors import Failed, LlmPoolError
from llm_pool.core.messages import Query, StrategyName
from llm_pool.testing import Reply
from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    from llm_pool.core.messages import Answer
    from llm_pool.engine.composition import App

pytestmark = pytest.mark.anyio

CACHED = "[cache]\nenabled = true"


@pytest.mark.real_loop
async def test_a_hundred_misses_make_one_call(over_loopback: Any) -> None:
    """Single flight; afterwards the cache, with its age."""
    async with Upstream(ttft="const:0.05") as up, over_loopback(up, text=CACHED) as app:
        answers = await asyncio.gather(*(ask(app) for _ in range(100)))
        kept = await ask(app)

        assert up.counts.requests == 1
        assert {answer.content for answer in answers} == {kept.content}
        assert [answer.from_cache for answer in answers] == [False] * 100
        assert kept.from_cache
        assert kept.age is not None
        assert 0.0 <= kept.age < 1.0


async def test_errors_are_never_kept(on_virtual_time: Any) -> None:
    """What failed is asked again."""
    replies = [Reply.failing(Failed("p0", "500")), Reply("blue")]
    async with on_virtual_time(replies, text=CACHED, providers="retries = 0") as (app, _):
        with pytest.raises(LlmPoolError):
            await ask(app)

        assert (await ask(app)).content == "blue"


async def test_degraded_answers_are_never_kept(on_virtual_time: Any) -> None:
    """One of three answered in time; later all do, and only that is kept."""
    slow = [Reply.hanging(), Reply("blue")]
    async with on_virtual_time(Reply("blue"), slow, slow, text=CACHED) as (app, models):
        degraded, whole, kept = [await ask(app, strategy=StrategyName.VOTING) for _ in range(3)]

        assert [answer.degraded for answer in (degraded, whole, kept)] == [True, False, False]
        assert [answer.from_cache for answer in (degraded, whole, kept)] == [False, False, True]
        assert len(models[0].calls) == 2


async def test_answers_are_not_shared_across_what_shapes_them(on_virtual_time: Any) -> None:
    """Prompt, tenant, strategy and length each make another question."""
    async with on_virtual_time(Reply("blue"), text=CACHED) as (app, [model]):
        for changes in (
            {},
            {"prompt": "other"},
            {"tenant_id": "t"},
            {"strategy": StrategyName.JUDGE},
            {"max_tokens": 7},
        ):
            assert not (await ask(app, **changes)).from_cache

        assert len(model.calls) == 5


@pytest.mark.real_loop
async def test_without_its_redis_the_pool_answers_all_the_same(over_loopback: Any) -> None:
    """Nobody listens there: every request is answered, no later for it than the patience."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    text = f'[cache]\nenabled = true\ndriver = "redis"\nurl = "redis://:hunter2@127.0.0.1:{port}/0"'
    async with Upstream() as up, over_loopback(up, text=text) as app:
        await ask(app, prompt="warm")
        loop, times = asyncio.get_running_loop(), []
        for number in range(20):
            began = loop.time()
            assert not (await ask(app, prompt=str(number))).from_cache
            times.append(loop.time() - began)

        assert up.counts.requests == 21
        assert sorted(times)[10] < 0.05


@pytest.mark.real_loop
async def test_with_a_silent_redis_the_pool_answers_all_the_same(over_loopback: Any) -> None:
    """A black hole in its place: one short wait, then none."""
    with socket.create_server(("127.0.0.1", 0)) as hole:  # it listens, so that connections are made, and never reads
        url = f"redis://127.0.0.1:{hole.getsockname()[1]}/0"
        text = f'[cache]\nenabled = true\ndriver = "redis"\nurl = "{url}"'
        async with Upstream() as up, over_loopback(up, text=text) as app:
            began = asyncio.get_running_loop().time()
            for number in range(20):
                await ask(app, prompt=str(number))

            assert up.counts.requests == 20
            assert asyncio.get_running_loop().time() - began < 0.6


async def ask(app: App, **changes: Any) -> Answer:
    return await app.orchestrator.infer(Query(**{"prompt": "which colour?", "deadline": 1.4, **changes}))

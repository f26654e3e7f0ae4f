"""A request leaves nothing for the garbage collector, however it ends: what it made goes when its last reader does."""

from __future__ import annotations

import asyncio
import gc
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.config import parse
from llm_pool.core.errors import LlmPoolError
from llm_pool.core.messages import Query, StrategyName
from llm_pool.engine.composition import open_app
from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from llm_pool.engine.composition import App

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

SETTINGS = "[trust]\nenabled = false\n[breaker]\nfail_rate = 1.0\nmin_calls = 50\n"
REQUESTS = 6


@pytest.fixture
async def ups() -> AsyncIterator[list[Upstream]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Upstream()) for _ in range(3)]


@pytest.fixture
async def app(ups: list[Upstream]) -> AsyncIterator[App]:
    providers = "".join(
        f'[groups.g{at}]\nslots = 8\n[[providers]]\nname = "p{at}"\ndriver = "ollama"\ngroup = "g{at}"\nretries = 0\n'
        f'base_url = "{up.url}"\nmodel = "phi3:mini"\n'
        for at, up in enumerate(ups)
    )
    async with open_app(parse(SETTINGS + providers, Path("llm-pool.toml"))) as app:
        yield app


async def ask(app: App, number: int, strategy: StrategyName, deadline: float, leave_after: float | None) -> None:
    providers = ("p0",) if strategy is StrategyName.FASTEST else ()
    query = Query(prompt=f"question {number}", deadline=deadline, strategy=strategy, providers=providers)
    if leave_after is None:
        with suppress(LlmPoolError):
            await app.orchestrator.infer(query)
        return
    asking = asyncio.create_task(app.orchestrator.infer(query))
    await asyncio.sleep(leave_after)
    asking.cancel()
    await asyncio.wait([asking])


def is_ours(thing: Any) -> bool:
    """Of ours, or run by us; asyncio's own transports are cycles once they are aborted."""
    code = getattr(thing, "f_code", None) or getattr(thing, "cr_code", None) or getattr(thing, "ag_code", None)
    return "llm_pool" in (type(thing).__module__ if code is None else code.co_filename)


@pytest.mark.parametrize("strategy", [StrategyName.FASTEST, StrategyName.VOTING])
@pytest.mark.parametrize(
    ("mode", "deadline", "leave_after"),
    [("ok", 5.0, None), ("error:500", 5.0, None), ("hang", 0.1, None), ("hang", 5.0, 0.03), ("cut:1", 5.0, None)],
)
async def test_no_request_leaves_a_cycle(
    app: App, ups: list[Upstream], strategy: StrategyName, mode: str, deadline: float, leave_after: float | None
) -> None:
    """Answered, failed, out of time, or left by its asker."""
    for up in ups:
        up.set_mode("*", mode)
    await ask(app, 0, strategy, deadline, leave_after)
    await asyncio.sleep(0.05)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for number in range(1, REQUESTS + 1):
            await ask(app, number, strategy, deadline, leave_after)
        await asyncio.sleep(0.05)
        gc.collect()
        left = [type(thing).__qualname__ for thing in gc.garbage if is_ours(thing)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()

    assert left == []

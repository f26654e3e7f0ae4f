"""A request cancelled at every await, under every strategy: no permit, lease, flight, task or call is left behind."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from llm_pool.config import parse
from llm_pool.core.errors import Failed
from llm_pool.core.messages import Query, StrategyName
from llm_pool.engine.composition import open_app
from llm_pool.testing import Reply, ScriptedProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Generator

    from llm_pool.engine.composition import App

pytestmark = pytest.mark.anyio

PROVIDER = """
[groups.g{at}]
slots = 1
[[providers]]
name = "p{at}"
group = "g{at}"
driver = "ollama"
base_url = "http://127.0.0.1:9"
model = "m"
"""
CONFIG = "[qos]\nhedge_after_ms = 100\n[trust]\nenabled = false\n" + "".join(PROVIDER.format(at=at) for at in range(3))


class Pool:
    """A whole pool of three: one breaks at first, one stalls at first, one is slow; each takes one call at a time."""

    def __init__(self, app: App, models: list[ScriptedProvider]) -> None:
        self.app, self.models = app, models
        self._tasks = asyncio.all_tasks()

    @classmethod
    @asynccontextmanager
    async def opened(cls) -> AsyncIterator[Pool]:
        models = [
            ScriptedProvider("p0", [Reply.failing(Failed("p0", "500"), after=0.1), Reply("red", duration=0.3)]),
            ScriptedProvider("p1", [Reply("a word, then silence", ttft=0.2, duration=1e6), Reply("blue")]),
            ScriptedProvider("p2", Reply("green", ttft=0.5, duration=0.7)),
        ]
        waiting = iter(models)
        with patch("llm_pool.engine.composition.build_provider", lambda *_, **__: next(waiting)):
            async with open_app(parse(CONFIG, Path("llm-pool.toml"))) as app:
                yield cls(app, models)

    def asked(self, strategy: StrategyName, *, no_cache: bool = True) -> Coroutine[Any, Any, object]:
        query = Query(prompt="which colour?", strategy=strategy, deadline=1.4, no_cache=no_cache)
        return self.app.orchestrator.infer(query)

    async def assert_nothing_is_left(self) -> None:
        """And the next request is answered."""
        assert asyncio.all_tasks() == self._tasks
        assert [model.in_flight for model in self.models] == [0, 0, 0]
        for gate in self.app.machines.gates:
            assert gate.has_room
            assert not gate._leases
        assert [w.breaker._lease for w in self.app.pool_state.breakers._tracked.values() if w.breaker._lease] == []
        assert len(self.app.orchestrator._cache_layer._single_flight) == 0
        assert await self.asked(StrategyName.FASTEST)


class Stepping:
    """Awaits a coroutine, and cancels the awaiting task when it suspends for the n-th time."""

    def __init__(self, coroutine: Coroutine[Any, Any, object], cancel_at: int) -> None:
        self._coroutine, self._cancel_at = coroutine, cancel_at
        self.suspended = 0

    def __await__(self) -> Generator[Any, Any, object]:
        task = asyncio.current_task()
        assert task is not None
        inner = self._coroutine.__await__()
        send, value = inner.send, None
        while True:
            try:
                waits_for = send(value)
            except StopIteration as done:
                return done.value
            self.suspended += 1
            if self.suspended == self._cancel_at:
                asyncio.get_running_loop().call_soon(task.cancel)
            try:
                value = yield waits_for
                send = inner.send
            except BaseException as error:  # noqa: BLE001  passed on as it is
                send, value = inner.throw, error


@pytest.mark.parametrize("no_cache", [False, True], ids=["flight", "alone"])
@pytest.mark.parametrize("strategy", StrategyName)
async def test_cancelled_at_every_await(strategy: StrategyName, no_cache: bool) -> None:
    """The first, the second, and so on, until the request ends before it could be cancelled."""
    for step in range(1, 100):
        async with Pool.opened() as pool:
            stepping = Stepping(pool.asked(strategy, no_cache=no_cache), step)
            [ended] = await asyncio.gather(asyncio.ensure_future(stepping), return_exceptions=True)

            await pool.assert_nothing_is_left()
            if not isinstance(ended, asyncio.CancelledError):
                break
    assert stepping.suspended < step
    assert step > 2


@pytest.mark.parametrize("strategy", StrategyName)
async def test_cancelled_at_any_moment(strategy: StrategyName) -> None:
    """Every thirtieth of a second, while others wait for the same machines."""
    for moment in range(45):
        async with Pool.opened() as pool:
            others = [asyncio.create_task(pool.asked(name)) for name in (StrategyName.FASTEST, StrategyName.VOTING)]
            asking = asyncio.create_task(pool.asked(strategy, no_cache=moment % 2 == 0))
            await asyncio.sleep(moment / 30)

            asking.cancel()
            await asyncio.gather(asking, *others, return_exceptions=True)

            await pool.assert_nothing_is_left()

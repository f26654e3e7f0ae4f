"""R9: what says that a backend is ill opens its breaker, and nothing else does; told by real replies over sockets."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.core.errors import LlmPoolError, Overloaded
from llm_pool.core.messages import Query
from llm_pool.qos.breaker import State
from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    import socket

    from llm_pool.engine.composition import App

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]


@pytest.mark.parametrize("mode", ["error:500", "error:502", "reset", "cut:1", "error-in-stream:1", "hang"])
async def test_illness_opens_the_breaker(over_loopback: Any, mode: str) -> None:
    """A reset, 5xx, a broken stream, and a silence of the provider's own timeout."""
    async with Upstream() as up, over_loopback(up, providers="timeout_ms = 50\nretries = 0") as app:
        up.set_mode("*", mode)

        await ask(app, 6)

        assert state(app) is State.OPEN


async def test_nobody_listening_opens_the_breaker(over_loopback: Any) -> None:
    """A connection refused."""
    async with Upstream() as up:
        pass
    async with over_loopback(up, providers="retries = 0") as app:
        await ask(app, 6)

        assert state(app) is State.OPEN


@pytest.mark.parametrize("mode", ["error:400", "error:404", "error:422", "error:503", "garbage", "nonsense", "ok"])
async def test_what_says_nothing_of_health_leaves_it_closed(over_loopback: Any, mode: str) -> None:
    """4xx, unreadable and unfit answers; a bare 503, which is how Ollama says busy and llama-server says loading."""
    async with Upstream() as up, over_loopback(up, providers="retries = 0") as app:
        up.set_mode("*", mode)

        await ask(app, 10)

        assert state(app) is State.CLOSED


async def test_our_own_shortage_leaves_it_closed(over_loopback: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without file descriptors nobody is asked: 503 for a while, and then all is well at once."""

    async def fail(_addresses: Any) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    async with Upstream() as up, over_loopback(up, providers="retries = 0") as app:
        with monkeypatch.context() as patch:
            patch.setattr("llm_pool.providers.transport.open_socket", fail)
            for number in range(10):
                with pytest.raises(Overloaded, match="out of file descriptors"):
                    await app.orchestrator.infer(Query(prompt=f"short {number}"))

        assert state(app) is State.CLOSED
        assert await ask(app, 1) == 1


@pytest.mark.parametrize("mode", ["busy:1", "error:429"])
async def test_busy_backs_off_without_tripping(over_loopback: Any, mode: str) -> None:
    """With Retry-After the backend is left alone for that long, then asked again."""
    async with Upstream() as up, over_loopback(up, providers="retries = 0") as app:
        up.set_mode("*", mode)

        await ask(app, 10)

        assert state(app) is State.CLOSED
        assert up.counts.requests == (1 if mode == "busy:1" else 10)
        up.set_mode("*", "ok")
        await asyncio.sleep(1.05)
        assert await ask(app, 1) == 1


async def test_a_model_that_loads_is_warming_and_not_ill(over_loopback: Any) -> None:
    """It is waited for."""
    async with Upstream() as up, over_loopback(up, providers="retries = 0") as app:
        up.set_mode("*", "loading:0.5")
        [told] = await app.states()

        assert await ask(app, 1) == 1

        assert told.condition == "warming"
        assert state(app) is State.CLOSED


async def ask(app: App, times: int) -> int:
    """How many of so many requests, one after the other, were answered."""
    answered = 0
    for number in range(times):
        query = Query(prompt=f'{{"query": "cats {number}"}}', task="expand_queries", deadline=1.4)
        try:
            await app.orchestrator.infer(query)
        except LlmPoolError:
            continue
        answered += 1
    return answered


def state(app: App) -> State:
    [state] = app.pool_state.breakers.states().values()
    return state

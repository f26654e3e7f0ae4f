"""R26: a load, once begun, goes on to its end; it is waited for, failed over from, and made as seldom as can be."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.config import parse
from llm_pool.core.errors import DeadlineExceeded, LlmPoolError
from llm_pool.core.events import AttemptStarted, ModelLoading
from llm_pool.core.messages import Query, StrategyName
from llm_pool.engine import PoolManager, open_app
from llm_pool.testing import RecordingObserver
from llm_pool.testing.upstream import Upstream
from llm_pool.testing.upstream.machine import Model

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from llm_pool.config import Config
    from llm_pool.engine import App
    from llm_pool.testing.upstream.answers import TextRequest

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

NAMES = ("phi3:mini", "llama3.1:8b", "gemma2:9b")


def ollama(*names: str, load_time: float, **machine: Any) -> Upstream:
    """An Ollama with nothing in memory."""
    return Upstream([Model(name=name, load_time=load_time) for name in names], cold=True, **machine)


def config(url: str, *names: str, text: str = "", driver: str = "ollama", warm: str = "false") -> Config:
    """A provider for each of *names*, p0 and so on, on one machine of which nothing more is said."""
    tables = [text, f"[server]\nwarm = {warm}", "[trust]\nenabled = false", "[cache]\nenabled = false"]
    for at, name in enumerate(names):
        tables.append(
            f'[[providers]]\nname = "p{at}"\ndriver = "{driver}"\nbase_url = "{url}"\nmodel = "{name}"\nretries = 0'
        )
    return parse("\n".join(tables), Path("llm-pool.toml"))


@asynccontextmanager
async def pool(up: Upstream, *names: str, **how: Any) -> AsyncIterator[App]:
    async with open_app(config(up.url, *names, **how)) as app:
        yield app


async def ask(app: App, prompt: str, **query: Any) -> str:
    """The winner, or the name of the error."""
    try:
        return (await app.orchestrator.infer(Query(prompt=prompt, **query))).winner
    except LlmPoolError as error:
        return type(error).__name__


async def in_turn(app: App, times: int, *, pause: float, deadline: float) -> Sequence[str]:
    """What so many requests come to, each within its deadline to the millisecond or so."""
    outcomes, now = [], asyncio.get_running_loop().time
    for number in range(times):
        began = now()
        outcomes.append(await ask(app, f"question {number}", deadline=deadline, strategy=StrategyName.FASTEST))
        assert now() - began < deadline + 0.05
        await asyncio.sleep(pause)
    return outcomes


@pytest.mark.parametrize("names", [NAMES[:1], NAMES])
@pytest.mark.parametrize("max_loaded", [None, 1])
async def test_a_load_outlives_deadlines_shorter_than_it(names: tuple[str, ...], max_loaded: int | None) -> None:
    """Ten requests of 300 ms, a load of 800 ms: at most two are lost, and there is one load."""
    async with ollama(*names, load_time=0.8, max_loaded=max_loaded) as up, pool(up, *names) as app:
        outcomes = await in_turn(app, 10, pause=0.1, deadline=0.3)

        assert outcomes[2:] == ["p0"] * 8
        assert (up.counts.loads, up.machine.aborted) == (1, 0)


async def test_closing_the_pool_ends_its_loads() -> None:
    """Nothing is orphaned, neither here nor there."""
    async with ollama("phi3:mini", load_time=30.0) as up:
        async with pool(up, "phi3:mini") as app:
            assert await ask(app, "hello", deadline=0.2) == "DeadlineExceeded"
        await asyncio.sleep(0.05)

        assert up.machine.aborted == 1
        assert [task for task in asyncio.all_tasks() if task.get_name().startswith("load")] == []


@pytest.mark.parametrize("before", [None, *NAMES])
async def test_six_votes_at_once_on_a_machine_for_one_model(before: str | None) -> None:
    """Eighteen calls over three models; the machine holds one, and the pool was not told so: at most four loads."""

    def disagreeing(request: TextRequest) -> str:
        return f"{request.model} says {NAMES.index(request.model) * 7}"

    async with ollama(*NAMES, load_time=0.2, max_loaded=1, answer=disagreeing, ttft="const:0.03") as up:
        if before is not None:
            up.machine.preload([up.models[before]])
        async with pool(up, *NAMES, text="[qos]\nmax_deadline_ms = 30000") as app:
            votes = [ask(app, f"question {at}", strategy=StrategyName.VOTING, deadline=20) for at in range(6)]
            outcomes = await asyncio.gather(*votes)

        assert set(outcomes) <= {"p0", "p1", "p2"}
        assert up.counts.requests == 18
        assert up.counts.loads <= 4


@pytest.mark.parametrize(("deadline", "first"), [(0.4, "p1"), (20.0, "p0")])
@pytest.mark.parametrize("max_loaded", [None, 1])
async def test_the_first_of_the_file_is_asked_again_as_soon_as_its_model_can_be_had(
    deadline: float, first: str, max_loaded: int | None
) -> None:
    """The second is loaded. Time enough: the first is loaded for the request. If not: behind it, for the next ones."""
    async with ollama(*NAMES[:2], load_time=0.3, max_loaded=max_loaded) as up:
        up.machine.preload([up.models[NAMES[1]]])
        async with pool(up, *NAMES[:2], text="[qos]\nmax_deadline_ms = 30000") as app:
            outcomes = await in_turn(app, 14, pause=0.05, deadline=deadline)

        assert outcomes[0] == first
        assert outcomes[3:] == ["p0"] * 11
        assert up.counts.loads == 1


async def test_a_server_that_loads_is_waited_for() -> None:
    """llama-server says 503 while it loads, and answers in time: that is no failure, and needs no retry."""
    async with Upstream(["m"], flavor="llama-server") as up:
        up.set_mode("*", "loading:1.5")
        async with pool(up, "m", driver="openai", text="[qos]\nmax_deadline_ms = 30000") as app:
            assert await ask(app, "hello", deadline=10) == "p0"
            [breaker] = app.pool_state.breakers.states().values()

        assert breaker == "closed"
        assert len(up.journal.entries) < 15


async def test_a_server_that_loads_too_long_ends_at_the_deadline_with_its_words() -> None:
    """Not before, so that nothing is given up that may come; and as a deadline, not as a failure."""
    async with Upstream(["m"], flavor="llama-server") as up:
        up.set_mode("*", "loading:60")
        async with pool(up, "m", driver="openai") as app:
            began = asyncio.get_running_loop().time()

            with pytest.raises(DeadlineExceeded, match="Loading model"):
                await app.orchestrator.infer(Query(prompt="hello", deadline=0.8))

            assert 0.6 < asyncio.get_running_loop().time() - began < 0.85


async def test_a_pool_in_a_program_waits_for_a_first_load_that_no_deadline_was_set_for() -> None:
    """The default one begins when the model is there, and the wait is told of; one that is set holds."""
    async with ollama("phi3:mini", load_time=0.8) as up:
        async with pool(up, "phi3:mini", text="[qos]\nmax_deadline_ms = 300") as app:
            seen = RecordingObserver()
            answer = await app.infer(Query(prompt="hello"), seen.on)
            told = [type(event) for event in seen.events if isinstance(event, ModelLoading | AttemptStarted)]
            up.machine.unload("phi3:mini")
            app.machines._loaded_models[up.url].doubt()

            with pytest.raises(DeadlineExceeded):
                await app.infer(Query(prompt="hello again", deadline=0.2))

        assert answer.winner == "p0"
        assert told == [ModelLoading, AttemptStarted]


@pytest.mark.parametrize(("warm", "loads"), [("true", 1), ("false", 0)])
async def test_serving_begins_with_the_first_models_load(warm: str, loads: int) -> None:
    """Behind the scenes, and only what surely fits."""
    async with ollama(*NAMES, load_time=0.1) as up:
        began = asyncio.get_running_loop().time()
        manager = await PoolManager.start(config(up.url, *NAMES, warm=warm))
        started = asyncio.get_running_loop().time() - began
        await asyncio.sleep(0.5)
        await manager.aclose()

        assert started < 0.1
        assert up.counts.loads == loads
        assert list(up.machine.loaded()) == list(NAMES[:loads])


async def test_a_reload_of_the_configuration_ends_no_load() -> None:
    """The old pool stays until what it loads is there."""
    async with ollama("phi3:mini", load_time=0.6) as up:
        manager = await PoolManager.start(config(up.url, "phi3:mini", warm="true"))
        await asyncio.sleep(0.1)
        await manager.swap(config(up.url, "phi3:mini", text="[qos]\nhedge_after_ms = 200"))
        await asyncio.sleep(0.8)
        ready = repr(manager), (await manager.infer(Query(prompt="hello", deadline=0.3))).winner
        await manager.aclose()

        assert ready == ("<PoolManager [generation 2 | 0 in flight, 0 draining]>", "p0")
        assert (up.counts.loads, up.machine.aborted) == (1, 0)

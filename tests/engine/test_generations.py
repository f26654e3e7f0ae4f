"""Generations of one pool: swapped under way, drained at the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from llm_pool.config import parse
from llm_pool.core.errors import Cancelled, ConfigError, DeadlineExceeded, LlmPoolError, Stopping
from llm_pool.core.events import BreakerChanged, Reloaded
from llm_pool.core.messages import ProviderState, Query
from llm_pool.engine.generations import PoolManager
from llm_pool.testing import RecordingObserver
from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from llm_pool.config import Config

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_POOL_STATE", str(tmp_path / "state"))


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream(["a:latest", "b:latest"], ttft="const:0.1") as up:
        yield up


@pytest.fixture
def config(upstream: Upstream, tmp_path: Path) -> Callable[..., Config]:
    """A configuration with providers of these names, and what else is said."""

    def make(*names: str, extra: str = "", more: str = "") -> Config:
        providers = "".join(
            f'[[providers]]\nname = "{name}"\ndriver = "ollama"\nmodel = "{name}:latest"\n'
            f'base_url = "{upstream.url}"\nretries = 0\n{more}'
            for name in names or ("a",)
        )
        group = f'[groups."{upstream.url}"]\nslots = 8\n'
        quiet = "" if "[server]" in extra else "[server]\nwarm = false\n"
        return parse(f"{extra}\n{quiet}{group}{providers}", tmp_path / "llm-pool.toml")

    return make


@pytest.fixture
async def seen() -> RecordingObserver:
    return RecordingObserver()


@pytest.fixture
async def manager(config: Callable[..., Config], seen: RecordingObserver) -> AsyncIterator[PoolManager]:
    running = await PoolManager.start(config(), [seen])
    yield running
    await running.aclose()


async def test_a_request_ends_in_the_generation_where_it_began(
    manager: PoolManager, config: Callable[..., Config]
) -> None:
    """The swap waits for nobody, and cuts nobody."""
    began = asyncio.create_task(manager.infer(Query(prompt="one", deadline=3)))
    await asyncio.sleep(0.05)

    await manager.swap(config("b"))
    after = await manager.infer(Query(prompt="two", deadline=3))

    assert (manager.generation, after.winner, (await began).winner) == (2, "b", "a")


async def test_the_old_generation_is_closed_when_its_last_request_ended(
    manager: PoolManager, config: Callable[..., Config], upstream: Upstream
) -> None:
    """Its connections with it."""
    await manager.infer(Query(prompt="one", deadline=3))

    await manager.swap(config("b"))
    await asyncio.sleep(0.05)

    assert repr(manager) == "<PoolManager [generation 2 | 0 in flight, 0 draining]>"
    assert len(upstream._connections) == 0


async def test_a_configuration_that_cannot_be_built_changes_nothing(
    manager: PoolManager, config: Callable[..., Config], tmp_path: Path
) -> None:
    """A prompt file with a mistake is found at once, not by the first request for its task."""
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "broken.md").write_text("no place for the input", encoding="utf-8")

    with pytest.raises(ConfigError, match="broken"):
        await manager.swap(config("b"))

    assert manager.generation == 1
    assert manager.last_reload.ok is False
    assert "broken" in str(manager.last_reload.error)
    assert (await manager.infer(Query(prompt="one", deadline=3))).winner == "a"


async def test_reloads_are_told(manager: PoolManager, config: Callable[..., Config], seen: RecordingObserver) -> None:
    """Each with its outcome; the start is the first."""
    error = ConfigError(path=None, key="qos.hedge", got="x", want="y")

    await manager.swap(config("b"))
    loaded_at = manager.loaded_at
    manager.record_refused(error)

    assert manager.loaded_at == loaded_at <= manager.last_reload.at
    assert [e for e in seen.events if isinstance(e, Reloaded)] == [Reloaded(1), Reloaded(2), Reloaded(2, error)]
    assert (manager.last_reload.ok, manager.last_reload.generation) == (False, 2)


async def test_what_was_answered_is_remembered_across_a_swap(
    manager: PoolManager, config: Callable[..., Config], upstream: Upstream
) -> None:
    """By the cache, and by request id; a changed provider answers anew, but never to an id that was answered."""
    await manager.infer(Query(prompt="one", deadline=3))
    await manager.infer(Query(prompt="two", deadline=3, request_id="r"))

    await manager.swap(config(extra="[idempotency]\nttl_seconds = 60"))
    cached = await manager.infer(Query(prompt="one", deadline=3))
    await manager.swap(config("b"))
    again = await manager.infer(Query(prompt="two", deadline=3, request_id="r"))

    assert cached.from_cache
    assert again.winner == "a"
    assert upstream.counts.requests == 2


@pytest.mark.parametrize(("more", "stays"), [("", True), ("weight = 2.0\n", False)])
async def test_a_breaker_stays_as_long_as_its_providers_section_does(
    config: Callable[..., Config], upstream: Upstream, seen: RecordingObserver, more: str, *, stays: bool
) -> None:
    """An ill backend is not asked anew because somebody edited something else; a changed one gets its chance."""
    upstream.set_mode("a:latest", "error:500")
    manager = await PoolManager.start(config("a", "b"), [seen])
    for number in range(12):
        await manager.infer(Query(prompt=f"question {number}", deadline=3, no_cache=True))
    assert any(isinstance(e, BreakerChanged) and e.after == "open" for e in seen.events)

    await manager.swap(config("a", "b", more=more))
    skipped = (await manager.plan(Query(prompt="and now?"))).panel.skipped

    assert skipped == (("a",) if stays else ())
    await manager.aclose()


async def test_draining_refuses_new_work_and_ends_the_old(manager: PoolManager) -> None:
    """Whoever was in has the answer."""
    asked = asyncio.create_task(manager.infer(Query(prompt="one", deadline=3)))
    await asyncio.sleep(0.05)

    draining = asyncio.create_task(manager.drain(2.0))
    await asyncio.sleep(0)
    with pytest.raises(Stopping):
        await manager.infer(Query(prompt="two"))

    assert await draining is True
    assert (await asked).winner == "a"


async def test_after_the_grace_what_is_left_is_cut(manager: PoolManager, upstream: Upstream) -> None:
    """It learns why, and its model stops."""
    upstream.set_mode("*", "hang")
    asked = asyncio.create_task(manager.infer(Query(prompt="one", deadline=30)))
    await asyncio.sleep(0.05)

    assert await manager.drain(0.1) is False

    with pytest.raises(Stopping):
        await asked
    assert (manager.in_flight, upstream.counts.in_flight) == (0, 0)


async def test_a_request_can_be_cancelled_from_outside(manager: PoolManager, upstream: Upstream) -> None:
    """By its number; another request goes on."""
    asked = [asyncio.create_task(manager.infer(Query(prompt=text, deadline=3))) for text in ("one", "two")]
    await asyncio.sleep(0.05)

    assert manager.cancel(manager.running()[0].number) is True
    assert manager.cancel(10_000) is False

    with pytest.raises(Cancelled, match="operator"):
        await asked[0]
    assert (await asked[1]).winner == "a"


async def test_a_deadline_is_not_taken_for_a_cancellation(manager: PoolManager, upstream: Upstream) -> None:
    """Both are timeouts underneath."""
    upstream.set_mode("*", "hang")

    with pytest.raises(DeadlineExceeded):
        await manager.infer(Query(prompt="one", deadline=0.1))


async def test_a_backend_that_says_nothing_counts_as_unreachable(manager: PoolManager, upstream: Upstream) -> None:
    """Health is asked by probes that will not wait."""
    upstream.set_mode("/api/tags", "hang")
    upstream.set_mode("/api/ps", "hang")
    loop = asyncio.get_running_loop()
    began = loop.time()

    health = await manager.health()

    assert (health.ready, health.states[0].condition) == (False, "unreachable")
    assert loop.time() - began < 1.5


async def test_probes_share_a_look_at_the_backends(manager: PoolManager, upstream: Upstream) -> None:
    """However many ask."""
    await manager.health()
    looked = len(upstream.journal.entries)

    await asyncio.gather(*(manager.health() for _ in range(20)))

    assert len(upstream.journal.entries) == looked


async def test_every_error_is_one_of_ours(manager: PoolManager) -> None:
    """Closing twice is fine, and asking a closed pool is refused as a stopping one is."""
    await manager.aclose()

    with pytest.raises(LlmPoolError):
        await manager.infer(Query(prompt="one"))


async def test_probes_of_a_hanging_backend_share_one_look(
    manager: PoolManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty at once, each answered in the time of one."""
    looks = 0

    async def hangs() -> ProviderState:
        nonlocal looks
        looks += 1
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr(manager.app.providers["a"], "state", hangs)
    monkeypatch.setattr("llm_pool.engine.health.TIMEOUT", 0.2)
    loop = asyncio.get_running_loop()
    began = loop.time()

    probes = await asyncio.gather(*(manager.health() for _ in range(20)))

    assert loop.time() - began < 0.5
    assert looks == 1
    assert not any(probe.ready for probe in probes)


async def test_the_last_look_waits_for_nobody(manager: PoolManager) -> None:
    """A scrape gets what is known, and what is unknown begins to be looked at."""
    assert manager.last_health().states == ()

    await asyncio.sleep(0.1)

    assert manager.last_health().ready

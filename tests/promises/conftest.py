"""A pool of three for the promises: real policies and strategies, scripted backends, virtual time."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from llm_pool.config import parse
from llm_pool.core.clock import SystemClock
from llm_pool.core.interfaces import Member
from llm_pool.engine.composition import open_app
from llm_pool.ensemble.fastest import Fastest
from llm_pool.qos.breaker import Rules
from llm_pool.qos.breaking import Breakers, Breaking
from llm_pool.qos.budget import Budget
from llm_pool.qos.concurrency_limit import ConcurrencyLimited
from llm_pool.qos.gate import Gate
from llm_pool.qos.latency import Latencies
from llm_pool.qos.loaded_models import LoadedModels
from llm_pool.qos.queueing import Limits
from llm_pool.qos.retrying import Retrying
from llm_pool.qos.timed import Timed
from llm_pool.testing import RecordingObserver, ScriptedProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from llm_pool.config import Config
    from llm_pool.core.messages import Call, Decision
    from llm_pool.engine.composition import App
    from llm_pool.testing.scripted import Script
    from llm_pool.testing.upstream import Upstream

NAMES = ("phi3", "llama31", "gemma2")


class Pool:
    """
    Three providers on machines of their own, raced by FASTEST.

    Args:
        scripts: one for each, or one for all.
        slots: of each machine.
        hedge_after: seconds.
    """

    def __init__(self, *scripts: Script, slots: int = 1, hedge_after: float | None = 0.3) -> None:
        self.clock, self.rng, self.seen = SystemClock(), Random(6), RecordingObserver()
        self.budget, self.latencies = Budget(), Latencies()
        self.breakers = Breakers(Rules(), self.clock, self.rng, self.seen.on)
        self.backends = [ScriptedProvider(name, scripts[at % len(scripts)]) for at, name in enumerate(NAMES)]
        self.panel = [self._member(backend, rank, slots) for rank, backend in enumerate(self.backends)]
        self._fastest = Fastest(
            self.clock, self.budget, hedge_after=lambda _member, _call: hedge_after, has_room=lambda _: True
        )

    @property
    def attempts(self) -> int:
        """Calls that reached a backend."""
        return sum(len(backend.calls) for backend in self.backends)

    async def ask(self, call: Call) -> Decision:
        """One request, as the orchestrator would run it."""
        self.budget.note_request(self.clock.now())
        well = [m for m in self.panel if self.breakers.refusal(m.name, call.task.name) is None]
        return await self._fastest.run(call, well or self.panel, lambda _: None)

    def _member(self, backend: ScriptedProvider, rank: int, slots: int) -> Member:
        gate = Gate(backend.name, Limits(slots=slots), self.clock, LoadedModels(self.clock))
        timed = Timed(backend, self.latencies, self.clock, timeout=5.0)
        breaking = Breaking(
            timed, self.breakers, partial(self._has_alternative, backend.name), is_backend_fault=timed.is_backend_fault
        )
        limited = ConcurrencyLimited(breaking, gate, backend.model, lambda _: None)
        provider = Retrying(limited, self.budget, self.clock, self.rng)
        return Member(provider=provider, model=backend.model, weight=1.0, group=backend.name, rank=rank)

    def _has_alternative(self, name: str, task: str) -> bool:
        return any(self.breakers.refusal(other, task) is None for other in NAMES if other != name)


@pytest.fixture
def pool() -> type[Pool]:
    """Makes a pool; call it with scripts."""
    return Pool


@asynccontextmanager
async def played(
    *scripts: Script, text: str = "", **providers: Any
) -> AsyncIterator[tuple[App, list[ScriptedProvider]]]:
    """A whole pool of scripted models in the place of backends, and the models; see ``opened``."""
    models = [ScriptedProvider(f"p{at}", script) for at, script in enumerate(scripts)]
    waiting = iter(models)
    providers.setdefault("models", [f"m{at}:1b" for at in range(len(scripts))])
    with patch("llm_pool.engine.composition.build_provider", lambda *_, **__: next(waiting)):
        async with open_app(configured(["http://127.0.0.1:9"] * len(models), text, **providers)) as app:
            yield app, models


@asynccontextmanager
async def opened(*ups: Upstream, text: str = "", **providers: Any) -> AsyncIterator[App]:
    """A whole pool over scripted upstreams behind real sockets."""
    async with open_app(configured([up.url for up in ups], text, **providers)) as app:
        yield app


def configured(
    urls: Sequence[str],
    text: str,
    *,
    groups: Sequence[str] = (),
    slots: int = 64,
    providers: str = "",
    models: Sequence[str] = (),
) -> Config:
    """
    A provider for each of *urls*, ``p0`` and so on, with nothing learned and nothing kept.

    *text* is more configuration; it may begin with keys of ``[qos]``, and have a ``[cache]`` of its own. Each provider
    is on a machine of its own unless *groups* names one for each, and of one model unless *models* does; *providers* is
    more keys of each.
    """
    tables = [f"[qos]\n{text}", "[trust]\nenabled = false"]
    if "[cache]" not in text:
        tables.append("[cache]\nenabled = false")
    names = groups or [f"g{at}" for at in range(len(urls))]
    tables += [f"[groups.{name}]\nslots = {slots}" for name in dict.fromkeys(names)]
    for at, (url, group) in enumerate(zip(urls, names, strict=True)):
        model = models[at] if models else "phi3:mini"
        provider = f'name = "p{at}"\ngroup = "{group}"\ndriver = "ollama"\nbase_url = "{url}"\nmodel = "{model}"'
        tables.append(f"[[providers]]\n{provider}\n{providers}")
    return parse("\n".join(tables), Path("llm-pool.toml"))


@pytest.fixture
def over_loopback() -> Callable[..., AbstractAsyncContextManager[App]]:
    """Opens a pool over scripted upstreams; see ``opened``."""
    return opened


@pytest.fixture
def on_virtual_time() -> Callable[..., AbstractAsyncContextManager[tuple[App, list[ScriptedProvider]]]]:
    """Opens a pool of scripted models; see ``played``."""
    return played

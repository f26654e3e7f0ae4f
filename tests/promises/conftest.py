"""A pool of three for the promises: real policies and strategies, scripted backends, virtual time."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING

import pytest

from llm_pool.breaker import Rules
from llm_pool.budget import Budget
from llm_pool.clock import SystemClock
from llm_pool.ensemble.fastest import Fastest
from llm_pool.latency import Latencies
from llm_pool.messages import Member
from llm_pool.qos.breaking import Breakers, Breaking
from llm_pool.qos.gate import Gate
from llm_pool.qos.limited import Limited
from llm_pool.qos.residency import Residency
from llm_pool.qos.retrying import Retrying
from llm_pool.qos.timed import Timed
from llm_pool.queueing import Limits
from llm_pool.testing import RecordingObserver, ScriptedProvider

if TYPE_CHECKING:
    from llm_pool.messages import Call, Decision
    from llm_pool.testing.scripted import Script

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
        lit = [m for m in self.panel if self.breakers.refusal(m.name, call.task.name) is None]
        return await self._fastest.run(call, lit or self.panel, lambda _: None)

    def _member(self, backend: ScriptedProvider, rank: int, slots: int) -> Member:
        gate = Gate(backend.name, Limits(slots=slots), self.clock, Residency(self.clock))
        timed = Timed(backend, self.latencies, self.clock, timeout=5.0)
        breaking = Breaking(timed, self.breakers, partial(self._spare, backend.name), blames=timed.blames)
        limited = Limited(breaking, gate, backend.model, lambda _: None)
        provider = Retrying(limited, self.budget, self.clock, self.rng)
        return Member(provider=provider, model=backend.model, weight=1.0, group=backend.name, rank=rank)

    def _spare(self, name: str, task: str) -> bool:
        return any(self.breakers.refusal(other, task) is None for other in NAMES if other != name)


@pytest.fixture
def pool() -> type[Pool]:
    """Makes a pool; call it with scripts."""
    return Pool

"""Waiting for a slot on the provider's machine."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from llm_pool.core.errors import ProviderError
from llm_pool.core.events import RequestQueued
from llm_pool.qos.policy import Policy
from llm_pool.qos.silence import Silence, when_late

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from llm_pool.core.interfaces import Clock, Emit, Provider
    from llm_pool.core.messages import Call, Delta
    from llm_pool.qos.gate import Gate, Lease
    from llm_pool.qos.patience import Patience


class ConcurrencyLimited(Policy):
    """
    Asks only while it holds a slot of the group's gate; a request that cannot have one in time fails with QueueFull.

    A call that goes silent gives its slot to calls to other models of the machine, and goes on beside them: one that
    hangs does not hold the machine.

    Args:
        inner: what is asked.
        gate: shared by the providers of a group.
        model: the provider's model, by the name its backend lists it under.
        emit: told when a request has to wait.
        clock: the time.
        patience: how long its silence is usual.
    """

    def __init__(
        self, inner: Provider, gate: Gate, model: str, emit: Emit, *, clock: Clock, patience: Patience
    ) -> None:
        super().__init__(inner)
        self._gate, self._model, self._emit, self._clock, self._patience = gate, model, emit, clock, patience

    async def stream(self, call: Call) -> AsyncGenerator[Delta]:
        """Wait for a slot, then ask; raises QueueFull and what *inner* raises."""
        lease = await self._gate.acquire(self.name, self._model, call.deadline, lambda ahead: self._tell(call, ahead))
        served, silence = False, Silence(self._clock.now(), call.deadline)
        watching = when_late(
            silence,
            lambda: self._patience.before_overtaking(self.name, call),
            lambda _: self._gate.mark_late(lease),
            soonest=self._patience.soonest,
            excused=lambda: self._gate.is_loading(self._model),
        )
        try:
            with watching:
                async with aclosing(self.inner.stream(call)) as deltas:
                    async for delta in deltas:
                        silence.hear(self._clock.now())
                        self._watch(lease, delta)
                        served = delta.final
                        yield delta
        except ProviderError:
            self._gate.mark_failed(lease)
            raise
        finally:
            self._gate.release(lease, served=served)

    async def load(self) -> None:
        """Load, and remember that it is."""
        await self.inner.load()
        self._gate.record_preload(self._model)

    def _tell(self, call: Call, ahead: int) -> None:
        self._emit(RequestQueued(call.request_id, self.name, self._gate.group, ahead))

    def _watch(self, lease: Lease, delta: Delta) -> None:
        if delta.loading is not None:
            self._gate.record_load_time(lease, delta.loading)
        if delta.text or delta.final:
            self._gate.mark_loaded(lease)

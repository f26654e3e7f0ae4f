"""Waiting for a slot on the provider's machine."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING

from llm_pool.core.errors import ProviderError
from llm_pool.core.events import RequestQueued
from llm_pool.qos import queue_time
from llm_pool.qos.policy import Policy
from llm_pool.qos.silence import Silence, Watch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractContextManager

    from llm_pool.core.interfaces import Emit, Provider
    from llm_pool.core.messages import Call, Delta
    from llm_pool.qos.gate import Gate, Lease
    from llm_pool.qos.patience import Patience


class ConcurrencyLimited(Policy):
    """
    Asks only while it holds a slot of the group's gate; a request that cannot have one in time fails with QueueFull.

    The gate loads the model first where it has a loader for it. A call that then goes silent gives its slot to calls to
    other models of the machine that are loaded, and goes on beside them: one that hangs does not hold the machine.

    Args:
        inner: what is asked.
        gate: shared by the providers of a group.
        model: the provider's model, by the name its backend lists it under.
        emit: told when a request has to wait.
        patience: how long its silence is usual; None: for ever, it keeps its slot.
    """

    def __init__(
        self, inner: Provider, gate: Gate, model: str, emit: Emit, *, patience: Patience | None = None
    ) -> None:
        super().__init__(inner)
        self._gate, self._model, self._emit, self._patience = gate, model, emit, patience

    async def stream(self, call: Call) -> AsyncGenerator[Delta]:
        """Wait for a slot, then ask; raises QueueFull, Loading and what *inner* raises."""
        with queue_time.waiting():
            lease = await self._gate.acquire(
                self.name, self._model, call.deadline, lambda ahead: self._tell(call, ahead), tenant=call.tenant_id
            )
        served, now = False, asyncio.get_running_loop().time
        silence = Silence(now(), call.deadline)
        try:
            with self._lending(lease, call, silence):
                async with aclosing(self.inner.stream(call)) as deltas:
                    async for delta in deltas:
                        silence.hear(now())
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

    def _lending(self, lease: Lease, call: Call, silence: Silence) -> AbstractContextManager[None]:
        """Lends the slot once the call is silent for too long."""
        patience = self._patience
        if patience is None:
            return nullcontext()
        return Watch(
            silence,
            lambda: patience.before_overtaking(self.name, call),
            lambda _: self._gate.mark_late(lease),
            soonest=patience.soonest,
            excused=lambda: self._gate.is_loading(self._model),
        )

    def _tell(self, call: Call, ahead: int) -> None:
        self._emit(RequestQueued(call.request_id, self.name, self._gate.group, ahead))

    def _watch(self, lease: Lease, delta: Delta) -> None:
        if delta.loading is not None:
            self._gate.record_load_time(lease, delta.loading)
        if delta.has_token or delta.final:
            self._gate.mark_loaded(lease)

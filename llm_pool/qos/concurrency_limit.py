"""Waiting for a slot on the provider's machine."""

from __future__ import annotations

from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING

from llm_pool.core.errors import ProviderError
from llm_pool.core.events import RequestQueued
from llm_pool.qos import queue_time
from llm_pool.qos.policy import Policy
from llm_pool.qos.silence import QueuedSilence, Silence, Watch
from llm_pool.qos.suspecting import had_all_its_time
from llm_pool.qos.timed import before_deadline

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractContextManager

    from llm_pool.core.interfaces import Emit, Provider
    from llm_pool.core.messages import Call, Delta
    from llm_pool.qos.gate import Gate, Lease
    from llm_pool.qos.patience import Patience
    from llm_pool.qos.suspecting import Suspicions


class ConcurrencyLimited(Policy):
    """
    Asks only while it holds a slot of the group's gate; a request that cannot have one in time fails with QueueFull.

    The gate loads the model first where it has a loader for it. A call that then goes silent gives its slot to calls to
    other models of the machine that are loaded, and goes on beside them: one that hangs does not hold the machine.

    A request that waits behind calls to the same model, all of them silent, is not heard either, and that is held
    against the provider: on a machine with one slot a single call would have to do for all who wait. So is a request
    that was not answered in all its time, waiting included.

    Args:
        inner: what is asked.
        gate: shared by the providers of a group.
        model: the provider's model, by the name its backend lists it under.
        emit: told when a request has to wait.
        patience: how long its silence is usual; None: for ever, it keeps its slot.
        suspicions: the pool's; None: waiting is held against nobody.
    """

    def __init__(
        self,
        inner: Provider,
        gate: Gate,
        model: str,
        emit: Emit,
        *,
        patience: Patience | None = None,
        suspicions: Suspicions | None = None,
    ) -> None:
        super().__init__(inner)
        self._gate, self._model, self._emit = gate, model, emit
        self._patience, self._suspicions, self._now = patience, suspicions, gate.now
        gate.add_model(model)

    async def stream(self, call: Call) -> AsyncGenerator[Delta]:
        """Wait for a slot, then ask; raises QueueFull, Loading and what *inner* raises."""
        now = self._now
        wait = _Wait(self.name, self._model, self._gate, call, now(), self._patience, self._suspicions)
        served = False
        try:
            with queue_time.waiting():
                lease = await self._slot(call, wait)
            lease.call, silence = call, Silence(now(), call.deadline, call.idle)
            lease.silence = silence
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
        finally:
            if not served:
                wait.missed(now())

    async def load(self) -> None:
        """Load, and remember that it is."""
        await self.inner.load()
        self._gate.record_preload(self._model)

    async def _slot(self, call: Call, wait: _Wait) -> Lease:
        def queued(ahead: int) -> None:
            self._emit(RequestQueued(call.request_id, self.name, self._gate.group, ahead))
            wait.begin()

        until = before_deadline(call, self._now())
        try:
            return await self._gate.acquire(self.name, self._model, until, queued, tenant=call.tenant_id)
        finally:
            wait.end()

    def _lending(self, lease: Lease, call: Call, silence: Silence) -> AbstractContextManager[None]:
        """Lends the slot once the call is silent for too long."""
        patience = self._patience
        if patience is None or not self._gate.minds_silence:
            return _UNWATCHED
        return Watch(
            silence,
            lambda: patience.before_overtaking(self.name, call),
            lambda _: self._gate.mark_late(lease),
            soonest=patience.soonest,
            excused=lambda: self._gate.is_loading(self._model) or self._gate.is_on_trial(call),
        )

    def _watch(self, lease: Lease, delta: Delta) -> None:
        if delta.loading is not None:
            self._gate.record_load_time(lease, delta.loading)
        if delta.has_token or delta.final:
            self._gate.hear(lease)


_UNWATCHED = nullcontext()


class _Wait:
    """What a request's wait for a slot says about the provider, where calls to the same model hold the slots."""

    __slots__ = ("_began", "_call", "_gate", "_is_behind_own", "_model", "_name", "_patience", "_suspicions", "_watch")

    def __init__(
        self,
        name: str,
        model: str,
        gate: Gate,
        call: Call,
        began: float,
        patience: Patience | None,
        suspicions: Suspicions | None,
    ) -> None:
        self._name, self._model, self._gate, self._call, self._began = name, model, gate, call, began
        self._patience, self._suspicions = patience, suspicions
        self._watch: Watch | None = None
        self._is_behind_own = False

    def begin(self) -> None:
        """There is a wait: watch the calls that hold the slots."""
        patience, suspicions = self._patience, self._suspicions
        if patience is None or suspicions is None:
            return
        now = self._gate.now
        self._is_behind_own = bool(self._gate.silences_before(self._model))
        self._watch = Watch(
            QueuedSilence(
                Silence(self._began, self._call.deadline, self._call.idle),
                lambda: self._gate.silences_before(self._model),
            ),
            lambda: patience.before_suspicion(self._name, self._call),
            lambda silent: suspicions.of(self._name, self._call).late(silent, now()),
            soonest=patience.soonest,
            excused=self._is_loading,
        )
        self._watch.begin()

    def end(self) -> None:
        """The slot is there, or will not be."""
        if self._watch is not None:
            self._watch.end()
            self._watch = None  # they know each other

    def missed(self, now: float) -> None:
        """Note that the request was not answered, where it had all its time for it."""
        if self._suspicions is None or not self._is_behind_own or self._is_loading():
            return
        given = now - self._began
        if had_all_its_time(given, self._call.deadline - self._began):
            self._suspicions.of(self._name, self._call).missed(given, now)

    def _is_loading(self) -> bool:
        return self._gate.is_loading(self._model)

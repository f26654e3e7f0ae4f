"""The gate before one machine: the rules of ``queueing`` with requests really waiting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from llm_pool.core.errors import QueueFull
from llm_pool.qos.loaded_models import MIN_LOAD_TIME
from llm_pool.qos.queueing import Machine, QueueRefusal, Waiter, ahead_of, choose, evicted_by, refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from llm_pool.core.interfaces import Clock
    from llm_pool.qos.loaded_models import LoadedModels
    from llm_pool.qos.queueing import Limits

EWMA_WEIGHT = 0.3
"""Weight of the newest observation in what a model usually takes."""


class Lease:
    """
    A slot on the machine, until it is released.

    Attributes:
        model: what runs in it.
        cold: the model was not in memory when the slot was given, as far as we know, and has not written yet.
        late: the call has gone silent; others overtake it.
    """

    def __init__(self, model: str, began: float, *, cold: bool) -> None:
        self.model, self.began, self.cold = model, began, cold
        self.loading = 0.0
        self.late = False


class Gate:
    """
    Lets as many requests through to a machine as it has slots, in an order that loads few models.

    Shared by the providers of one group.

    Args:
        group: the machine's name.
        limits: slots, queue and memory.
        clock: the time.
        loaded_models: which models are in memory.
    """

    def __init__(self, group: str, limits: Limits, clock: Clock, loaded_models: LoadedModels) -> None:
        self.group = group
        self._limits, self._clock, self._loaded_models = limits, clock, loaded_models
        self._waiting: dict[Waiter, asyncio.Future[Lease]] = {}
        self._leases: set[Lease] = set()
        self._tickets = 0
        self._turn_began = 0.0
        self._loads: dict[str, float] = {}
        self._services: dict[str, float] = {}

    @property
    def loaded(self) -> tuple[str, ...]:
        """Models in memory or on their way there, as far as we know, least recently used first."""
        known = self._loaded_models.loaded
        return (*known, *{lease.model: None for lease in self._leases if lease.model not in known})

    @property
    def has_room(self) -> bool:
        """Whether a slot is free and nobody waits for it."""
        return len(self._leases) < self._limits.slots and not self._waiting

    def has_room_for(self, model: str) -> bool:
        """Whether a call to *model* would start at once: in a free slot, or beside calls that are silent."""
        if self.has_room:
            return True
        rivals = any(self._may_overtake(waiter.model) for waiter in self._waiting)
        return not rivals and len(self._punctual) < self._limits.slots and self._may_overtake(model)

    @property
    def busy(self) -> int:
        """Slots that are taken."""
        return len(self._leases)

    @property
    def slots(self) -> int:
        """Slots there are."""
        return self._limits.slots

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot."""
        return len(self._waiting)

    def learn_slots(self, slots: int) -> None:
        """Let through as many requests as the machine says it takes; *slots* >= 1."""
        self._limits = msgspec.structs.replace(self._limits, slots=slots)
        self._admit()

    def is_loading(self, model: str) -> bool:
        """Whether a call runs that *model* is being loaded for, to the backend's own knowledge."""
        return self._loaded_models.is_authoritative and any(
            lease.cold and lease.model == model for lease in self._leases
        )

    async def acquire(self, provider: str, model: str, deadline: float, queued: Callable[[int], None]) -> Lease:
        """
        Wait for a slot.

        Args:
            provider: who is to be asked; named in the error.
            model: what will run in the slot.
            deadline: instant after which the slot is of no use.
            queued: told, if the request has to wait, how many are ahead of it.

        Returns:
            The slot; give it back with ``release``.

        Raises:
            QueueFull: the queue is full, or no slot will be, or was, free in time.
        """
        await self._loaded_models.refresh()
        waiter = self._enter(provider, model, deadline)
        slot: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = slot
        try:
            self._admit()
            if not slot.done():
                queued(len(ahead_of(waiter, self._waiting, self._machine(), self._limits)))
            async with asyncio.timeout_at(deadline):
                return await slot
        except TimeoutError:
            self._abandon(waiter, slot)
            raise self._refusal(provider, QueueRefusal("late", self._usual_service_time(model))) from None
        except BaseException:
            self._abandon(waiter, slot)
            raise

    def release(self, lease: Lease, *, served: bool) -> None:
        """Give a slot back; *served*: the call was answered to its end, so its time tells something."""
        self._leases.discard(lease)
        if served:
            held = self._clock.now() - lease.began
            self._learn(self._services, lease.model, held - lease.loading)
        self._admit()

    def mark_late(self, lease: Lease) -> None:
        """Note that the call has gone silent: calls to other models that are in memory need not wait for it."""
        lease.late = True
        self._admit()

    def mark_loaded(self, lease: Lease) -> None:
        """Note the first word of an answer: its model is in memory."""
        lease.cold = False

    def record_load_time(self, lease: Lease, seconds: float) -> None:
        """Note what the backend says of the time it took to load."""
        lease.loading = seconds
        if seconds >= MIN_LOAD_TIME:
            self._learn(self._loads, lease.model, seconds)

    def mark_failed(self, lease: Lease) -> None:
        """Note that the call failed: a model that was being loaded is not there."""
        if lease.cold:
            self._loaded_models.mark_unloaded(lease.model)

    def record_preload(self, model: str) -> None:
        """Note that *model* was loaded ahead of any call."""
        self._loaded_models.mark_used(model, evicted_by(model, self._machine(), self._limits) or ())

    def _enter(self, provider: str, model: str, deadline: float) -> Waiter:
        now = self._clock.now()
        self._tickets += 1
        waiter = Waiter(model, deadline, now, self._tickets)
        refused = refuse(waiter, self._waiting, self._machine(), self._limits, now)
        if refused is not None:
            raise self._refusal(provider, refused)
        return waiter

    def _admit(self) -> None:
        """Give free slots to those whose turn it is."""
        while True:
            open_slots = [waiter for waiter, slot in self._waiting.items() if not slot.done()]
            chosen = choose(open_slots, self._machine(), self._limits, self._clock.now()) or self._overtaker(open_slots)
            if chosen is None:
                return
            self._waiting.pop(chosen).set_result(self._lend(chosen.model))

    def _overtaker(self, waiting: Collection[Waiter]) -> Waiter | None:
        """Who may go beside calls that are silent."""
        able = [waiter for waiter in waiting if self._may_overtake(waiter.model)]
        return choose(able, self._machine(self._punctual), self._limits, self._clock.now()) if able else None

    def _may_overtake(self, model: str) -> bool:
        """Whether silent calls are all that stands before *model*: another one, and in memory."""
        silent = {lease.model for lease in self._leases if lease.late}
        ready = model in self.loaded or not self._loaded_models.is_authoritative
        return bool(silent) and model not in silent and ready

    @property
    def _punctual(self) -> list[Lease]:
        return [lease for lease in self._leases if not lease.late]

    def _lend(self, model: str) -> Lease:
        cold = model not in self.loaded
        evicting = evicted_by(model, self._machine(), self._limits)
        self._loaded_models.mark_used(model, evicting or ())
        now = self._clock.now()
        if cold:
            self._turn_began = now
        lease = Lease(model, now, cold=cold)
        self._leases.add(lease)
        return lease

    def _abandon(self, waiter: Waiter, slot: asyncio.Future[Lease]) -> None:
        """Leave the queue, or give back a slot that came too late."""
        self._waiting.pop(waiter, None)
        if slot.done() and not slot.cancelled():
            self.release(slot.result(), served=False)
        else:
            self._admit()  # others may have held back for this one

    def _machine(self, leases: Collection[Lease] | None = None) -> Machine:
        """The machine as it stands, working on *leases* only; None: on all there are."""
        return Machine(
            loaded=self.loaded,
            running=[lease.model for lease in (self._leases if leases is None else leases)],
            turn_began=self._turn_began,
            sizes=self._loaded_models.sizes,
            loads=self._loads,
            services=self._services,
        )

    def _refusal(self, provider: str, refused: QueueRefusal) -> QueueFull:
        why = {
            "full": f"the queue before {self.group} is full",
            "late": f"no answer from {self.group} before the deadline, going by earlier ones",
        }[refused.why]
        return QueueFull(provider, f"{why} ({len(self._waiting)} waiting)", retry_after=refused.retry_after)

    def _usual_service_time(self, model: str) -> float:
        return self._services.get(model, 1.0)

    @staticmethod
    def _learn(what: dict[str, float], model: str, seconds: float) -> None:
        before = what.get(model, seconds)
        what[model] = before + EWMA_WEIGHT * (max(0.0, seconds) - before)

    def __repr__(self) -> str:
        slots = f"{len(self._leases)} of {self._limits.slots} slots"
        loaded = ", ".join(self.loaded) or "nothing"
        return f"<Gate {self.group} [{slots}, {len(self._waiting)} waiting | {loaded} loaded]>"

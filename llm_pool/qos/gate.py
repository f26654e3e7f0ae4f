"""The gate before one machine: the rules of ``queueing`` with requests really waiting."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from llm_pool.core.errors import Loading, QueueFull
from llm_pool.core.time_limit import TimeLimit
from llm_pool.qos.fair_queueing import Turns, displaced_by
from llm_pool.qos.loaded_models import MIN_LOAD_TIME
from llm_pool.qos.model_load import UNKNOWN_LOAD_TIME, ModelLoad, rest_of_load
from llm_pool.qos.queueing import (
    MIN_RETRY_AFTER,
    Machine,
    QueueRefusal,
    Waiter,
    ahead_of,
    choose,
    evicted_by,
    must_load,
    refuse,
)
from llm_pool.qos.slot_trial import SlotsSeen, SlotTrial
from llm_pool.qos.waiting_line import WaitingLine

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from llm_pool.core.interfaces import Clock
    from llm_pool.core.messages import Call
    from llm_pool.qos.loaded_models import LoadedModels
    from llm_pool.qos.model_load import LoadModel, LoadOutcome
    from llm_pool.qos.queueing import Limits
    from llm_pool.qos.silence import Silence

EWMA_WEIGHT = 0.3
"""Weight of the newest observation in what a model usually takes."""
Eviction: TypeAlias = Literal["nothing", "perhaps", "idle"]
MIN_LOAD_PAUSE, MAX_LOAD_PAUSE = 10.0, 600.0
"""
Seconds after a load that came to nothing in which calls go straight to the backend: its own words say what is wrong.
They double each time: some models are never listed (Ollama's cloud models, or any where it keeps none).
"""


class _Displaced(Exception):
    """A request left a full queue for one of a tenant who has fewer in it."""


class Lease:
    """
    A slot on the machine, until it is released.

    Attributes:
        model: what runs in it.
        cold: the model was not in memory when the slot was given, as far as we know, and has not written yet.
        loading: seconds the backend says it took to load the model for this call.
        spoke: the model has written.
        on_trial: it was one more than the model was seen to take: its time says nothing of the model.
        late: the call has gone silent; others overtake it.
        silence: what is heard of the call; None: nobody listens.
        call: what runs in it, once it does.
    """

    def __init__(self, model: str, began: float, *, cold: bool) -> None:
        self.model, self.began, self.cold = model, began, cold
        self.loading, self.spoke, self.late, self.on_trial = 0.0, False, False, False
        self.silence: Silence | None = None
        self.call: Call | None = None


class Gate:
    """
    Lets as many requests through to a machine as it has slots, in an order that loads few models, and loads them.

    Shared by the providers of one group. Where the machine says what it holds, a model is loaded before it is called,
    one at a time, and to its end, whoever asked for it: a backend that loads for a call stops when that call leaves.

    Args:
        group: the machine's name.
        limits: slots, queue and memory; how many models fit is learned where neither that nor memory is set.
        clock: the time.
        loaded_models: which models are in memory.
        learns_slots: how many calls a model takes at once is learned beyond *limits*.

    Attributes:
        now: the time that it goes by.
    """

    def __init__(
        self, group: str, limits: Limits, clock: Clock, loaded_models: LoadedModels, *, learns_slots: bool = False
    ) -> None:
        self.group, self.now = group, clock.now
        self._limits, self._clock, self._loaded_models = limits, clock, loaded_models
        self._waiting = WaitingLine[Waiter]()
        self._slots: dict[Waiter, asyncio.Future[Lease]] = {}
        self._models: set[str] = set()
        self._leases: set[Lease] = set()
        self._tickets, self._turns = 0, Turns()
        self._turn_began = 0.0
        self._loads: dict[str, float] = {}
        self._services: dict[str, float] = {}
        self._loaders: dict[str, LoadModel] = {}
        self._vain_loads: dict[str, tuple[int, float]] = {}
        self._unlisted: set[str] = set()
        self._silent: set[str] = set()
        self._load: ModelLoad | None = None
        self._learns_slots, self._slots_seen = learns_slots, SlotsSeen()
        self._trial: SlotTrial[Lease] | None = None
        self._closed = False

    def add_model(self, model: str) -> None:
        """Note that calls to *model* come through here."""
        self._models.add(model)

    @property
    def minds_silence(self) -> bool:
        """Whether it makes a difference here that a call goes silent: to another model, or to a trial."""
        return len(self._models) > 1 or self._learns_slots

    def add_loader(self, model: str, load: LoadModel) -> None:
        """Let *load* bring in *model* before it is called."""
        self._loaders.setdefault(model, load)

    @property
    def loaded(self) -> tuple[str, ...]:
        """Models in memory or on their way there, as far as we know, least recently used first."""
        leaving = self._load.evicting if self._load is not None else ()
        known = [model for model in self._loaded_models.loaded if model not in leaving]
        coming = [lease.model for lease in self._leases] + ([self._load.model] if self._load is not None else [])
        return tuple(dict.fromkeys((*known, *coming)))

    @property
    def has_room(self) -> bool:
        """Whether a slot is free and nobody waits for it."""
        return len(self._leases) < self._limits.most and (not self._waiting or self._load is not None)

    def has_room_for(self, model: str) -> bool:
        """Whether a call to *model* would start at once: in a free slot, or beside calls that are silent."""
        if self.has_room and self._has_slot_for(model):
            return True
        rivals = any(self.may_overtake(waited_for) for waited_for in self._waiting.models)
        return not rivals and self.may_overtake(model) and self._has_slot_for(model, self._punctual)

    def silences_before(self, model: str) -> list[Silence]:
        """
        The silences of the calls that a call to *model* waits for.

        None where it waits for something else too: for a load, or for calls to another model.
        """
        if self._has_slot_for(model) or any(lease.model != model for lease in self._leases):
            return []
        return [lease.silence for lease in self._leases if lease.silence is not None]

    @property
    def busy(self) -> int:
        """Slots that are taken."""
        return len(self._leases)

    @property
    def slots(self) -> int:
        """Slots there are."""
        return self._limits.most

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot."""
        return len(self._waiting)

    def is_loaded(self, model: str) -> bool:
        """Whether *model* answers without a loading time, as far as we know; one that nobody can tell of does."""
        if not self._loaded_models.is_authoritative or model in self._unlisted:
            return True
        return self._is_known(model) and not self.is_loading(model)

    def learn_slots(self, slots: int) -> None:
        """Let through as many requests as the machine says it takes; *slots* >= 1."""
        self._limits = msgspec.structs.replace(self._limits, slots=slots)
        self._admit()

    def is_on_trial(self, call: Call) -> bool:
        """Whether *call*, which has a slot, may be waiting in the machine's own queue behind others that write."""
        return self._trial is not None and self._trial.is_waiting and self._trial.newcomer.call is call

    def is_loading(self, model: str) -> bool:
        """Whether *model* is being loaded, to the backend's own knowledge."""
        return self._loaded_models.is_authoritative and (
            (self._load is not None and self._load.model == model)
            or any(lease.cold and lease.model == model for lease in self._leases)
        )

    def usual_load_time(self, model: str) -> float | None:
        """Seconds that *model* took to load of late; where it never did, what the others took; None: nobody knows."""
        return self._loads.get(model, sum(self._loads.values()) / len(self._loads) if self._loads else None)

    def load_time(self, model: str) -> float:
        """Seconds until *model* is loaded, as far as can be told; 0 if it is."""
        if self.is_loaded(model):
            return 0.0
        own = self.usual_load_time(model) or UNKNOWN_LOAD_TIME
        if self._load is None:
            return own
        usual = self.usual_load_time(self._load.model) or UNKNOWN_LOAD_TIME
        rest = rest_of_load(usual, self._load.elapsed())
        return rest if self._load.model == model else rest + own

    def load_ahead(self, model: str, *, evicting: Eviction) -> bool:
        """
        Begin to load *model* though nobody waits for it, and say whether that was done.

        It is not where the model is there, or another one is being loaded.

        Args:
            model: what to load.
            evicting: what may be put out for it while nobody waits: ``nothing``; ``perhaps`` a model, as long as
                nothing that was seen says that both do not fit; whatever is ``idle``.
        """
        machine, limits = self._machine(), self._limits_now()
        if self._closed or self._load is not None or not must_load(model, machine):
            return False
        evicted = evicted_by(model, machine, limits)
        learns = limits is not self._limits and self._loaded_models.capacity.may_hold(len(machine.loaded) + 1)
        if evicted is None or (evicted and (self._waiting or evicting == "nothing")):
            return False
        if evicted and evicting == "perhaps" and not learns:
            return False
        self._begin_load(model, evicted)
        return True

    async def loads_ended(self) -> None:
        """Wait until nothing is being loaded."""
        while self._load is not None:
            await self._load.wait()

    async def aclose(self) -> None:
        """End the load there is, and begin no other."""
        self._closed = True
        if self._load is not None:
            await self._load.aclose()

    async def acquire(
        self, provider: str, model: str, deadline: float, queued: Callable[[int], None], *, tenant: str = ""
    ) -> Lease:
        """
        Wait for a slot.

        Args:
            provider: who is to be asked; named in the error.
            model: what will run in the slot.
            deadline: instant after which the slot is of no use.
            queued: told, if the request has to wait, how many are ahead of it.
            tenant: whose request it is; tenants have turns.

        Returns:
            The slot; give it back with ``release``.

        Raises:
            QueueFull: the queue is full, or no slot will be, or was, free in time.
            Loading: the model was not loaded in time; its loading goes on.
        """
        if self._loaded_models.is_stale():
            await self._loaded_models.refresh()
        self._forget_slots_of_unloaded()
        if self._is_free_for(model) and self._clock.now() < deadline:
            self._turns.serve(tenant, last=True)
            return self._lend(model, ())
        waiter = self._enter(provider, model, deadline, tenant)
        slot: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        self._slots[waiter] = slot
        try:
            self._admit()
            if not slot.done():
                self._keep_to_limit(waiter)
                queued(len(ahead_of(waiter, self._waiting, self._machine(), self._limits_now())))
            with TimeLimit(deadline):
                return await slot
        except TimeoutError:
            self._abandon(waiter, slot)
            raise self._too_late(provider, model) from None
        except _Displaced:
            wait = self._services.get(model, MIN_RETRY_AFTER)
            raise self._refusal(provider, QueueRefusal("full", max(MIN_RETRY_AFTER, wait))) from None
        except BaseException:
            self._abandon(waiter, slot)
            raise

    def release(self, lease: Lease, *, served: bool) -> None:
        """Give a slot back; *served*: the call was answered to its end, so its time tells something."""
        self._leases.discard(lease)
        if self._trial is not None and self._trial.involves(lease):
            self._end_trial_in_vain()
        if served:
            self._silent.discard(lease.model)
        if served and not lease.on_trial:
            held = self._clock.now() - lease.began
            self._learn(self._services, lease.model, held - lease.loading)
        elif not served and not lease.spoke:
            self._loaded_models.doubt()  # somebody else may have put its model out
        if self._waiting:
            self._admit()

    def mark_late(self, lease: Lease) -> None:
        """Note that the call has gone silent: calls to other models that are in memory need not wait for it."""
        lease.late = True
        self._silent.add(lease.model)
        trial = self._trial
        if trial is not None and trial.is_waiting and all(rival.late for rival in trial.rivals):
            trial.newcomer.late = True  # it waits for them, or hangs as they do
            self._end_trial_in_vain()
        self._admit()

    def hear(self, lease: Lease) -> None:
        """Note a word of an answer: its model is in memory, and may be seen to answer beside others."""
        is_first, lease.cold, lease.spoke = not lease.spoke, False, True
        if self._trial is not None:
            if self._trial.hear(lease, self._clock.now()):
                self._end_trial_well(self._trial)
        elif is_first and self._waiting:
            self._admit()

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
        self._loaded_models.mark_used(model, evicted_by(model, self._machine(), self._limits_now()) or ())

    def _is_free_for(self, model: str) -> bool:
        """Whether a call to *model* begins at once, as the rules would have it: no wait, no load, a free slot."""
        is_idle = not self._waiting and self._load is None and self._has_slot_for(model)
        return is_idle and not self._closed and model in self._loaded_models.loaded

    def _has_slot_for(self, model: str, leases: Collection[Lease] | None = None) -> bool:
        """Whether a call to *model* has a slot beside *leases*; None: beside all there are."""
        running = self._leases if leases is None else leases
        if len(running) >= self._limits.most:
            return False
        return self._limits.has_slot_for(model, [lease.model for lease in running])

    def _enter(self, provider: str, model: str, deadline: float, tenant: str) -> Waiter:
        now = self._clock.now()
        self._tickets += 1
        waiter = Waiter(model, deadline, now, self._tickets, tenant)
        refused = refuse(waiter, self._waiting, self._machine(), self._limits_now(), now)
        if (
            refused is not None and refused.why == "late" and self.may_overtake(model)
        ):  # it waits for none of the silent
            rivals = [each for each in self._waiting if self.may_overtake(each.model)]
            refused = refuse(waiter, rivals, self._machine(self._punctual), self._limits_now(), now)
        if refused is not None:
            raise self._refusal(provider, refused)
        return waiter

    def _keep_to_limit(self, newcomer: Waiter) -> None:
        """Let another tenant's request leave where the queue is too long since *newcomer* waits in it."""
        if len(self._waiting) <= self._limits.queue:
            return
        displaced = displaced_by(newcomer, [waiter for waiter in self._waiting if waiter is not newcomer])
        if displaced is not None:
            self._waiting.discard(displaced)
            self._slots.pop(displaced).set_exception(_Displaced())

    def _admit(self) -> None:
        """Give free slots to those whose turn it is, and load the model of one whose turn that is."""
        while self._waiting and not self._closed and not self._is_plainly_full():
            machine = self._machine()
            chosen = choose(self._waiting, machine, self._limits_now(), self._clock.now()) or self._overtaker()
            on_trial = chosen is None and self._may_try()
            if on_trial:
                chosen = choose(self._waiting, self._machine(()), self._limits_now(), self._clock.now())
            if chosen is None:
                return
            if self._slots[chosen].done():  # it leaves: its time is over, or its asker has gone
                self._waiting.discard(chosen)
                continue
            evicted = evicted_by(chosen.model, machine, self._limits_now()) or ()
            if must_load(chosen.model, machine):
                self._begin_load(chosen.model, evicted)
            else:
                self._waiting.discard(chosen)
                slot = self._slots.pop(chosen)
                self._turns.serve(chosen.tenant, last=not self._waiting)
                slot.set_result(self._lend(chosen.model, evicted, on_trial=on_trial))

    def _is_plainly_full(self) -> bool:
        """Whether all slots are taken, and no other rule than theirs has a say: as most of the time where many wait."""
        if len(self._leases) < self._limits.most or self._learns_slots or any(lease.late for lease in self._leases):
            return False
        return all(self._is_known(model) for model in self._waiting.models)

    def _overtaker(self) -> Waiter | None:
        """Who may go beside calls that are silent."""
        models = {model for model in self._waiting.models if self.may_overtake(model)}
        able = [waiter for waiter in self._waiting if waiter.model in models] if models else []
        return choose(able, self._machine(self._punctual), self._limits_now(), self._clock.now()) if able else None

    def may_overtake(self, model: str) -> bool:
        """Whether silent calls are all that stands before *model*: another one, and in memory."""
        silent = {lease.model for lease in self._leases if lease.late}
        return bool(silent) and model not in silent and self.is_loaded(model)

    def _may_try(self) -> bool:
        """Whether to see if the machine takes one call more: all that run, and all that wait, are for one model."""
        if not self._learns_slots or self._trial is not None or self._load is not None:
            return False
        if len(self._waiting.models) != 1:
            return False
        model = next(iter(self._waiting.models))
        if any(lease.model != model or lease.late or not lease.spoke for lease in self._leases):
            return False
        return self._slots_seen.may_try(model, len(self._leases), self._clock.now())

    def _end_trial_in_vain(self) -> None:
        if self._trial is not None:
            self._slots_seen.not_seen(self._trial.newcomer.model, self._clock.now())
            self._trial = None

    def _end_trial_well(self, trial: SlotTrial[Lease]) -> None:
        self._slots_seen.side_by_side(trial.newcomer.model, trial.slots)
        self._trial = None
        self._limits = msgspec.structs.replace(self._limits, slots_of_models=self._slots_seen.slots)
        self._admit()

    def _forget_slots_of_unloaded(self) -> None:
        """The number of calls is set when a model is loaded: what was seen of one that is gone counts no more."""
        if self._loaded_models.is_authoritative and self._slots_seen.keep(self._loaded_models.loaded):
            self._limits = msgspec.structs.replace(self._limits, slots_of_models=self._slots_seen.slots)

    @property
    def _punctual(self) -> list[Lease]:
        return [lease for lease in self._leases if not lease.late]

    def _lend(self, model: str, evicting: tuple[str, ...], *, on_trial: bool = False) -> Lease:
        cold = not self._is_known(model)
        self._loaded_models.mark_used(model, evicting)
        now = self._clock.now()
        if cold:
            self._turn_began = now
        lease = Lease(model, now, cold=cold)
        lease.late = model in self._silent  # nobody waits for it a second time before it has answered
        if on_trial:
            lease.on_trial = True
            self._trial = SlotTrial(lease, self._leases)
        self._leases.add(lease)
        return lease

    def _is_known(self, model: str) -> bool:
        """Whether *model* is among ``loaded``."""
        if self._load is None and model in self._loaded_models.loaded:
            return True
        return model in self.loaded

    def _begin_load(self, model: str, evicting: tuple[str, ...]) -> None:
        load = self._loaders[model]
        self._load = ModelLoad(model, evicting, load, self._loaded_models, self._clock, self._load_ended)

    def _load_ended(self, load: ModelLoad, outcome: LoadOutcome, took: float) -> None:
        self._load, self._turn_began = None, self._clock.now()
        self._unlisted.discard(load.model)
        match outcome:
            case "loaded":
                self._vain_loads.pop(load.model, None)
                self._learn(self._loads, load.model, took)
            case "unlisted":
                self._unlisted.add(load.model)
                self._pause_loads(load.model)
            case "failed":
                self._pause_loads(load.model)
        self._admit()

    def _pause_loads(self, model: str) -> None:
        times, _ = self._vain_loads.get(model, (0, 0.0))
        pause = min(MIN_LOAD_PAUSE * 2.0 ** min(times, 32), MAX_LOAD_PAUSE)
        self._vain_loads[model] = times + 1, self._clock.now() + pause

    def _abandon(self, waiter: Waiter, slot: asyncio.Future[Lease]) -> None:
        """Leave the queue, or give back a slot that came too late."""
        self._waiting.discard(waiter)
        self._slots.pop(waiter, None)
        if slot.done() and not slot.cancelled():
            self.release(slot.result(), served=False)
        else:
            self._admit()  # others may have held back for this one

    def _machine(self, leases: Collection[Lease] | None = None) -> Machine:
        """The machine as it stands, working on *leases* only; None: on all there are."""
        return Machine(
            loaded=self.loaded,
            loading=None if self._load is None else self._load.model,
            loadable=self._loadable(),
            running=[lease.model for lease in (self._leases if leases is None else leases)],
            turn_began=self._turn_began,
            turns_ahead=self._turns.ahead,
            sizes=self._loaded_models.sizes,
            loads=self._loads,
            services=self._services,
        )

    def _loadable(self) -> set[str]:
        if not self._loaded_models.is_authoritative:
            return set()
        now = self._clock.now()
        return {model for model in self._loaders if now >= self._vain_loads.get(model, (0, -math.inf))[1]}

    def _limits_now(self) -> Limits:
        """The limits, with as many models as the machine was seen to hold where the configuration does not say."""
        limits = self._limits
        if limits.max_loaded is not None or limits.memory is not None or not self._loaded_models.has_told:
            return limits
        return msgspec.structs.replace(limits, max_loaded=self._loaded_models.capacity.at_least)

    def _too_late(self, provider: str, model: str) -> QueueFull | Loading:
        if self._load is None or self._load.model != model:
            return self._refusal(provider, QueueRefusal("late", self._services.get(model, 1.0)))
        usual = self.usual_load_time(model)
        usually = "" if usual is None else f", which usually takes {usual:.1f} s"
        return Loading(provider, f"{model} has been loading for {self._load.elapsed():.1f} s{usually}; that goes on")

    def _refusal(self, provider: str, refused: QueueRefusal) -> QueueFull:
        why = {
            "full": f"the queue before {self.group} is full",
            "late": f"no answer from {self.group} before the deadline, going by earlier ones",
        }[refused.why]
        return QueueFull(provider, f"{why} ({len(self._waiting)} waiting)", retry_after=refused.retry_after)

    @staticmethod
    def _learn(what: dict[str, float], model: str, seconds: float) -> None:
        before = what.get(model, seconds)
        what[model] = before + EWMA_WEIGHT * (max(0.0, seconds) - before)

    def __repr__(self) -> str:
        slots = f"{len(self._leases)} of {self._limits.most} slots"
        loaded = ", ".join(self.loaded) or "nothing"
        return f"<Gate {self.group} [{slots}, {len(self._waiting)} waiting | {loaded} loaded]>"

"""
Who is served next on one machine: a pure rule.

A machine runs a few calls at once (*slots*) and holds a few models in memory. A request for a model that is not
there costs a load, and often an eviction: served in order of arrival, ``A B A B`` loads four times where
``A A B B`` loads twice.

Rules:

- A request is *ready* when its model is in memory, *costly* when the model must be loaded first. A load is the
  machine's own act and outlives the request that asked for it: it takes no slot, and there is one at a time.
- A model that surely fits beside what is there is loaded at once; its requests wait for it, the others go on.
- Any other load may put a model out. Ready requests go before it: tenants in turn (``fair_queueing``), and of each
  tenant's the earliest deadline first (EDF).
- Its wait is bounded: once it has waited for ``Limits.batch_wait``, or ``MIN_LOAD_TIMES`` times its model's load time
  if longer (more swaps than that and the machine mostly swaps), the present models have had a turn that long, and one
  that came later by more than ``Limits.batch_wait`` would pass it by, a swap is *due*; after half of the request's
  time it is due in any case. Of those that are due the one that came first is next. Ready ones hold back until the
  calls that use the evicted model have ended. What came together is so served with one load for each model.
- With no ready request waiting, the costly one whose turn is first is next at once: a free slot never idles
  while a request could run.
- A request is refused on arrival when the queue is full (unless another tenant has more than its share of it: then that
  one's least urgent request leaves), or when the wait for those ahead, as far as it can be told,
  ends after its deadline: early, with the seconds after which asking again makes sense (at least ``MIN_RETRY_AFTER``).
  What is unknown counts as no time at all. Its own model's load is no reason: it has to begin some time.

::

    waiting (EDF)        in memory      patience spent            next
    A1 B1 A2 B2          A              no                        A1, then A2, then a swap, B1, B2
    A1 B1 A2 B2          A              by B1, before A2 came     a swap, B1, then B2 (B's turn), then A1, A2

Sources: Liu & Layland, JACM 20(1), 1973 (EDF); Iyer & Druschel, Anticipatory scheduling, SOSP 2001, and the elevator
(serve together what lies together, within a bound); llama-swap issues 612 and 1004 (collate, budget of memory);
Ollama's scheduler (evicts the idle, least recently used first; never a model that is answering).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from llm_pool.qos.fair_queueing import displaced_by, in_turn
from llm_pool.qos.waiting_line import WaitingLine

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

MIN_RETRY_AFTER = 0.1
MIN_LOAD_TIMES = 8.0  # load times: while others wait, at most a ninth of the machine's time goes into loading


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one machine can do.

    Attributes:
        slots: calls at once, >= 1.
        slots_of_models: calls at once to those models that take more of them.
        queue: requests that may wait, >= 0.
        max_loaded: models in memory at once; None: as many as fit.
        memory: megabytes for models; None: unknown, everything fits.
        batch_wait: seconds that requests for models in memory may go before one that would evict them.
    """

    slots: int = 1
    slots_of_models: Mapping[str, int] = msgspec.field(default_factory=dict)
    queue: int = 64
    max_loaded: int | None = None
    memory: float | None = None
    batch_wait: float = 2.0

    @property
    def most(self) -> int:
        """Calls at once to all models together."""
        return max(self.slots, *self.slots_of_models.values(), 1) if self.slots_of_models else self.slots

    def has_slot_for(self, model: str, running: Sequence[str]) -> bool:
        """Whether a call to *model* may begin beside *running* ones, each told by its model."""
        if not self.slots_of_models:
            return len(running) < self.slots
        return len(running) < self.most and running.count(model) < self.slots_of_models.get(model, self.slots)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """
    A machine as it stands.

    Attributes:
        loaded: models in memory, least recently used first, with the one that is being loaded.
        loading: the model that is being loaded now, if any.
        loadable: models that are loaded ahead of their calls; a call for another one brings its model in itself.
        running: the model of each call that runs.
        turn_began: instant at which the latest load ended.
        sizes: megabytes a model takes; one that is missing is unknown and counts as nothing.
        turns_ahead: turns that a tenant had more than others who wait; see ``fair_queueing``.
        loads, services: seconds a model usually takes to load, and to answer one call; likewise.
    """

    loaded: Sequence[str] = ()
    loading: str | None = None
    loadable: Collection[str] = ()
    running: Sequence[str] = ()
    turn_began: float = 0.0
    turns_ahead: Mapping[str, float] = msgspec.field(default_factory=dict)
    sizes: Mapping[str, float] = msgspec.field(default_factory=dict)
    loads: Mapping[str, float] = msgspec.field(default_factory=dict)
    services: Mapping[str, float] = msgspec.field(default_factory=dict)


class Waiter(msgspec.Struct, frozen=True):
    """A request of *tenant* that waits: *deadline* and *arrived* are instants, *ticket* tells equals apart."""

    model: str
    deadline: float
    arrived: float
    ticket: int
    tenant: str = ""

    @property
    def urgency(self) -> tuple[float, float, int]:
        """Sorts the earliest deadline first."""
        return self.deadline, self.arrived, self.ticket


class QueueRefusal(msgspec.Struct, frozen=True):
    """No place in the queue: it is *full*, or the request would be *late*; *retry_after* in seconds."""

    why: Literal["full", "late"]
    retry_after: float


def evicted_by(model: str, machine: Machine, limits: Limits) -> tuple[str, ...] | None:
    """
    Models that leave memory when *model* is asked for; None while they cannot, because they are answering.

    A model too large for the machine may still run when it is alone: its backend knows better.
    """
    if model in machine.loaded:
        return ()
    staying, leaving = list(machine.loaded), []
    while staying and not _fits([*staying, model], machine, limits):
        idle = next((each for each in staying if each not in machine.running), None)
        if idle is None:
            return None
        staying.remove(idle)
        leaving.append(idle)
    return tuple(leaving)


def choose(waiting: Collection[Waiter], machine: Machine, limits: Limits, now: float) -> Waiter | None:
    """
    The request whose turn it is: for a slot, or (``must_load``) for the load of its model.

    None when it is nobody's: all slots are taken, the model is on its way, or a swap waits for calls to end.
    """
    line = WaitingLine.of(waiting)
    cheap, dear = _by_cost(line.models, machine, limits)
    if machine.loading is None and dear:
        ready, costly = (_in_turn(line, models, machine) for models in (cheap, dear))
        beside = next((w for w in costly if evicted_by(w.model, machine, limits) == ()), None)
        if beside is not None:
            return beside
        due = [waiter for waiter in costly if _is_due(waiter, ready, machine, limits, now)]
        if due or not ready:
            first = min(due, key=lambda waiter: (waiter.arrived, waiter.ticket)) if due else next(iter(costly), None)
            if first is None or evicted_by(first.model, machine, limits) is None:
                return None
            return (
                first if must_load(first.model, machine) or limits.has_slot_for(first.model, machine.running) else None
            )
    free = {model for model in cheap if limits.has_slot_for(model, machine.running)}
    return line.first(cheap, free, machine.turns_ahead) if free else None


def must_load(model: str, machine: Machine) -> bool:
    """Whether *model* has to be loaded before a call for it may run."""
    return model in machine.loadable and model not in machine.loaded


def refuse(
    newcomer: Waiter, waiting: Collection[Waiter], machine: Machine, limits: Limits, now: float
) -> QueueRefusal | None:
    """Why *newcomer* should not even wait; None if it may."""
    own_load = 0.0 if newcomer.model in machine.loaded else machine.loads.get(newcomer.model, 0.0)
    wait = expected_wait(newcomer, waiting, machine, limits) - own_load
    if now + wait >= newcomer.deadline:
        return QueueRefusal("late", max(MIN_RETRY_AFTER, now + wait - newcomer.deadline))
    if len(waiting) < limits.queue or choose([*waiting, newcomer], machine, limits, now) is newcomer:
        return None
    return QueueRefusal("full", max(MIN_RETRY_AFTER, wait)) if displaced_by(newcomer, waiting) is None else None


def ahead_of(waiter: Waiter, waiting: Collection[Waiter], machine: Machine, limits: Limits) -> list[Waiter]:
    """Who is likely to be served before *waiter*: those whose turn is earlier, the costly only before a costly one."""
    line = WaitingLine.of(waiting)
    cheap, dear = _by_cost(line.models, machine, limits)
    before = line.before(waiter, cheap, machine.turns_ahead)
    if not dear or evicted_by(waiter.model, machine, limits) == ():
        return before
    return before + line.before(waiter, dear, machine.turns_ahead)


def expected_wait(waiter: Waiter, waiting: Collection[Waiter], machine: Machine, limits: Limits) -> float:
    """
    Seconds until *waiter* is answered from memory: who runs, who is ahead, and the loads between.

    Calls that run are taken to be half done. Unknown times count as none, so this is a lower bound.
    """
    ahead = ahead_of(waiter, waiting, machine, limits)
    work = sum(machine.services.get(each.model, 0.0) for each in ahead)
    if ahead or not limits.has_slot_for(waiter.model, machine.running):
        work += sum(machine.services.get(model, 0.0) for model in machine.running) / 2
    to_load = {each.model for each in (*ahead, waiter)}.difference(machine.loaded)
    return work / limits.most + sum(machine.loads.get(model, 0.0) for model in to_load)


def _by_cost(models: Collection[str], machine: Machine, limits: Limits) -> tuple[set[str], set[str]]:
    """The *models* whose requests are ready, and those that are costly; the one that is being loaded is neither."""
    others = {model for model in models if model != machine.loading}
    cheap = {m for m in others if evicted_by(m, machine, limits) == () and not must_load(m, machine)}
    return cheap, others - cheap


def _in_turn(line: WaitingLine[Waiter], models: Collection[str], machine: Machine) -> list[Waiter]:
    """Those who wait for *models*, in the order to serve."""
    return in_turn((waiter for waiter in line if waiter.model in models), machine.turns_ahead)


def _is_due(waiter: Waiter, ready: Collection[Waiter], machine: Machine, limits: Limits, now: float) -> bool:
    waited = now - max(waiter.arrived, machine.turn_began)
    if waited >= (waiter.deadline - waiter.arrived) / 2:
        return True
    usual = sum(machine.loads.values()) / len(machine.loads) if machine.loads else 0.0
    turn = max(limits.batch_wait, MIN_LOAD_TIMES * machine.loads.get(waiter.model, usual))
    return waited >= turn and any(other.arrived > waiter.arrived + limits.batch_wait for other in ready)


def _fits(models: Sequence[str], machine: Machine, limits: Limits) -> bool:
    if limits.max_loaded is not None and len(models) > limits.max_loaded:
        return False
    return limits.memory is None or sum(machine.sizes.get(model, 0.0) for model in models) <= limits.memory

"""How parts fit together: the policies around a backend, the machines behind the groups, the five strategies."""

from __future__ import annotations

import asyncio
import math
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from llm_pool.config import Driver, Hedge
from llm_pool.core.messages import StrategyName
from llm_pool.ensemble.fastest import Fastest
from llm_pool.qos.breaking import Breaking
from llm_pool.qos.concurrency_limit import ConcurrencyLimited
from llm_pool.qos.gate import Gate
from llm_pool.qos.known_abilities import KnownAbilities
from llm_pool.qos.loaded_models import LoadedModels
from llm_pool.qos.model_context import ModelContexts
from llm_pool.qos.patience import Patience
from llm_pool.qos.prompt_variant import PromptVariant
from llm_pool.qos.queueing import Limits
from llm_pool.qos.retrying import Retrying
from llm_pool.qos.slot_count import SlotCount
from llm_pool.qos.suspecting import Suspecting
from llm_pool.qos.timed import Timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from random import Random

    from llm_pool.config import Config, ProviderSettings
    from llm_pool.core.interfaces import Clock, Emit, Member, Provider, Strategy
    from llm_pool.core.messages import Attempt, Call, Decision
    from llm_pool.ensemble.consensus import Consensus, Fallback
    from llm_pool.ensemble.entailment import Entailment
    from llm_pool.ensemble.formulas import Formulas
    from llm_pool.ensemble.judge import Decider, Judge
    from llm_pool.ensemble.voting import Voting
    from llm_pool.ensemble.weighted import Weighted
    from llm_pool.qos.breaking import Breakers
    from llm_pool.qos.budget import Budget
    from llm_pool.qos.gate import Eviction
    from llm_pool.qos.latency import Latencies
    from llm_pool.qos.model_load import LoadModel
    from llm_pool.qos.shared_slots import SharedSlots
    from llm_pool.qos.suspecting import Suspicions
    from llm_pool.tasks import TaskRegistry
    from llm_pool.trust.model import Trust


class SharedParts(msgspec.Struct, frozen=True, kw_only=True):
    """What all providers and strategies of one pool share."""

    config: Config
    clock: Clock
    rng: Random
    budget: Budget
    latencies: Latencies
    breakers: Breakers
    suspicions: Suspicions
    patience: Patience
    trust: Trust
    shared_slots: SharedSlots | None
    emit: Emit

    def is_suspect(self, member: Member, call: Call) -> bool:
        """Whether *member* was silent the last few times."""
        return self.suspicions.is_suspect(member.name, call, self.patience)

    def vote_patience(self, member: Member, call: Call) -> float:
        """How long *member*'s vote is waited for in silence; while its model is loaded silence means nothing."""
        if not member.loaded:
            return math.inf
        return self.patience.before_deciding(member.name, call, suspect=member.suspect)


class Machines:
    """
    The machines behind the providers' groups: their gates, and what they hold in memory.

    Attributes:
        abilities: of the models on them.
    """

    def __init__(self, shared: SharedParts) -> None:
        self._config, self._clock = shared.config, shared.clock
        self._gates: dict[str, Gate] = {}
        self._loaded_models: dict[str, LoadedModels] = {}
        self._looked_at: list[LoadedModels | SlotCount] = []
        self.abilities = KnownAbilities(shared.clock)

    def gate(self, settings: ProviderSettings, bare: Provider, load: LoadModel) -> Gate:
        """
        The gate of the provider's group.

        The first provider of a group that can tell is asked what is loaded, and for its slots; *load* then brings in
        its model there.
        """
        group, list_loaded = settings.machine, getattr(bare, "loaded", None)
        if group not in self._gates:
            loaded_models = LoadedModels(self._clock, list_loaded)
            self._loaded_models[group] = loaded_models
            self._looked_at.append(loaded_models)
            count_slots = getattr(bare, "slots", None) if self._config.group(group).slots is None else None
            is_silent = count_slots is None and list_loaded is not None and self._config.group(group).slots is None
            self._gates[group] = gate = Gate(
                group, self._limits(group), self._clock, loaded_models, learns_slots=is_silent
            )
            if count_slots is not None:
                self._looked_at.append(SlotCount(self._clock, count_slots, gate.learn_slots))
        self.abilities.add(bare)
        if list_loaded is not None:
            self._gates[group].add_loader(model_name(settings), load)
        return self._gates[group]

    def are_stale(self) -> bool:
        """Whether some machine is due to be looked at."""
        return any(each.is_stale() for each in self._looked_at)

    async def refresh(self) -> None:
        """Refresh what is known of each machine's memory and slots, where that is due."""
        await asyncio.gather(*(each.refresh() for each in self._looked_at if each.is_stale()))

    @property
    def gates(self) -> tuple[Gate, ...]:
        """One for each group."""
        return tuple(self._gates.values())

    def load_time(self, member: Member) -> float:
        """Seconds until the member's model is in memory, as far as can be told; 0 if it is, or nobody can tell."""
        return self._gates[member.group].load_time(member.model)

    def usual_load_time(self, member: Member) -> float | None:
        """Seconds that the member's model took to load of late; None: nobody knows."""
        return self._gates[member.group].usual_load_time(member.model)

    def has_room(self, member: Member) -> bool:
        """Whether the member's machine has a slot for it, and its model in memory."""
        gate = self._gates[member.group]
        return gate.has_room_for(member.model) and gate.is_loaded(member.model)

    def has_turn(self, member: Member) -> bool:
        """Whether the member's model is in memory, and waits for none of the calls that are silent on its machine."""
        return self._gates[member.group].may_overtake(member.model)

    def load_behind(self, member: Member) -> None:
        """Begin to load the member's model behind the scenes, where nobody waits for its machine and it may fit."""
        self._gates[member.group].load_ahead(member.model, evicting="perhaps")

    def can_tell(self, member: Member) -> bool:
        """Whether the member's machine says what it holds."""
        return self._loaded_models[member.group].is_authoritative

    async def load(
        self, members: Iterable[Member], *, others: Eviction, begun: Callable[[Member], None] = lambda _: None
    ) -> None:
        """
        Load the models of *members*, machine by machine, and wait for them; one that cannot be loaded is left as it is.

        Args:
            members: in the order of preference.
            others: what models after a machine's first may put out.
            begun: told of each one that is waited for.
        """
        await self.refresh()
        await asyncio.gather(*(self._load(each, others, begun) for each in _by_machine(members)))

    async def loads_ended(self) -> None:
        """Wait until nothing is being loaded anywhere."""
        await asyncio.gather(*(gate.loads_ended() for gate in self.gates))

    async def aclose(self) -> None:
        """End the loads there are. Idempotent."""
        await asyncio.gather(*(gate.aclose() for gate in self.gates))

    async def _load(self, members: Sequence[Member], others: Eviction, begun: Callable[[Member], None]) -> None:
        gate = self._gates[members[0].group]
        for member in members:
            await gate.loads_ended()
            if gate.load_ahead(member.model, evicting="idle" if member is members[0] else others):
                begun(member)
        await gate.loads_ended()

    def _limits(self, group: str) -> Limits:
        settings = self._config.group(group)
        return Limits(
            slots=self._config.slots_of(group),
            queue=self._config.qos.queue_limit,
            max_loaded=settings.max_loaded,
            memory=settings.memory_mb,
            batch_wait=self._config.qos.batch_wait,
        )


def _by_machine(members: Iterable[Member]) -> list[list[Member]]:
    machines: dict[str, list[Member]] = {}
    for member in members:
        machines.setdefault(member.group, []).append(member)
    return list(machines.values())


def patience_of(config: Config, latencies: Latencies, clock: Clock) -> Patience:
    """How long silence is borne; without hedges it is still held against a provider."""
    return Patience(latencies, clock, hedge_after=config.qos.hedge_after, adaptive=config.qos.hedge is Hedge.AUTO)


def model_name(settings: ProviderSettings) -> str:
    """The provider's model as its backend lists it."""
    if settings.driver is Driver.OLLAMA:
        from llm_pool.providers.model_names import full_name

        return full_name(settings.model)
    return settings.model


def with_policies(
    bare: Provider, settings: ProviderSettings, gate: Gate, shared: SharedParts, has_alternative: Callable[[str], bool]
) -> Provider:
    """
    *bare* inside the policies: ``PromptVariant(Retrying(ConcurrencyLimited(Breaking(Suspecting(Timed(bare))))))``.

    ``qos`` says why in that order. Where other processes use the machine too, ``SharedSlotLimited`` stands inside
    ``ConcurrencyLimited``.

    Args:
        bare: the backend.
        settings: its section.
        gate: its machine's.
        shared: the pool's parts.
        has_alternative: whether another provider could be asked for a task.
    """
    model, patience = model_name(settings), shared.patience

    def is_loading() -> bool:
        return gate.is_loading(model)

    def is_excused(call: Call) -> bool:
        return is_loading() or gate.is_on_trial(call)

    timed = Timed(
        bare,
        shared.latencies,
        shared.clock,
        timeout=settings.timeout,
        is_loading=is_loading,
        is_on_trial=gate.is_on_trial,
    )
    suspecting = Suspecting(timed, shared.suspicions, shared.clock, patience, is_excused=is_excused)
    asked: Provider = Breaking(suspecting, shared.breakers, has_alternative, is_backend_fault=timed.is_backend_fault)
    if shared.shared_slots is not None and is_used_by_others(settings, shared.config):
        from llm_pool.qos.shared_slots import SharedSlotLimited

        asked = SharedSlotLimited(asked, shared.shared_slots, gate.group, lambda: gate.slots, shared.clock)
    provider: Provider = ConcurrencyLimited(
        asked, gate, model, shared.emit, patience=patience, suspicions=shared.suspicions
    )
    provider = Retrying(provider, shared.budget, shared.clock, shared.rng, retries=settings.retries)
    return provider if settings.prompt_variant is None else PromptVariant(provider, settings.prompt_variant)


def is_used_by_others(settings: ProviderSettings, config: Config) -> bool:
    """Whether other processes ask the provider's machine too: as its group says, else unless it is this very one."""
    if (shared := config.group(settings.machine).shared) is not None:
        return shared
    from llm_pool.discovery.servers import is_loopback

    return settings.base_url is not None and not is_loopback(urlsplit(settings.base_url).hostname or "")


class Strategies:
    """
    The five strategies of one pool, each built, and its modules imported, when it is first asked for.

    Args:
        shared: the pool's parts.
        machines: know where there is room.
        task_registry: has the task behind a verdict.
        members: every member of the pool as it is now.
    """

    def __init__(
        self,
        shared: SharedParts,
        machines: Machines,
        task_registry: TaskRegistry,
        members: Callable[[], Sequence[Member]],
    ) -> None:
        self._shared, self._machines, self._task_registry, self._members = shared, machines, task_registry, members

    def __call__(self, name: StrategyName) -> Strategy:
        """The strategy called *name*."""
        strategy: Strategy = getattr(self, name.lower())
        return strategy

    @cached_property
    def fastest(self) -> Fastest:
        """FASTEST."""
        shared = self._shared
        return Fastest(
            shared.clock,
            shared.budget,
            hedge_after=_hedge_after(shared),
            has_room=self._machines.has_room,
            has_turn=self._machines.has_turn,
            load_behind=self._machines.load_behind,
            replaces=lambda late, other, call: shared.suspicions.may_replace(
                late.name, other.name, call, shared.patience
            ),
            is_doubtful=lambda member, call: not shared.suspicions.is_clear(member.name, call),
        )

    @cached_property
    def voting(self) -> Voting:
        """VOTING."""
        from llm_pool.ensemble.voting import Voting

        shared = self._shared
        return Voting(shared.clock, shared.trust, self._formulas, patience=shared.vote_patience)

    @cached_property
    def weighted(self) -> Weighted:
        """WEIGHTED."""
        from llm_pool.ensemble.weighted import Weighted

        shared = self._shared
        return Weighted(shared.clock, shared.trust, self._formulas, patience=shared.vote_patience)

    @cached_property
    def judge(self) -> Judge:
        """JUDGE."""
        from llm_pool.ensemble.judge import Judge, JudgeLimits

        shared, settings = self._shared, self._shared.config.judge
        return Judge(
            shared.clock,
            shared.rng,
            JudgeLimits(share=settings.share, time=settings.deadline, max_tokens=settings.max_tokens),
            shared.trust,
            judges=_judges(shared.config, self._members),
            fallback=self._decider(settings.fallback_strategy),
            load_task=self._task_registry.judging,
            patience=shared.vote_patience,
            learned=ModelContexts(shared.clock).learned,
        )

    @cached_property
    def consensus(self) -> Consensus:
        """CONSENSUS, with the fallbacks that are switched on, in the configured order."""
        from llm_pool.ensemble.consensus import Consensus, ConsensusRule

        config = self._shared.config
        settings = config.ensemble.consensus
        rule = ConsensusRule(
            min_agreement=settings.min_agreement,
            min_confidence=settings.min_confidence,
            quorum=settings.quorum,
            share=config.judge.share,
        )
        names = () if settings.strict else settings.fallback
        chain = [self._fallback(name) for name in names if name not in config.ensemble.disabled]
        return Consensus(
            self._shared.clock,
            rule,
            chain,
            trust=self._shared.trust,
            formulas=self._formulas,
            entailment=self._entailment if settings.entailment else None,
            patience=self._shared.vote_patience,
        )

    @cached_property
    def _entailment(self) -> Entailment:
        from llm_pool.ensemble.entailment import Entailment

        shared = self._shared
        return Entailment(shared.clock, shared.rng, _judges(shared.config, self._members))

    @cached_property
    def _formulas(self) -> Formulas:
        from llm_pool.ensemble.formulas import Formulas

        return Formulas(self._shared.clock)

    def _decider(self, name: StrategyName) -> Decider:
        decider: Decider = getattr(self, name.lower())
        return decider

    def _fallback(self, name: StrategyName) -> Fallback:
        if name is StrategyName.JUDGE:
            return self.judge.judge
        decider = self._decider(name)

        async def decide(call: Call, panel: Sequence[Member], attempts: Sequence[Attempt], _emit: Emit) -> Decision:
            return decider.decide(call, panel, attempts)

        return decide


def _hedge_after(shared: SharedParts) -> Callable[[Member, Call], float | None]:
    """The delay of ``qos.hedge``."""
    if shared.config.qos.hedge is Hedge.OFF:
        return lambda _member, _call: None
    patience = shared.patience
    return lambda member, call: patience.before_hedge(member.name, call)


def _judges(config: Config, members: Callable[[], Sequence[Member]]) -> Callable[[Sequence[Member]], Sequence[Member]]:
    """
    The configured judges as they are now; where none is configured, the heaviest of the panel that is not silent.

    Providers of last resort judge among themselves: they are asked when the others, the judge too, do not answer.
    """
    names = config.judge.providers
    reserve = {provider.name for provider in config.active_providers if provider.last_resort}

    def judges(panel: Sequence[Member]) -> Sequence[Member]:
        if not names or reserve.issuperset(member.name for member in panel):
            return (max(panel, key=lambda member: (not member.suspect, member.weight, -member.rank)),)
        return [member for member in members() if member.name in names]

    return judges

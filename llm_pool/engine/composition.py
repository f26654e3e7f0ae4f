"""The composition root: every part of the pool is built here, once, and closed in reverse order."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from random import SystemRandom
from typing import TYPE_CHECKING, Protocol, cast

import msgspec

from llm_pool.cache.layer import CacheLayer
from llm_pool.cache.single_flight import SingleFlight
from llm_pool.core.errors import InvalidRequest
from llm_pool.core.events import ModelLoading
from llm_pool.core.interfaces import Member
from llm_pool.core.messages import StrategyName
from llm_pool.engine.assembly import Machines, SharedParts, Strategies, model_name, patience_of, with_policies
from llm_pool.engine.configuration import effective_config
from llm_pool.engine.embedding import EmbeddingProvider, admit_embedding, load_embedding_task
from llm_pool.engine.health import check_health
from llm_pool.engine.orchestrator import Orchestrator
from llm_pool.engine.panel import Assignment, serves
from llm_pool.engine.state import PoolState
from llm_pool.ensemble.fastest import Fastest
from llm_pool.providers.registry import build_provider
from llm_pool.providers.transport import Transport
from llm_pool.qos.budget import Budget
from llm_pool.tasks import TaskRegistry
from llm_pool.trust.learning import TrustLearner, decision_log_path, trust_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from llm_pool.config import Config, ProviderSettings
    from llm_pool.core.events import Event
    from llm_pool.core.interfaces import Cache, Embedder, Emit, Observer, Provider
    from llm_pool.core.messages import Answer, ProviderState, Query
    from llm_pool.engine.health import Health


class BuildProvider(Protocol):
    """Makes the bare provider that a section describes; ``providers.registry.build_provider`` is one."""

    def __call__(self, settings: ProviderSettings, transport: Transport, /, *, path: Path) -> Provider:
        """The provider, without any policy; raises ConfigError where the section cannot be used."""


class App:
    """
    A pool at work.

    Attributes:
        config: what it was built from.
        orchestrator: answers queries.
        embedding: answers ``embedding.embedding_query`` with vectors.
        providers: by name, with their policies, in the file's order.
        task_registry: its tasks.
        pool_state: its memory.
        learning: takes feedback and keeps what was learned; None where nothing is learned.
        machines: what the providers run on.
    """

    def __init__(
        self,
        config: Config,
        orchestrator: Orchestrator,
        embedding: Orchestrator,
        task_registry: TaskRegistry,
        pool_state: PoolState,
        learning: TrustLearner | None,
        machines: Machines,
        assignments: Sequence[Assignment],
        embedders: Sequence[Assignment],
    ) -> None:
        self.config, self.orchestrator, self.embedding = config, orchestrator, embedding
        self._assignments = (*assignments, *_only(embedders, assignments))
        self.providers = {assignment.member.name: assignment.member.provider for assignment in self._assignments}
        self.task_registry, self.pool_state, self.learning, self.machines = (
            task_registry,
            pool_state,
            learning,
            machines,
        )

    async def infer(self, query: Query, emit: Emit | None = None) -> Answer:
        """
        Answer *query*; arguments and errors as for ``Orchestrator.infer``.

        A first load is waited for, and does not count against a default deadline: where the pool begins with its
        program, nobody could have loaded ahead. A deadline that was asked for holds, load or not.
        """
        if query.deadline is None:
            await self.load_for(query, emit or (lambda _: None))
        return await self.orchestrator.infer(query, emit)

    async def feedback(self, request_id: str, tenant_id: str, *, good: bool) -> bool:
        """
        Take a person's word on the answer to *request_id*, and say whether it taught something.

        Raises:
            InvalidRequest: no such answer of *tenant_id* is kept, or nothing is learned here.
        """
        if self.learning is None:
            raise InvalidRequest("request_id", "nothing is learned here", hint="trust.enabled is off")
        return await self.learning.feedback(request_id, tenant_id, good=good)

    async def health(self) -> Health:
        """How the backends are; takes ``health.TIMEOUT`` seconds at most."""
        models = {settings.name: settings.model for settings in self.config.active_providers}
        return await check_health(self.providers.values(), models)

    async def states(self) -> list[ProviderState]:
        """What each provider's backend says of itself now, in the file's order."""
        return list(await asyncio.gather(*(provider.state() for provider in self.providers.values())))

    async def load_ahead(self) -> None:
        """
        Load what will be asked first, and wait for it: of each machine the first model, and those that fit beside it.

        In the file's order, without the last resort. One that cannot be loaded is left as it is.
        """
        members = [assignment.member for assignment in self._assignments if not assignment.last_resort]
        await self.machines.refresh()
        unlisted = [member.provider.load() for member in members if not self.machines.can_tell(member)]
        await asyncio.gather(self.machines.load(members, others="nothing"), *unlisted, return_exceptions=True)

    async def load_for(self, query: Query, emit: Emit) -> None:
        """
        Load what *query* would ask, and wait for it: time that its deadline is not to count.

        FASTEST waits for its first model where none is in memory; the other strategies for all that may fit together.

        Args:
            query: what will be asked.
            emit: told of each model that is waited for.

        Raises:
            InvalidRequest: it cannot be served as it stands.
        """
        plan = await self.orchestrator.plan(query)
        panel = plan.panel.regular
        if plan.strategy is StrategyName.FASTEST:
            panel = () if any(member.loaded for member in panel) else panel[:1]

        def tell(member: Member) -> None:
            usual = self.machines.usual_load_time(member)
            emit(ModelLoading(plan.call.request_id, member.name, member.model, usual))

        await self.machines.load(panel, others="perhaps", begun=tell)

    async def warm(self) -> None:
        """Load every model that is there and not loaded; one that cannot be loaded is left as it is."""
        states = await self.states()
        warming = [self.providers[state.name].load() for state in states if state.condition == "warming"]
        await asyncio.gather(*warming, return_exceptions=True)


@asynccontextmanager
async def open_app(
    config: Config | None = None,
    *,
    observers: Sequence[Observer] = (),
    pool_state: PoolState | None = None,
    build: BuildProvider | None = None,
) -> AsyncIterator[App]:
    """
    A pool built from *config*, open while the block runs.

    Args:
        config: from ``config.load``; None: the effective one, as the command line uses it.
        observers: told of every event.
        build: makes the bare provider of a section, as ``build_provider`` does where it is None; another one records
            what a backend says, or says it again.
        pool_state: the memory to go on with; it stays open. None makes one that is closed with the pool.

    Raises:
        ConfigError: the file cannot be used, or a provider cannot be built as configured.
    """
    if config is None:
        config = (await asyncio.to_thread(effective_config)).config
    async with AsyncExitStack() as stack:
        if pool_state is None:
            pool_state = await PoolState.create(config, emit_to(observers))
            stack.push_async_callback(pool_state.aclose)
        yield _build(config, stack, list(observers), pool_state, build or build_provider)


def emit_to(observers: Sequence[Observer]) -> Emit:
    """Tells every one of *observers*."""

    def emit(event: Event) -> None:
        for observer in observers:
            observer.on(event)

    return emit


def _build(
    config: Config,
    stack: AsyncExitStack,
    observers: list[Observer],
    pool_state: PoolState,
    build: BuildProvider,
) -> App:
    task_registry = TaskRegistry(config.prompt_folders, config.prompt_files)
    shared = SharedParts(
        config=config,
        clock=pool_state.clock,
        rng=SystemRandom(),
        budget=pool_state.budget,
        latencies=pool_state.latencies,
        breakers=pool_state.breakers,
        suspicions=pool_state.suspicions,
        patience=patience_of(config, pool_state.latencies, pool_state.clock),
        trust=pool_state.trust,
        shared_slots=pool_state.shared_slots,
        emit=emit_to(observers),
    )
    learning = _learner(config, stack, pool_state, task_registry)
    if learning is not None:
        observers.append(learning)
    machines = Machines(shared)
    assignments, embedders = _assignments(shared, machines, stack, build)
    stack.push_async_callback(machines.aclose)

    def members() -> list[Member]:
        return [
            msgspec.structs.replace(assignment.member, load_time=machines.load_time(assignment.member))
            for assignment in assignments
        ]

    strategies = Strategies(shared, machines, task_registry, members)
    make = partial(
        Orchestrator,
        clock=pool_state.clock,
        config=config,
        last_resort=Fastest(
            pool_state.clock, Budget(ratio=1.0, floor=1.0), hedge_after=lambda _m, _c: None, has_room=machines.has_room
        ),
        machines_are_stale=machines.are_stale,
        refresh_machines=machines.refresh,
        load_time=machines.load_time,
        is_suspect=shared.is_suspect,
        breaker_refusal=lambda member, task: pool_state.breakers.refusal(member.name, task),
        abilities=machines.abilities,
        budget=pool_state.budget,
        observers=observers,
    )
    orchestrator = make(
        load_task=task_registry.task,
        assignments=assignments,
        strategies=strategies,
        cache_layer=_cache_layer(config, pool_state, pool_state.cache),
    )
    embedding = make(
        load_task=load_embedding_task,
        assignments=embedders,
        strategies=lambda _: strategies.fastest,
        cache_layer=_cache_layer(config, pool_state, None),
        admit=admit_embedding,
    )
    return App(config, orchestrator, embedding, task_registry, pool_state, learning, machines, assignments, embedders)


def _cache_layer(config: Config, pool_state: PoolState, cache: Cache | None) -> CacheLayer:
    return CacheLayer(
        pool_state.idempotency, cache, SingleFlight(), key_fields=config.cache.key_fields, ttl=config.ttl_for
    )


def _only(embedders: Sequence[Assignment], answering: Sequence[Assignment]) -> list[Assignment]:
    """Those of *embedders* that answer no questions."""
    names = {assignment.member.name for assignment in answering}
    return [assignment for assignment in embedders if assignment.member.name not in names]


def _assignments(
    shared: SharedParts, machines: Machines, stack: AsyncExitStack, build: BuildProvider
) -> tuple[list[Assignment], list[Assignment]]:
    """The active providers that answer questions and those that make embeddings, each behind its policies."""
    config = shared.config
    transport = Transport()
    stack.push_async_callback(transport.aclose)
    answering: list[Assignment] = []
    embedding: list[Assignment] = []
    for rank, settings in enumerate(config.active_providers):
        bare = build(settings, transport, path=config.path)
        stack.push_async_callback(bare.aclose)
        duties = list(_duties(bare, settings, config, answering, embedding))
        gate = machines.gate(settings, bare, duties[0][0].load)
        for provider, assignments in duties:
            has_alternative = partial(_has_alternative, shared, assignments, settings.name)
            guarded = with_policies(provider, settings, gate, shared, has_alternative)
            assignments.append(_assignment(guarded, settings, rank))
    return answering, embedding


def _duties(
    bare: Provider,
    settings: ProviderSettings,
    config: Config,
    answering: list[Assignment],
    embedding: list[Assignment],
) -> Iterator[tuple[Provider, list[Assignment]]]:
    """*bare* in the shape for each thing it does, and the list of those who do it."""
    if settings in config.answering_providers:
        yield bare, answering
    if settings in config.embedding_providers:
        yield EmbeddingProvider(bare, cast("Embedder", bare)), embedding


def _has_alternative(shared: SharedParts, assignments: Sequence[Assignment], name: str, task: str) -> bool:
    """Whether another of *assignments* than *name* could be asked for *task*."""
    others = (assignment for assignment in assignments if assignment.member.name != name and not assignment.last_resort)
    return any(
        serves(assignment, task, assignments) and shared.breakers.refusal(assignment.member.name, task) is None
        for assignment in others
    )


def _assignment(provider: Provider, settings: ProviderSettings, rank: int) -> Assignment:
    member = Member(
        provider=provider,
        model=model_name(settings),
        weight=settings.weight,
        group=settings.machine,
        rank=rank,
        context=settings.context,
    )
    return Assignment(member=member, tasks=settings.tasks, last_resort=settings.last_resort)


def _learner(
    config: Config, stack: AsyncExitStack, pool_state: PoolState, task_registry: TaskRegistry
) -> TrustLearner | None:
    """Learns from decisions; what it learned is kept when the pool closes."""
    if not config.trust.enabled:
        return None
    exchange = pool_state.shared_decisions
    learning = TrustLearner(pool_state.trust, trust_store(), decision_log_path(), task_registry.loaded_task, exchange)
    stack.push_async_callback(learning.flush)
    return learning

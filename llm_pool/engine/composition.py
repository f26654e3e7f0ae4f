"""The composition root: every part of the pool is built here, once, and closed in reverse order."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from random import SystemRandom
from typing import TYPE_CHECKING

import msgspec

from llm_pool.assembly import Machines, Shared, Strategies, model_name, with_policies
from llm_pool.backends import backend
from llm_pool.budget import Budget
from llm_pool.cache.flights import Flights
from llm_pool.cache.remembering import Remembering
from llm_pool.ensemble.fastest import Fastest
from llm_pool.kept import Kept
from llm_pool.learning import Learning, decision_book, trust_store
from llm_pool.messages import Member
from llm_pool.orchestrator import Orchestrator
from llm_pool.panel import Seat, serves
from llm_pool.providers.transport import Transport
from llm_pool.tasks import Shelf

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from llm_pool.config import Config, ProviderSettings
    from llm_pool.interfaces import Emit, Observer, Provider
    from llm_pool.messages import Event, ProviderState


class App:
    """
    A pool at work.

    Attributes:
        config: what it was built from.
        orchestrator: answers queries.
        providers: by name, with their policies, in the file's order.
        shelf: its tasks.
        kept: its memory.
        learning: takes feedback and keeps what was learned; None where nothing is learned.
        machines: what the providers run on.
    """

    def __init__(
        self,
        config: Config,
        orchestrator: Orchestrator,
        providers: Mapping[str, Provider],
        shelf: Shelf,
        kept: Kept,
        learning: Learning | None,
        machines: Machines,
    ) -> None:
        self.config, self.orchestrator, self.providers = config, orchestrator, dict(providers)
        self.shelf, self.kept, self.learning, self.machines = shelf, kept, learning, machines

    async def states(self) -> list[ProviderState]:
        """What each provider's backend says of itself now, in the file's order."""
        return list(await asyncio.gather(*(provider.state() for provider in self.providers.values())))

    async def warm(self) -> None:
        """Load every model that is there and not loaded; one that cannot be loaded is left as it is."""
        states = await self.states()
        warming = [self.providers[state.name].load() for state in states if state.condition == "warming"]
        await asyncio.gather(*warming, return_exceptions=True)


@asynccontextmanager
async def open_app(
    config: Config,
    *,
    observers: Sequence[Observer] = (),
    kept: Kept | None = None,
) -> AsyncIterator[App]:
    """
    A pool built from *config*, open while the block runs.

    Args:
        config: from ``config.load``.
        observers: told of every event.
        kept: the memory to go on with; it stays open. None makes one that is closed with the pool.

    Raises:
        ConfigError: a provider cannot be built as configured.
    """
    async with AsyncExitStack() as stack:
        if kept is None:
            kept = await Kept.fresh(config, emit_to(observers))
            stack.push_async_callback(kept.aclose)
        app = _build(config, stack, list(observers), kept)
        if config.server.warm:
            await app.warm()
        yield app


def emit_to(observers: Sequence[Observer]) -> Emit:
    """Tells every one of *observers*."""

    def emit(event: Event) -> None:
        for observer in observers:
            observer.on(event)

    return emit


def _build(config: Config, stack: AsyncExitStack, observers: list[Observer], kept: Kept) -> App:
    shelf = Shelf(config.prompt_folders, config.prompt_files)
    shared = Shared(
        config=config,
        clock=kept.clock,
        rng=SystemRandom(),
        budget=kept.budget,
        latencies=kept.latencies,
        breakers=kept.breakers,
        trust=kept.trust,
        emit=emit_to(observers),
    )
    learning = _learning(config, stack, kept, shelf)
    if learning is not None:
        observers.append(learning)
    machines = Machines(shared)
    seats = _seats(shared, machines, stack)

    def members() -> list[Member]:
        return [msgspec.structs.replace(seat.member, loaded=machines.is_loaded(seat.member)) for seat in seats]

    orchestrator = Orchestrator(
        clock=kept.clock,
        config=config,
        load_task=shelf.task,
        seats=seats,
        strategies=Strategies(shared, machines, shelf, members),
        last_resort=Fastest(
            kept.clock, Budget(ratio=1.0, floor=1.0), hedge_after=lambda _m, _c: None, has_room=machines.has_room
        ),
        look=machines.look,
        is_loaded=machines.is_loaded,
        is_dark=lambda member, task: kept.breakers.refusal(member.name, task) is not None,
        budget=kept.budget,
        remembering=Remembering(
            kept.once, kept.cache, Flights(), key_fields=config.cache.key_fields, ttl=config.ttl_for
        ),
        observers=observers,
    )
    providers = {seat.member.name: seat.member.provider for seat in seats}
    return App(config, orchestrator, providers, shelf, kept, learning, machines)


def _seats(shared: Shared, machines: Machines, stack: AsyncExitStack) -> list[Seat]:
    """The active providers, each behind its policies."""
    config = shared.config
    transport = Transport()
    stack.push_async_callback(transport.aclose)
    seats: list[Seat] = []

    def has_spare(name: str, task: str) -> bool:
        others = (seat for seat in seats if seat.member.name != name and not seat.last_resort)
        return any(
            serves(seat, task, seats) and shared.breakers.refusal(seat.member.name, task) is None for seat in others
        )

    for rank, settings in enumerate(config.active_providers):
        bare = backend(settings, transport, path=config.path)
        stack.push_async_callback(bare.aclose)
        gate = machines.gate(settings, bare)
        provider = with_policies(bare, settings, gate, shared, partial(has_spare, settings.name))
        seats.append(_seat(provider, settings, rank))
    return seats


def _seat(provider: Provider, settings: ProviderSettings, rank: int) -> Seat:
    member = Member(
        provider=provider,
        model=model_name(settings),
        weight=settings.weight,
        group=settings.machine,
        rank=rank,
    )
    return Seat(member=member, tasks=settings.tasks, last_resort=settings.last_resort)


def _learning(config: Config, stack: AsyncExitStack, kept: Kept, shelf: Shelf) -> Learning | None:
    """Learns from decisions; what it learned is kept when the pool closes."""
    if not config.trust.enabled:
        return None
    learning = Learning(kept.trust, trust_store(), decision_book(), shelf.at_hand)
    stack.push_async_callback(learning.flush)
    return learning

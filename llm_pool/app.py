"""The composition root: every part of the pool is built here, once, and closed in reverse order."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from random import SystemRandom
from typing import TYPE_CHECKING

import msgspec

from llm_pool.assembly import Machines, Shared, model_name, strategies, with_policies
from llm_pool.backends import backend
from llm_pool.breaker import Rules
from llm_pool.budget import Budget
from llm_pool.cache.flights import Flights
from llm_pool.cache.idempotency import Once
from llm_pool.cache.memory import MemoryCache
from llm_pool.cache.remembering import Remembering
from llm_pool.clock import SystemClock
from llm_pool.config import CacheDriver
from llm_pool.ensemble.fastest import Fastest
from llm_pool.latency import Latencies
from llm_pool.learning import Learning, state_folder
from llm_pool.messages import Member
from llm_pool.orchestrator import Orchestrator
from llm_pool.panel import Seat, serves
from llm_pool.providers.transport import Transport
from llm_pool.qos.breaking import Breakers
from llm_pool.tasks import Shelf
from llm_pool.trust import Trust
from llm_pool.trust_store import TrustStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from llm_pool.config import Config, ProviderSettings
    from llm_pool.interfaces import Cache, Clock, Emit, Observer, Provider
    from llm_pool.messages import Event, ProviderState


class App:
    """
    A pool at work.

    Attributes:
        config: what it was built from.
        orchestrator: answers queries.
        providers: by name, with their policies, in the file's order.
    """

    def __init__(self, config: Config, orchestrator: Orchestrator, providers: Mapping[str, Provider]) -> None:
        self.config, self.orchestrator, self.providers = config, orchestrator, dict(providers)

    async def states(self) -> list[ProviderState]:
        """What each provider's backend says of itself now, in the file's order."""
        return list(await asyncio.gather(*(provider.state() for provider in self.providers.values())))

    async def warm(self) -> None:
        """Load every model that is there and not loaded; one that cannot be loaded is left as it is."""
        states = await self.states()
        warming = [self.providers[state.name].load() for state in states if state.condition == "warming"]
        await asyncio.gather(*warming, return_exceptions=True)


@asynccontextmanager
async def open_app(config: Config, *, observers: Sequence[Observer] = ()) -> AsyncIterator[App]:
    """
    A pool built from *config*, open while the block runs.

    Args:
        config: from ``config.load``.
        observers: told of every event.

    Raises:
        ConfigError: a provider cannot be built as configured.
    """
    async with AsyncExitStack() as stack:
        app = _build(config, stack, list(observers))
        if config.server.warm:
            await app.warm()
        yield app


def _build(config: Config, stack: AsyncExitStack, observers: list[Observer]) -> App:
    def emit(event: Event) -> None:
        for observer in observers:
            observer.on(event)

    clock, shelf = SystemClock(), Shelf(config.prompt_folders, config.prompt_files)
    shared = Shared(
        config=config,
        clock=clock,
        rng=SystemRandom(),
        budget=Budget(config.qos.budget_ratio, config.qos.budget_floor),
        latencies=Latencies(),
        breakers=_breakers(config, clock, emit),
        trust=_trust(config, stack, observers, shelf),
        emit=emit,
    )
    machines = Machines(shared)
    seats = _seats(shared, machines, stack)

    def members() -> list[Member]:
        return [msgspec.structs.replace(seat.member, loaded=machines.is_loaded(seat.member)) for seat in seats]

    by_name = strategies(shared, machines, members)
    last_resort = Fastest(
        clock, Budget(ratio=1.0, floor=1.0), hedge_after=lambda _m, _c: None, has_room=machines.has_room
    )
    cache = _cache(config, clock)
    if cache is not None:
        stack.push_async_callback(cache.aclose)
    orchestrator = Orchestrator(
        clock=clock,
        config=config,
        load_task=shelf.task,
        seats=seats,
        strategies=by_name,
        last_resort=last_resort,
        look=machines.look,
        is_loaded=machines.is_loaded,
        is_dark=lambda member, task: shared.breakers.refusal(member.name, task) is not None,
        budget=shared.budget,
        remembering=Remembering(
            Once(clock, ttl=config.idempotency.ttl),
            cache,
            Flights(),
            key_fields=config.cache.key_fields,
            ttl=config.ttl_for,
        ),
        observers=observers,
    )
    return App(config, orchestrator, {seat.member.name: seat.member.provider for seat in seats})


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


def _breakers(config: Config, clock: Clock, emit: Emit) -> Breakers:
    settings = config.breaker
    rules = Rules(
        fail_rate=settings.fail_rate,
        window_size=settings.window_size,
        min_calls=settings.min_calls,
        cooldown=settings.open_cooldown,
        max_cooldown=settings.max_cooldown,
    )
    return Breakers(rules, clock, SystemRandom(), emit, probe_timeout=settings.probe_timeout)


def _trust(config: Config, stack: AsyncExitStack, observers: list[Observer], shelf: Shelf) -> Trust:
    """What was learned before; what is learned now is kept when the pool closes."""
    if not config.trust.enabled:
        return Trust()
    folder = state_folder()
    store = TrustStore(folder / "trust.json")
    trust = store.load()
    learning = Learning(trust, store, folder / "decisions.jsonl", shelf.at_hand)
    stack.push_async_callback(learning.flush)
    observers.append(learning)
    return trust


def _cache(config: Config, clock: Clock) -> Cache | None:
    if not config.cache.enabled:
        return None
    if config.cache.driver is CacheDriver.REDIS:
        from llm_pool.cache.redis import RedisCache

        assert config.cache.url is not None
        return RedisCache(config.cache.url.reveal())
    return MemoryCache(clock, max_bytes=config.cache.max_bytes)

"""What outlives a reload: what was learned of the providers, and what was answered already."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import SystemRandom
from typing import TYPE_CHECKING

import msgspec

from llm_pool.cache.idempotency import IdempotencyStore
from llm_pool.cache.memory import MemoryCache
from llm_pool.config import CacheDriver
from llm_pool.core.clock import SystemClock
from llm_pool.engine.shared_breakers import SharedBreakers
from llm_pool.qos.breaker import Rules
from llm_pool.qos.breaking import Breakers
from llm_pool.qos.budget import Budget
from llm_pool.qos.latency import Latencies
from llm_pool.qos.redis import RedisUnavailable
from llm_pool.qos.suspecting import Suspicions
from llm_pool.trust.learning import trust_store
from llm_pool.trust.model import Trust

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.cache.idempotency import Idempotency
    from llm_pool.config import Config
    from llm_pool.core.events import Event
    from llm_pool.core.interfaces import Cache, Clock, Emit
    from llm_pool.engine.shared_decisions import SharedDecisions
    from llm_pool.engine.shared_trust import SharedTrust
    from llm_pool.qos.redis import BudgetedRedis
    from llm_pool.qos.shared_slots import SharedSlots
    from llm_pool.qos.suspecting import Hints

CONNECT_WAIT = 1.0
"""Seconds that a pool which begins waits for Redis."""


class PoolState(msgspec.Struct, frozen=True, kw_only=True):
    """
    The memory of a pool, apart from the parts that are built from a configuration.

    Runs in the air are not among it: a request ends in the generation where it began.

    Attributes:
        cache: None where answers are not kept.
        redis: what is shared with other processes; None where nothing is.
        shared_slots: of the machines that they use too; None without *redis*.
        shared_breakers: tells them of *breakers*, and *suspicions* of theirs.
        shared_trust: keeps *trust* the same as theirs; likewise.
        shared_decisions: those that feedback may name at each of them; likewise.
        emit: told of the breakers' moves.
    """

    clock: Clock
    breakers: Breakers
    latencies: Latencies
    suspicions: Suspicions
    trust: Trust
    budget: Budget
    cache: Cache | None
    redis: BudgetedRedis | None
    shared_slots: SharedSlots | None
    shared_breakers: SharedBreakers
    shared_trust: SharedTrust | None
    shared_decisions: SharedDecisions | None
    idempotency: Idempotency
    emit: Emit

    @classmethod
    async def create(cls, config: Config, emit: Emit) -> PoolState:
        """The memory of a pool that just begins; trust is what the state folder holds."""
        clock = SystemClock()
        redis, trust = _redis(config, clock), await _trust(config)
        if redis is not None:  # connected before the first request, which would not wait so long
            with suppress(RedisUnavailable):
                await redis.ask(redis.client.ping, max_wait=CONNECT_WAIT)
        hints: Hints = {}
        shared_breakers = SharedBreakers(clock, hints)

        def tell(event: Event) -> None:
            shared_breakers.on(event)
            emit(event)

        state = cls(
            clock=clock,
            breakers=_breakers(config, clock, tell),
            latencies=Latencies(),
            suspicions=Suspicions(clock, hints),
            trust=trust,
            budget=_budget(config),
            cache=_cache(config, clock),
            redis=redis,
            shared_slots=_shared_slots(redis, clock),
            shared_breakers=shared_breakers,
            shared_trust=_shared_trust(redis, trust, config),
            shared_decisions=_shared_decisions(redis),
            idempotency=_idempotency(config, clock, redis),
            emit=tell,
        )
        state.share()
        return state

    def share(self) -> None:
        """Learn with the processes on this memory's Redis from now on, and not on the one before. Idempotent."""
        self.shared_breakers.connect(self.redis)
        if self.shared_trust is not None:
            self.shared_trust.start()

    async def carry_over(self, old: Config, new: Config) -> PoolState:
        """
        The memory for *new*, of a pool built from *old*.

        A provider whose section changed starts anew. So do breakers, budget and cache as a whole where their own
        rules changed. Answers by request id stay whatever changed: they were given. What is learned goes to the old
        Redis until ``share`` is called, so that a configuration that cannot be built changes nothing.
        """
        names = _unchanged(old, new)
        same_redis = old.shared_redis == new.shared_redis
        redis = self.redis if same_redis else _redis(new, self.clock)
        trust = self.trust if old.trust == new.trust else await _trust(new)
        same_budget = (old.qos.budget_ratio, old.qos.budget_floor) == (new.qos.budget_ratio, new.qos.budget_floor)
        return PoolState(
            clock=self.clock,
            breakers=self.breakers.subset(names)
            if old.breaker == new.breaker
            else _breakers(new, self.clock, self.emit),
            latencies=self.latencies.subset(names),
            suspicions=self.suspicions.subset(names),
            trust=trust,
            budget=self.budget if same_budget else _budget(new),
            cache=self.cache if _cache_identity(old) == _cache_identity(new) else _cache(new, self.clock),
            redis=redis,
            shared_slots=self.shared_slots if same_redis else _shared_slots(redis, self.clock),
            shared_breakers=self.shared_breakers,
            shared_trust=(
                self.shared_trust if same_redis and trust is self.trust else _shared_trust(redis, trust, new)
            ),
            shared_decisions=self.shared_decisions if same_redis else _shared_decisions(redis),
            idempotency=(
                self.idempotency.with_ttl(new.idempotency.ttl) if same_redis else _idempotency(new, self.clock, redis)
            ),
            emit=self.emit,
        )

    async def aclose(self, *, still_used_by: Sequence[PoolState] = ()) -> None:
        """Close what is here and in none of *still_used_by*."""
        if self.cache is not None and all(other.cache is not self.cache for other in still_used_by):
            await self.cache.aclose()
        if all(other.shared_breakers is not self.shared_breakers for other in still_used_by):
            await self.shared_breakers.aclose()
        if self.shared_trust is not None and all(
            other.shared_trust is not self.shared_trust for other in still_used_by
        ):
            await self.shared_trust.aclose()
        if self.redis is not None and all(other.redis is not self.redis for other in still_used_by):
            await self.idempotency.aclose()
            if self.shared_slots is not None:
                await self.shared_slots.aclose()
            if self.shared_decisions is not None:
                await self.shared_decisions.aclose()
            await self.redis.aclose()


def _unchanged(old: Config, new: Config) -> set[str]:
    """Names of the providers whose sections are the same in both."""
    before = {provider.name: provider for provider in old.providers}
    return {provider.name for provider in new.providers if before.get(provider.name) == provider}


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


def _budget(config: Config) -> Budget:
    return Budget(config.qos.budget_ratio, config.qos.budget_floor)


async def _trust(config: Config) -> Trust:
    return await asyncio.to_thread(trust_store().load) if config.trust.enabled else Trust()


def _cache(config: Config, clock: Clock) -> Cache | None:
    if not config.cache.enabled:
        return None
    if config.cache.driver is CacheDriver.REDIS:
        from llm_pool.cache.redis import RedisCache

        assert config.cache.url is not None
        return RedisCache(config.cache.url.reveal(), clock)
    return MemoryCache(clock, max_bytes=config.cache.max_bytes)


def _idempotency(config: Config, clock: Clock, redis: BudgetedRedis | None) -> Idempotency:
    """Answers by request id: of this process, or of all that share *redis*."""
    local = IdempotencyStore(clock, ttl=config.idempotency.ttl)
    if redis is None:
        return local
    from llm_pool.cache.redis_idempotency import RedisIdempotency

    return RedisIdempotency(local, redis, clock, ttl=config.idempotency.ttl)


def _shared_slots(redis: BudgetedRedis | None, clock: Clock) -> SharedSlots | None:
    if redis is None:
        return None
    from llm_pool.qos.shared_slots import SharedSlots

    return SharedSlots(redis, clock)


def _shared_trust(redis: BudgetedRedis | None, trust: Trust, config: Config) -> SharedTrust | None:
    if redis is None or not config.trust.enabled:
        return None
    from llm_pool.engine.shared_trust import SharedTrust

    return SharedTrust(redis, trust)


def _shared_decisions(redis: BudgetedRedis | None) -> SharedDecisions | None:
    if redis is None:
        return None
    from llm_pool.engine.shared_decisions import SharedDecisions

    return SharedDecisions(redis)


def _redis(config: Config, clock: Clock) -> BudgetedRedis | None:
    if (url := config.shared_redis) is None:
        return None
    from llm_pool.qos.redis import BudgetedRedis

    return BudgetedRedis(url.reveal(), clock, key="cache.url")


def _cache_identity(config: Config) -> object:
    """What makes it another cache; the rest of its section says how it is used."""
    cache = config.cache
    return cache.enabled, cache.driver, cache.url, cache.max_bytes

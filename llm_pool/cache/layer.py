"""Everything that may answer in place of a run: the same id again, a kept answer, an equal request in the air."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.cache.keys import cache_key, fingerprint, flight_key, is_sampled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from llm_pool.cache.idempotency import Idempotency
    from llm_pool.cache.single_flight import SingleFlight
    from llm_pool.core.interfaces import Cache, Emit
    from llm_pool.core.messages import Answer, Query
    from llm_pool.engine.panel import Plan


WHOLE = frozenset({"stop", "tool_calls"})
"""Ends of an answer that was not cut."""


class CacheLayer:
    """
    Idempotency around the cache around single flight.

    Args:
        idempotency: answers by request id.
        cache: answers by what shaped them; None keeps none.
        single_flight: runs in the air.
        key_fields: fields of the query that the configuration wants in the cache key.
        ttl: seconds an answer to a task is kept.
    """

    def __init__(
        self,
        idempotency: Idempotency,
        cache: Cache | None,
        single_flight: SingleFlight,
        *,
        key_fields: Sequence[str],
        ttl: Callable[[str], float],
    ) -> None:
        self._idempotency, self._cache, self._single_flight = idempotency, cache, single_flight
        self._key_fields, self._ttl = tuple(key_fields), ttl

    async def answer(
        self, query: Query, plan: Plan, run: Callable[[Emit], Awaitable[Answer]], emit: Emit | None
    ) -> Answer:
        """
        The answer to *query*: remembered, shared or made by *run*.

        Errors, degraded answers and those that were cut are never kept; of the others not what the models thought.
        A sample is made anew each time.
        """
        if not query.request_id:
            return await self._cached(query, plan, run, emit)
        return await self._idempotency.run(
            query.tenant_id,
            query.request_id,
            fingerprint(query),
            lambda: self._cached(query, plan, run, emit),
            deadline=plan.call.deadline if plan.call.idle is None else plan.call.latest,
        )

    async def _cached(
        self, query: Query, plan: Plan, run: Callable[[Emit], Awaitable[Answer]], emit: Emit | None
    ) -> Answer:
        if query.no_cache or is_sampled(query):
            return await run(emit or _ignore)
        key = cache_key(query, plan, self._key_fields)
        if self._cache is not None and (cached := await self._cache.get(key)) is not None:
            return cached

        async def run_and_cache(notify: Emit) -> Answer:
            answer = await run(notify)
            if self._cache is not None and not answer.degraded and answer.finish in WHOLE:
                await self._cache.put(key, answer.without_reasoning(), self._ttl(query.task))
            return answer

        call = plan.call
        until = call.deadline if call.idle is None else call.latest
        return await self._single_flight.share(flight_key(key, query, call), run_and_cache, emit, deadline=until)

    async def aclose(self) -> None:
        """Close the cache."""
        if self._cache is not None:
            await self._cache.aclose()


def _ignore(_: object) -> None:
    """Listen to nothing."""

"""Asking once more after a failure that may pass."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from llm_pool.core.errors import Busy, Failed, Loading, ProviderError, QueueFull, Unreachable
from llm_pool.qos.policy import Policy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from random import Random

    from llm_pool.core.interfaces import Clock, Provider
    from llm_pool.core.messages import Call, Delta
    from llm_pool.qos.budget import Budget

BASE_DELAY = 0.1
MAX_DELAY = 2.0
MIN_POLL, MAX_POLL, POLL_GROWTH = 0.1, 1.0, 1.5
"""Seconds between two questions to a backend that is loading its model, and how they grow: it has enough to do."""
LAST_POLL_MARGIN = 0.05
"""Seconds before the deadline at which a loading backend is asked for the last time, so that its words are heard."""


class Retrying(Policy):
    """
    Asks again when the backend broke or was busy before it said a word.

    Never after the first text: what the asker has read cannot be taken back (gRPC A6: *committed*). Never for what
    would not get better by asking again (rejected, bad reply, breaker open, queue full), nor after a timeout, which
    has cost its time already. Every further attempt is paid for from the shared budget; without budget, or when
    the wait would pass the deadline, the first error stands.

    The wait before attempt n is drawn from [0, min(LONGEST, BASE * 2^(n-1))] seconds, after the backend's
    ``retry_after`` where it gave one. Sources: gRPC A6; Brooker, Exponential Backoff And Jitter, AWS 2015 (full
    jitter).

    A backend that is loading its model has not failed: it is asked again, gently, until the deadline. That is no
    retry and costs no budget: such a backend answers before it does any work.

    Args:
        inner: what is asked.
        budget: shared with hedges and failovers.
        clock: the time.
        rng: draws the jitter.
        retries: further attempts at most; gRPC A6 caps attempts at five.
    """

    def __init__(self, inner: Provider, budget: Budget, clock: Clock, rng: Random, *, retries: int = 1) -> None:
        super().__init__(inner)
        self._budget, self._clock, self._rng, self._retries = budget, clock, rng, retries

    async def stream(self, call: Call) -> AsyncGenerator[Delta]:
        """Ask until it answers; raises the last attempt's error."""
        retry = polls = 0
        while True:
            committed = False
            try:
                async with aclosing(self.inner.stream(call)) as deltas:
                    async for delta in deltas:
                        if not committed:
                            committed = bool(delta.text or delta.tool_calls or delta.vectors)
                        yield delta
            except Loading as error:
                wait = poll_delay(polls, call.deadline - self._clock.now(), at_least=error.retry_after or 0.0)
                if committed or wait is None:
                    raise
                polls += 1
            except ProviderError as error:
                retry += 1
                wait = self._wait(error, retry)
                if committed or not self._may_retry(error, call, retry, wait):
                    raise
            else:
                return
            await asyncio.sleep(wait)

    def _wait(self, error: ProviderError, retry: int) -> float:
        jitter = self._rng.uniform(0.0, min(MAX_DELAY, BASE_DELAY * 2.0 ** (retry - 1)))
        return (error.retry_after or 0.0) + jitter

    def _may_retry(self, error: ProviderError, call: Call, retry: int, wait: float) -> bool:
        now = self._clock.now()
        if retry > self._retries or not _may_pass(error) or now + wait >= call.deadline:
            return False
        return self._budget.spend(now)


def poll_delay(polls: int, left: float, *, at_least: float = 0.0) -> float | None:
    """
    Seconds to wait before a backend that is loading is asked again; None: there is no time for that.

    Args:
        polls: how often it was asked again already, >= 0.
        left: seconds to the deadline; the last question comes ``LAST_POLL_MARGIN`` before it.
        at_least: seconds the backend asked us to wait.
    """
    last = left - LAST_POLL_MARGIN
    if last < MIN_POLL:
        return None
    return min(max(MIN_POLL * POLL_GROWTH ** min(polls, 32), at_least), max(MAX_POLL, at_least), last)


def _may_pass(error: ProviderError) -> bool:
    return isinstance(error, Unreachable | Failed | Busy) and not isinstance(error, QueueFull)

"""Leaving a backend alone while it is ill."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from llm_pool.core.errors import BreakerOpen, Busy, Loading, ProviderError
from llm_pool.core.events import BreakerChanged
from llm_pool.qos.breaker import Breaker, Permit, Refusal, Rules, State
from llm_pool.qos.policy import Policy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Container, Mapping
    from random import Random

    from llm_pool.core.interfaces import Clock, Emit, Provider
    from llm_pool.core.messages import Call, Delta
    from llm_pool.qos.breaker import Result

LEASE_MARGIN = 1.0
"""Seconds that a probe's lease outlasts its deadline, so that a probe that ends in time is always heard."""


class Breakers:
    """
    The breakers of a pool, one for each provider and task.

    Args:
        rules: the same for all.
        clock: the time.
        rng: draws the jitter of cooldowns.
        emit: told of every move.
        probe_timeout: seconds a probe may take before it counts as failed.
    """

    def __init__(self, rules: Rules, clock: Clock, rng: Random, emit: Emit, *, probe_timeout: float = 30.0) -> None:
        self._rules, self._clock, self._rng, self._emit = rules, clock, rng, emit
        self._probe_timeout = probe_timeout
        self._tracked: dict[tuple[str, str], _TrackedBreaker] = {}

    def subset(self, providers: Container[str]) -> Breakers:
        """The breakers of *providers*, under the same rules; both sides go on using them."""
        some = Breakers(self._rules, self._clock, self._rng, self._emit, probe_timeout=self._probe_timeout)
        some._tracked = {key: watched for key, watched in self._tracked.items() if key[0] in providers}
        return some

    def now(self) -> float:
        """The instant the breakers go by."""
        return self._clock.now()

    def refusal(self, provider: str, task: str) -> Refusal | None:
        """Why *provider* would not be asked for *task* now; None if it would. Takes nothing."""
        watched = self._tracked.get((provider, task))
        if watched is None or watched.is_calm:
            return None
        refusal = watched.breaker.refusal(self._clock.now())
        self._report(provider, task, watched)
        return refusal

    def states(self) -> Mapping[tuple[str, str], State]:
        """Where every breaker stands that has been used, by provider and task."""
        now = self._clock.now()
        return {key: watched.breaker.state(now) for key, watched in self._tracked.items()}

    def admit(self, provider: str, call: Call, *, force: bool) -> Permit | Refusal:
        """Leave to ask *provider* once, or why not; *force* when there is nobody else to ask."""
        key, now = (provider, call.task.name), self._clock.now()
        watched = self._tracked.get(key)
        if watched is None:
            watched = self._tracked[key] = _TrackedBreaker(Breaker(self._rules, self._rng))
        lease = min(self._probe_timeout, max(0.0, call.deadline - now) + LEASE_MARGIN)
        permit = watched.breaker.admit(now, lease=lease, force=force)
        self._report(*key, watched)
        return permit

    def record(self, provider: str, task: str, permit: Permit, result: Result) -> None:
        """Learn how the call under *permit* ended."""
        watched = self._tracked[provider, task]
        watched.breaker.record(permit, result, self._clock.now())
        self._report(provider, task, watched)

    def back_off(self, provider: str, task: str, seconds: float) -> None:
        """Leave *provider* alone for *seconds*, as it asked."""
        self._tracked[provider, task].breaker.back_off(seconds, self._clock.now())

    def _report(self, provider: str, task: str, watched: _TrackedBreaker) -> None:
        if watched.is_calm:
            return
        now = self._clock.now()
        before, after = watched.reported, watched.breaker.state(now)
        if before is not after:
            watched.reported = after
            refusal = watched.breaker.refusal(now) if after is State.OPEN else None
            self._emit(BreakerChanged(provider, task, before, after, 0.0 if refusal is None else refusal.retry_after))


class _TrackedBreaker(msgspec.Struct):
    """A breaker, and the state that was told of it last."""

    breaker: Breaker
    reported: State = State.CLOSED

    @property
    def is_calm(self) -> bool:
        """It admits everybody, and everybody knows."""
        return self.reported is State.CLOSED and self.breaker.is_calm


def never_backend_fault(_call: Call, _silent: float) -> bool:
    """A cancelled attempt proves nothing."""
    return False


class Breaking(Policy):
    """
    Asks while the breaker lets it, and tells the breaker how it went.

    Failures that say "ill" (``ProviderError.trips_breaker``) count; an answer that has begun is a success even if
    its asker leaves; the rest is neutral. A Busy with ``retry_after`` makes the breaker rest, but not while a model is
    loading: each asker waits for that. A call that is cancelled while the backend is silent for much longer than usual
    counts as well: a black hole whose hedges always win would otherwise never be found out, and cost every request a
    hedge.

    Args:
        inner: what is asked.
        breakers: the pool's.
        has_alternative: whether another provider could be asked for a task now. Without one the call goes through an
            open breaker: the last provider able to serve a task is never left out.
        is_backend_fault: whether a silence of so many seconds is the backend's fault; ``Timed.is_backend_fault``.
    """

    def __init__(
        self,
        inner: Provider,
        breakers: Breakers,
        has_alternative: Callable[[str], bool],
        *,
        is_backend_fault: Callable[[Call, float], bool] = never_backend_fault,
    ) -> None:
        super().__init__(inner)
        self._breakers, self._has_alternative, self._is_backend_fault = breakers, has_alternative, is_backend_fault

    async def stream(self, call: Call) -> AsyncGenerator[Delta]:
        """Ask; raises BreakerOpen, Busy while it backs off, and what *inner* raises."""
        task = call.task.name
        permit = self._permit(call)
        began = self._breakers.now()
        result: Result = "neutral"
        try:
            async with aclosing(self.inner.stream(call)) as deltas:
                async for delta in deltas:
                    if result == "neutral" and (delta.has_token or delta.final):
                        result = "ok"
                    yield delta
        except ProviderError as error:
            result = "failed" if error.trips_breaker else "neutral"
            if isinstance(error, Busy) and not isinstance(error, Loading) and error.retry_after:
                self._breakers.back_off(self.name, task, error.retry_after)
            raise
        except (asyncio.CancelledError, GeneratorExit):
            if result == "neutral" and self._is_backend_fault(call, self._breakers.now() - began):
                result = "failed"
            raise
        finally:
            self._breakers.record(self.name, task, permit, result)

    def _permit(self, call: Call) -> Permit:
        task = call.task.name
        force = self._breakers.refusal(self.name, task) is not None and not self._has_alternative(task)
        permit = self._breakers.admit(self.name, call, force=force)
        if isinstance(permit, Permit):
            return permit
        if permit.why == "backoff":
            raise Busy(self.name, "it asked us to come back later", retry_after=permit.retry_after)
        reason = "one probe is out" if permit.why == "probing" else f"next try in {permit.retry_after:.1f} s"
        raise BreakerOpen(self.name, f"breaker open for task '{task}': {reason}", retry_after=permit.retry_after)

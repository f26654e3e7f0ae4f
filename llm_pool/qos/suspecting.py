"""Noting who is silent, so that others are asked first."""

from __future__ import annotations

import math
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeAlias

from llm_pool.qos.policy import Policy
from llm_pool.qos.silence import Silence, Watch
from llm_pool.qos.suspicion import Suspicion

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Container

    from llm_pool.core.interfaces import Clock, Provider
    from llm_pool.core.messages import Call, Delta
    from llm_pool.qos.patience import Patience

Hints: TypeAlias = dict[tuple[str, str], float]
"""Instants until which others had better be asked first, by provider and task: what other processes say."""
NEARLY_ALL = 0.9
"""Share of its time after which a call that is cut short has had all of it: deciding and telling take the rest."""


def had_all_its_time(given: float, span: float) -> bool:
    """Whether a call that ended after *given* seconds had as good as all of the *span* to its deadline."""
    return given >= NEARLY_ALL * span


class Suspicions:
    """
    What is held against the providers of a pool, for each provider and task.

    Args:
        clock: the time.
        hints: of other processes; they may change.
    """

    def __init__(self, clock: Clock, hints: Hints | None = None) -> None:
        self._clock, self._hints = clock, hints if hints is not None else {}
        self._of: dict[tuple[str, str], Suspicion] = {}

    def subset(self, providers: Container[str]) -> Suspicions:
        """What is held against *providers*; both sides go on writing to it."""
        some = Suspicions(self._clock, self._hints)
        some._of = {key: suspicion for key, suspicion in self._of.items() if key[0] in providers}
        return some

    def of(self, provider: str, call: Call) -> Suspicion:
        """What is held against *provider* on the call's task."""
        return self._of.setdefault((provider, call.task.name), Suspicion())

    def is_suspect(self, provider: str, call: Call, patience: Patience) -> bool:
        """Whether *call* had better be put to others first."""
        key = (provider, call.task.name)
        if self._hints and self._clock.now() < self._hints.get(key, -math.inf):
            return True
        suspicion = self._of.get(key)
        if suspicion is None or not suspicion.is_held:
            return False
        now, left = self._clock.now(), call.deadline - call.began
        longest = min(patience.before_suspicion(provider, call), left / 2)
        return suspicion.is_suspect(now, patience=longest, span=left)

    def is_clear(self, provider: str, call: Call) -> bool:
        """Whether nothing is held against *provider* since its last good answer."""
        suspicion = self._of.get((provider, call.task.name))
        return suspicion is None or suspicion.is_clear

    def may_replace(self, late: str, other: str, call: Call, patience: Patience) -> bool:
        """
        Whether asking *other* in the place of *late* is failover, and no speculation that has to be paid for.

        It is where nothing is held against *other*, and *late* is a suspect, or has never answered where *other* has:
        that a provider is only late this time can be hoped of one that is known to answer.
        """
        if not self.is_clear(other, call):
            return False
        unknown = not self._has_answered(late) and self._has_answered(other)
        return unknown or self.is_suspect(late, call, patience)

    def _has_answered(self, provider: str) -> bool:
        """Whether there was a good answer to any task."""
        return any(suspicion.has_answered for (name, _), suspicion in self._of.items() if name == provider)


class Suspecting(Policy):
    """
    Notes each call that is late, each that was not done in all its time, and each good answer.

    Args:
        inner: what is asked.
        suspicions: the pool's.
        clock: the time.
        patience: how long the provider's silence is usual.
        is_excused: whether a call's silence means nothing now, as while the model is being loaded.
    """

    def __init__(
        self,
        inner: Provider,
        suspicions: Suspicions,
        clock: Clock,
        patience: Patience,
        *,
        is_excused: Callable[[Call], bool] = lambda _: False,
    ) -> None:
        super().__init__(inner)
        self._suspicions, self._clock, self._patience, self._is_excused = suspicions, clock, patience, is_excused

    async def stream(self, call: Call) -> AsyncGenerator[Delta]:
        """Ask; raises what *inner* raises."""
        suspicion, now = self._suspicions.of(self.name, call), self._clock.now
        began, done, late = now(), False, False

        def hold_against(silent: float) -> None:
            nonlocal late
            late = True
            suspicion.late(silent, now())

        silence = Silence(began, call.deadline, call.idle)
        suspicion.begin(began)
        watching = Watch(
            silence,
            lambda: self._patience.before_suspicion(self.name, call),
            hold_against,
            soonest=self._patience.soonest,
            excused=lambda: self._is_excused(call),
        )
        try:
            with watching:
                async with aclosing(self.inner.stream(call)) as deltas:
                    async for delta in deltas:
                        silence.hear(now())
                        if delta.final:
                            done = True
                            suspicion.good()
                        yield delta
        finally:
            if not done and not late:
                given = now() - began
                all_given = had_all_its_time(given, call.deadline - began) and not silence.flows
                if all_given and not self._is_excused(call):
                    suspicion.missed(given, now())

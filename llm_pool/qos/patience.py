"""
How long to wait for a provider's word: what is configured, and what is usual.

Four patiences, each for what it costs to be wrong:

- a *hedge* is due after ``hedge_after``; adaptive, after the provider's own 95th percentile of time to first token, and
  no later than ``LATE_FACTOR`` medians. It costs a call, and is paid from the budget.
- silence is *held against* a provider (``suspicion``) when a hedge is due, and no sooner than is usual for it. It
  costs the provider its place, until its next good answer.
- a silent call gives its *slot* back when silence is held against it; where nothing is known of the provider, not
  before ``UNKNOWN``. It costs the machine a call beside the one that is late.
- a *vote* is waited for ``VOTE_FACTOR`` times as long as is usual, votes that were cut short included, and at least for
  ``UNKNOWN``; a suspect's only until a hedge would be due. It costs a vote.

None is longer than half of the time that is left (``silence``).

Source: Dean & Barroso, The Tail at Scale, CACM 56(2), 2013 (hedge after the 95th percentile).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.qos.latency import MIN_SAMPLES, LatencyKey

if TYPE_CHECKING:
    from llm_pool.core.interfaces import Clock
    from llm_pool.core.messages import Call
    from llm_pool.qos.latency import Latencies

MIN_HEDGE_DELAY = 0.05
"""Seconds; a hedge sooner than that doubles the load for noise."""
LATE_FACTOR = 2.5
"""
Medians after which a first token is late, whatever the 95th percentile says: where one call in twenty is slow, the 95th
percentile is a slow one.
"""
VOTE_FACTOR = 3.0
UNKNOWN = 1.0
"""Seconds without a word that mean something where the usual time is unknown."""
FEW_SAMPLES = 5
"""First tokens after which there is something usual."""


class Patience:
    """
    Seconds to wait for a provider's first word on a call.

    Args:
        latencies: the record.
        clock: the time.
        hedge_after: seconds after which a hedge is due; adaptive: until enough is known.
        adaptive: whether the record decides when a hedge is due.
    """

    def __init__(self, latencies: Latencies, clock: Clock, *, hedge_after: float, adaptive: bool = False) -> None:
        self._latencies, self._clock = latencies, clock
        self._hedge_after, self._adaptive = hedge_after, adaptive

    @property
    def soonest(self) -> float:
        """What none of them is less than."""
        return MIN_HEDGE_DELAY if self._adaptive else self._hedge_after

    def before_hedge(self, provider: str, call: Call) -> float:
        """Until another is asked beside it."""
        if not self._adaptive:
            return self._hedge_after
        p50, p95 = (self._ttft(provider, call, q) for q in (0.5, 0.95))
        if p50 is None or p95 is None:
            return self._hedge_after
        return max(min(p95, LATE_FACTOR * p50), MIN_HEDGE_DELAY)

    def before_suspicion(self, provider: str, call: Call) -> float:
        """Until silence is held against it."""
        return max(self.before_hedge(provider, call), self._usual(provider, call) or 0.0)

    def before_overtaking(self, provider: str, call: Call) -> float:
        """Until its slot is lent to another model."""
        usual = self._usual(provider, call)
        return max(self.before_hedge(provider, call), UNKNOWN if usual is None else usual)

    def before_deciding(self, provider: str, call: Call, *, suspect: bool) -> float:
        """Until a decision that can be made is made without its vote."""
        if suspect:
            return self.before_hedge(provider, call)
        known = self._ttft(provider, call, 0.95, min_samples=1)
        return max(UNKNOWN, VOTE_FACTOR * (known or 0.0))

    def _usual(self, provider: str, call: Call) -> float | None:
        """What a first token that came took, at the slow end; None: too little is known."""
        p50, p95 = (self._ttft(provider, call, q, min_samples=FEW_SAMPLES, exclude_censored=True) for q in (0.5, 0.95))
        return None if p50 is None or p95 is None else min(p95, LATE_FACTOR * p50)

    def _ttft(
        self,
        provider: str,
        call: Call,
        q: float,
        *,
        min_samples: int = MIN_SAMPLES,
        exclude_censored: bool = False,
    ) -> float | None:
        return self._latencies.quantile(
            LatencyKey(provider, call.task.name, "ttft"),
            q,
            self._clock.now(),
            min_samples=min_samples,
            exclude_censored=exclude_censored,
        )

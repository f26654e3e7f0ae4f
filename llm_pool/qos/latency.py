"""
How long a backend takes: rolling quantiles, cheap to write and honest about calls that were cut short.

Rules:

- Values go into logarithmic buckets, each ten percent wider than the one before, so a quantile is right to about
  five percent from a millisecond to hours.
- Two windows: one being filled, one behind it. A window turns when it is ``WINDOW`` seconds old and has enough
  samples, or at ``MAX_WINDOW_AGE`` seconds whatever it has, so busy keys remember the last minute and quiet ones
  what they know.
- A call that was cancelled after *t* seconds says "longer than *t*" and nothing else. To leave it out would drop the
  slow ones, to count it as *t* would make them look fast; either way a hedge delay learned from the record drifts
  down. It counts as a censored sample in the Kaplan-Meier estimate: it is at risk up to its bucket, then leaves.
- A quantile that lies beyond everything observed is answered with the largest bound there is: "at least this".

Sources: Kaplan & Meier, Nonparametric estimation from incomplete observations, JASA 53, 1958; Dean & Barroso, The Tail
at Scale, CACM 56(2), 2013; tower ``hedge`` (two rotating histograms); DDSketch (logarithmic buckets).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Container

MIN_SAMPLES = 30
"""Samples under which a quantile is no more than an anecdote."""
WINDOW = 30.0
MAX_WINDOW_AGE = 900.0
GROWTH = 1.1
SMALLEST = 0.001
BUCKETS = 180  # the last one begins at 0.001 * 1.1 ** 179, more than seven hours

LatencyKind: TypeAlias = Literal["ttft", "total", "load"]
_PER_LOG = 1.0 / math.log(GROWTH)
_log = math.log


class LatencyKey(NamedTuple):
    """What is measured: time to the first token, to the last, or loading the model."""

    provider: str
    task: str
    what: LatencyKind


class Latencies:
    """The record of every key."""

    def __init__(self) -> None:
        self._records: dict[LatencyKey, _Record] = {}

    def subset(self, providers: Container[str]) -> Latencies:
        """The record of *providers*; both go on writing to it."""
        some = Latencies()
        some._records = {key: record for key, record in self._records.items() if key.provider in providers}
        return some

    def add(self, key: LatencyKey, seconds: float, now: float, *, censored: bool = False) -> None:
        """Note that *key* took *seconds*, or at least that long if *censored*."""
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = _Record(now)
        record.add(seconds, now, censored=censored)

    def quantile(
        self, key: LatencyKey, q: float, now: float, *, min_samples: int = MIN_SAMPLES, exclude_censored: bool = False
    ) -> float | None:
        """
        Seconds that a share *q* of the calls stays within.

        Args:
            key: what is asked about.
            q: in (0, 1).
            now: instant.
            min_samples: samples needed for an answer, censored ones included.
            exclude_censored: leave censored samples out: what a healthy call takes, were the slow ones ill.

        Returns:
            None with fewer samples than *min_samples*.
        """
        record = self._records.get(key)
        return None if record is None else record.quantile(q, now, min_samples, exclude_censored=exclude_censored)


class _Window:
    __slots__ = ("began", "censored_at", "ended", "samples")

    def __init__(self, began: float) -> None:
        self.began, self.samples = began, 0
        self.ended = [0] * BUCKETS
        self.censored_at = [0] * BUCKETS


class _Record:
    __slots__ = ("_current", "_previous")

    def __init__(self, now: float) -> None:
        self._current, self._previous = _Window(now), _Window(now)

    def add(self, seconds: float, now: float, *, censored: bool) -> None:
        window = self._current
        age = now - window.began
        if age >= WINDOW or age < 0:
            window = self._rotated(now)
        bucket = int(_log(seconds / SMALLEST) * _PER_LOG) if seconds > SMALLEST else 0
        if bucket >= BUCKETS:
            bucket = BUCKETS - 1
        if censored:
            window.censored_at[bucket] += 1
        else:
            window.ended[bucket] += 1
        window.samples += 1

    def quantile(self, q: float, now: float, min_samples: int, *, exclude_censored: bool) -> float | None:
        current, previous = self._rotated(now), self._previous
        at_risk = current.samples + previous.samples
        if exclude_censored:
            at_risk -= sum(current.censored_at) + sum(previous.censored_at)
        if at_risk < max(min_samples, 1):
            return None
        surviving, last = 1.0, 0
        for bucket in range(BUCKETS):
            ended = current.ended[bucket] + previous.ended[bucket]
            censored_at = 0 if exclude_censored else current.censored_at[bucket] + previous.censored_at[bucket]
            if not ended and not censored_at:
                continue
            surviving *= 1.0 - ended / at_risk
            at_risk -= ended + censored_at
            last = bucket
            if surviving <= 1.0 - q:
                break
        return SMALLEST * math.pow(GROWTH, last + 0.5)

    def _rotated(self, now: float) -> _Window:
        """The window to fill at *now*."""
        window = self._current
        age = now - window.began
        if age >= MAX_WINDOW_AGE:
            self._previous = window if age < 2 * MAX_WINDOW_AGE else _Window(now)
        elif age >= WINDOW and window.samples >= MIN_SAMPLES:
            self._previous = window
        elif age < 0:  # the clock stepped back
            window.began = now
            return window
        else:
            return window
        self._current = _Window(now)
        return self._current

"""
How long a backend takes: rolling quantiles, cheap to write and honest about calls that were cut short.

Rules:

- Values go into logarithmic buckets, each ten percent wider than the one before, so a quantile is right to about
  five percent from a millisecond to hours.
- Two windows: one being filled, one behind it. A window turns when it is ``WINDOW`` seconds old and has enough
  samples, or at ``STALE`` seconds whatever it has, so busy keys remember the last minute and quiet ones what they know.
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

ENOUGH = 30
"""Samples under which a quantile is no more than an anecdote."""
WINDOW = 30.0
STALE = 900.0
GROWTH = 1.1
SMALLEST = 0.001
BUCKETS = 180  # the last one begins at 0.001 * 1.1 ** 179, more than seven hours

What: TypeAlias = Literal["ttft", "total", "load"]
_PER_LOG = 1.0 / math.log(GROWTH)
_log = math.log


class Key(NamedTuple):
    """What is measured: time to the first token, to the last, or loading the model."""

    provider: str
    task: str
    what: What


class Latencies:
    """The record of every key."""

    def __init__(self) -> None:
        self._records: dict[Key, _Record] = {}

    def only(self, providers: Container[str]) -> Latencies:
        """The record of *providers*; both go on writing to it."""
        some = Latencies()
        some._records = {key: record for key, record in self._records.items() if key.provider in providers}
        return some

    def add(self, key: Key, seconds: float, now: float, *, censored: bool = False) -> None:
        """Note that *key* took *seconds*, or at least that long if *censored*."""
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = _Record(now)
        record.add(seconds, now, censored=censored)

    def quantile(
        self, key: Key, q: float, now: float, *, enough: int = ENOUGH, ended_only: bool = False
    ) -> float | None:
        """
        Seconds that a share *q* of the calls stays within.

        Args:
            key: what is asked about.
            q: in (0, 1).
            now: instant.
            enough: samples needed for an answer, censored ones included.
            ended_only: leave censored samples out: what a healthy call takes, were the slow ones ill.

        Returns:
            None with fewer samples than *enough*.
        """
        record = self._records.get(key)
        return None if record is None else record.quantile(q, now, enough, ended_only=ended_only)


class _Window:
    __slots__ = ("began", "cut", "ended", "samples")

    def __init__(self, began: float) -> None:
        self.began, self.samples = began, 0
        self.ended = [0] * BUCKETS
        self.cut = [0] * BUCKETS


class _Record:
    __slots__ = ("_behind", "_filling")

    def __init__(self, now: float) -> None:
        self._filling, self._behind = _Window(now), _Window(now)

    def add(self, seconds: float, now: float, *, censored: bool) -> None:
        window = self._filling
        age = now - window.began
        if age >= WINDOW or age < 0:
            window = self._turned(now)
        bucket = int(_log(seconds / SMALLEST) * _PER_LOG) if seconds > SMALLEST else 0
        if bucket >= BUCKETS:
            bucket = BUCKETS - 1
        if censored:
            window.cut[bucket] += 1
        else:
            window.ended[bucket] += 1
        window.samples += 1

    def quantile(self, q: float, now: float, enough: int, *, ended_only: bool) -> float | None:
        filling, behind = self._turned(now), self._behind
        at_risk = filling.samples + behind.samples
        if ended_only:
            at_risk -= sum(filling.cut) + sum(behind.cut)
        if at_risk < max(enough, 1):
            return None
        surviving, last = 1.0, 0
        for bucket in range(BUCKETS):
            ended = filling.ended[bucket] + behind.ended[bucket]
            cut = 0 if ended_only else filling.cut[bucket] + behind.cut[bucket]
            if not ended and not cut:
                continue
            surviving *= 1.0 - ended / at_risk
            at_risk -= ended + cut
            last = bucket
            if surviving <= 1.0 - q:
                break
        return SMALLEST * math.pow(GROWTH, last + 0.5)

    def _turned(self, now: float) -> _Window:
        """The window to fill at *now*."""
        window = self._filling
        age = now - window.began
        if age >= STALE:
            self._behind = window if age < 2 * STALE else _Window(now)
        elif age >= WINDOW and window.samples >= ENOUGH:
            self._behind = window
        elif age < 0:  # the clock stepped back
            window.began = now
            return window
        else:
            return window
        self._filling = _Window(now)
        return self._filling

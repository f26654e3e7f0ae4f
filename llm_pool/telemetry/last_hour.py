"""
The last hour, minute by minute: what the status page draws. Bounded, however much is asked.

A minute keeps counts, and its durations in buckets that grow by a tenth each: a percentile is right to 5 percent.
Source of the buckets: Masson, Rim, Lee, DDSketch, VLDB 12(12), 2019.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import TYPE_CHECKING

from llm_pool.core.events import AttemptEnded, RequestAnswered, RequestFailed
from llm_pool.telemetry.labels import BoundedLabels

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_pool.core.events import Event
    from llm_pool.core.messages import Answer, Attempt, Json

MINUTES = 60
WINNERS = 16
"""Providers with a name of their own; wins of others count together."""
SHORTEST, GROWTH, BUCKETS = 0.001, 1.1, 144
"""Seconds of the shortest duration that is told apart, the buckets' growth, and their number: up to a quarter hour."""


class LastHour:
    """
    An observer that counts by the minute.

    Args:
        wall: Unix seconds.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall, self._minutes = wall, deque[_Minute](maxlen=MINUTES)
        self._names = BoundedLabels(WINNERS)

    def on(self, event: Event) -> None:
        """Count the end of a request or of a call."""
        match event:
            case AttemptEnded():
                self._now().note_attempt(event.attempt)
            case RequestAnswered():
                self._now().note_answer(event.answer, self._names.name(event.answer.winner))
            case RequestFailed():
                self._now().failed += 1
            case _:
                pass

    def as_json(self) -> dict[str, Json]:
        """Each minute of the hour that ends now, the oldest first, also those in which nothing happened."""
        known, last = {minute.number: minute for minute in self._minutes}, _number(self._wall())
        numbers = range(last - MINUTES + 1, last + 1)
        return {"minutes": [known.get(number, _Minute(number)).as_json() for number in numbers]}

    def _now(self) -> _Minute:
        number = _number(self._wall())
        if not self._minutes or self._minutes[-1].number < number:
            self._minutes.append(_Minute(number))
        return self._minutes[-1]  # also while the clock is set back: the minutes go on where they were


class Durations:
    """Durations in buckets, each a tenth longer than the one before."""

    def __init__(self) -> None:
        self._counts = Counter[int]()

    def add(self, seconds: float) -> None:
        """Note a duration."""
        bucket = math.ceil(math.log(max(seconds, SHORTEST) / SHORTEST, GROWTH))
        self._counts[min(bucket, BUCKETS)] += 1

    def quantile(self, q: float) -> float | None:
        """The nearest-rank quantile in seconds, right to 5 percent; None of nothing."""
        left = math.ceil(q * self._counts.total())
        for bucket in sorted(self._counts):
            left -= self._counts[bucket]
            if left <= 0:
                return SHORTEST * GROWTH ** (bucket - 0.5) if bucket else SHORTEST
        return None


class _Minute:
    """What ended in one minute of Unix time."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.answered = self.cached = self.failed = 0
        self._durations, self._wins = Durations(), Counter[str]()
        self._prompt_tokens = self._completion_tokens = self._written = 0
        self._writing = 0.0

    def note_answer(self, answer: Answer, winner: str) -> None:
        """Count a request that got its answer."""
        self._durations.add(answer.duration)
        if answer.from_cache:
            self.cached += 1
        else:
            self.answered += 1
            self._wins[winner] += 1

    def note_attempt(self, attempt: Attempt) -> None:
        """Count what a call cost, whatever became of it, and how fast an answer was written."""
        tokens = attempt.usage.completion_tokens or 0
        self._prompt_tokens += attempt.usage.prompt_tokens or 0
        self._completion_tokens += tokens
        if attempt.outcome == "ok" and tokens > 1 and attempt.writing:
            self._written += tokens - 1
            self._writing += attempt.writing

    def as_json(self) -> dict[str, Json]:
        """As JSON; null where nothing is known."""
        p50, p95 = self._durations.quantile(0.5), self._durations.quantile(0.95)
        return {
            "at": self.number * 60,
            "answered": self.answered,
            "cached": self.cached,
            "failed": self.failed,
            "p50_ms": None if p50 is None else round(p50 * 1000, 1),
            "p95_ms": None if p95 is None else round(p95 * 1000, 1),
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": self._completion_tokens,
            "tokens_per_second": round(self._written / self._writing, 1) if self._writing > 0 else None,
            "wins": dict(self._wins),
        }


def _number(unix: float) -> int:
    return int(unix // 60)

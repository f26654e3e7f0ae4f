"""
The circuit breaker of one (provider, task): a pure rule, ``now`` comes in.

::

                    failures reach the rate                     cooldown over
      ┌────────┐ ─────────────────────────▶ ┌──────┐ ───────────────────────────▶ ┌───────────┐
      │ closed │                            │ open │                              │ half-open │
      └────────┘ ◀── a forced call is ok ── └──────┘ ◀─ probe fails or goes quiet ─ └───────────┘
           ▲                                                                            │
           └──────────────────────────────── probe is ok ───────────────────────────────┘

Rules:

- *closed* admits everybody. It opens when ``fail_rate`` of the last ``window_size`` results are failures, on
  ``min_calls`` results and on five failures (or as many as a full window needs to reach the rate, where that is
  fewer): one failure of one call is not 100 %, one in ten is no trend, and a backend that is dead from the start is
  left alone after five.
- *open* refuses until the cooldown is over. The first lasts ``cooldown``, each further one in a row twice the one
  before, at most ``max_cooldown``, plus up to ``jitter`` of itself so that a fleet does not come back in step. It is
  "in a row" when the breaker was closed for less than a cooldown in between.
- *half-open* admits one probe, on a lease. Its success closes, its failure opens; a probe that has not come back
  when its lease ends has failed. A neutral end (cancelled, refused, busy) frees the lease for the next probe.
- Every move starts a new *generation*; results of permits from an older one are ignored.
- A *forced* permit is given in any state, for a caller who has nobody else to ask. Its success closes.
- *backoff* is apart from all this: a backend that asks us to come back later (429, 503 with Retry-After) is left
  alone for that long without being called ill. Nobody forces that.
- Time only counts forward: a clock that steps back restarts a wait, it never lengthens one.

Sources: Nygard, Release It! (the three states); Finagle failure accrual and Envoy consecutive_5xx (five failures);
Polly v8 (break duration grows with each break in a row); resilience4j issue 903 (half-open for ever when the probe
hangs, hence the lease); gRPC A6 (server pushback, hence backoff).
"""

from __future__ import annotations

import math
from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

if TYPE_CHECKING:
    from random import Random

Result: TypeAlias = Literal["ok", "failed", "neutral"]
ENOUGH_FAILURES = 5
ROUNDING = 1e-9  # 0.07 * 100 is 7.000000000000001


class State(StrEnum):
    """Where a breaker stands; *open* refuses."""

    CLOSED = "closed"
    HALF_OPEN = "half-open"
    OPEN = "open"


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """
    When a breaker opens, and for how long.

    Attributes:
        fail_rate: share of failures that opens, in (0, 1].
        window_size: how many results the share is taken over, >= 1.
        min_calls: results that must be in before the share is judged, at most *window_size*.
        cooldown: seconds of the first open time.
        max_cooldown: seconds; doubling stops here. A smaller value than *cooldown* means: no doubling.
        jitter: part of the cooldown that chance may add, in [0, 1].
    """

    fail_rate: float = 0.10
    window_size: int = 50
    min_calls: int = 5
    cooldown: float = 300.0
    max_cooldown: float = 1200.0
    jitter: float = 0.1

    def opens_at(self, failures: int, results: int) -> bool:
        """Whether *failures* among *results* open the breaker."""
        enough = min(ENOUGH_FAILURES, math.ceil(self.fail_rate * self.window_size - ROUNDING))
        if failures < enough or results < min(self.min_calls, self.window_size):
            return False
        return failures >= self.fail_rate * results - ROUNDING


class Permit(msgspec.Struct, frozen=True):
    """Leave to ask once; hand it back with ``record``."""

    generation: int
    probe: bool = False
    forced: bool = False


class Refusal(msgspec.Struct, frozen=True):
    """No leave: *why*, and the seconds after which asking again makes sense."""

    why: Literal["open", "probing", "backoff"]
    retry_after: float


class Breaker:
    """
    One breaker.

    Args:
        rules: when it opens, and for how long.
        rng: draws the jitter.
    """

    def __init__(self, rules: Rules, rng: Random) -> None:
        self._rules, self._rng = rules, rng
        self._state = State.CLOSED
        self._generation = 0
        self._results: deque[bool] = deque(maxlen=rules.window_size)
        self._opened_in_a_row = 0
        self._wait = _Wait()
        self._lease: _Wait | None = None
        self._backoff = _NO_WAIT
        self._relapse_window = _Wait()

    @property
    def is_calm(self) -> bool:
        """Closed, and not asked to back off: it admits everybody, whatever the time."""
        return self._state is State.CLOSED and self._backoff is _NO_WAIT

    def state(self, now: float) -> State:
        """Where it stands at *now*."""
        if self._state is State.OPEN and self._wait.left(now) <= 0:
            self._move(State.HALF_OPEN)
        if self._state is State.HALF_OPEN and self._lease is not None and self._lease.left(now) <= 0:
            self._open(self._lease.end)
            return self.state(now)
        return self._state

    def refusal(self, now: float) -> Refusal | None:
        """What ``admit`` would refuse with at *now*; None if it would admit. Takes nothing."""
        if self.is_calm:
            return None
        if (back_off := self._backoff.left(now)) > 0:
            return Refusal("backoff", back_off)
        self._backoff = _NO_WAIT
        state = self.state(now)
        if state is State.OPEN:
            return Refusal("open", self._wait.left(now))
        if state is State.HALF_OPEN and self._lease is not None:
            return Refusal("probing", self._lease.left(now))
        return None

    def admit(self, now: float, *, lease: float, force: bool = False) -> Permit | Refusal:
        """
        Leave to ask, or why not.

        Args:
            now: instant.
            lease: seconds after which a probe that has not come back counts as failed, > 0.
            force: there is nobody else to ask.
        """
        refusal = self.refusal(now)
        if refusal is None and self._state is State.HALF_OPEN:
            self._lease = _Wait(now, lease)
            return Permit(self._generation, probe=True)
        if refusal is None:
            return Permit(self._generation)
        if force and refusal.why != "backoff":
            return Permit(self._generation, forced=True)
        return refusal

    def record(self, permit: Permit, result: Result, now: float) -> None:
        """Learn how the call under *permit* ended; once for each permit."""
        state = self.state(now)
        if permit.generation != self._generation:
            return
        if state is State.CLOSED:
            self._count(result, now)
        elif result == "ok":
            self._close(now)
        elif permit.probe and result == "failed":
            self._open(now)
        elif permit.probe:
            self._lease = None

    def back_off(self, seconds: float, now: float) -> None:
        """The backend asks to be left alone for *seconds*; ``max_cooldown`` is the longest we believe."""
        longest = max(self._rules.cooldown, self._rules.max_cooldown)
        if seconds > self._backoff.left(now):
            self._backoff = _Wait(now, min(seconds, longest))

    def _count(self, result: Result, now: float) -> None:
        if result == "neutral":
            return
        self._results.append(result == "failed")
        if True in self._results and self._rules.opens_at(sum(self._results), len(self._results)):
            self._open(now)

    def _open(self, now: float) -> None:
        if self._state is State.CLOSED and self._relapse_window.left(now) <= 0:
            self._opened_in_a_row = 0
        length = min(
            self._rules.cooldown * 2.0 ** min(self._opened_in_a_row, 32),
            max(self._rules.cooldown, self._rules.max_cooldown),
        )
        self._opened_in_a_row += 1
        self._wait = _Wait(now, length * (1 + self._rules.jitter * self._rng.random()))
        self._move(State.OPEN)

    def _close(self, now: float) -> None:
        self._relapse_window = _Wait(now, self._wait.length)
        self._move(State.CLOSED)

    def _move(self, state: State) -> None:
        self._state = state
        self._generation += 1
        self._lease = None
        self._results.clear()

    def __repr__(self) -> str:
        return f"<Breaker [{self._state} | {sum(self._results)} of {len(self._results)} failed]>"


class _Wait:
    """A span that began at an instant; a clock that steps back restarts it."""

    def __init__(self, start: float = -math.inf, length: float = 0.0) -> None:
        self.start, self.length = start, length

    @property
    def end(self) -> float:
        return self.start + self.length

    def left(self, now: float) -> float:
        """Seconds left at *now*, never more than the whole."""
        self.start = min(self.start, now)
        return max(0.0, self.end - now)


_NO_WAIT = _Wait()

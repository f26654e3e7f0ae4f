"""
What may be spent on calls beyond the first: one budget for hedges, retries and failovers.

Rule: within any ``WINDOW`` seconds at most ``max(ratio * requests, floor * WINDOW)`` further calls are made. Trouble
upstream therefore never multiplies load by more than ``1 + ratio``, and a pool that is asked once an hour can
still fail over. A request counts when it begins, not when it ends: a stalled backend must not stop the count.

The budget is asked for the second call of a request, never for the first: when it is exhausted a request goes on
with the calls it has, it does not fail.

Sources: gRPC proposal A6 (throttling of retries and hedges together); Finagle RetryBudget (a share of requests over
10 s plus a floor); Envoy retry budgets (a minimum that keeps small deployments retrying); failsafe-go issue 141 (an
exceeded budget must not fail the call); Dean & Barroso, The Tail at Scale, CACM 56(2), 2013 (a few percent more
load buy most of the tail).
"""

from __future__ import annotations

from collections import deque

WINDOW = 10.0
SLICES = 10


class Budget:
    """
    One budget, shared by everything that calls again.

    Args:
        ratio: further calls as a share of requests, in [0, 1].
        floor: further calls a second that are allowed however few requests there are, >= 0.
    """

    def __init__(self, ratio: float = 0.1, floor: float = 1.0) -> None:
        self._ratio, self._floor = ratio, floor * WINDOW
        self._slices: deque[_Slice] = deque()
        self._requests = self._spent = 0

    def note_request(self, now: float) -> None:
        """A request begins, with its first call."""
        self._slice(now).requests += 1
        self._requests += 1

    def spend(self, now: float) -> bool:
        """Pay for one further call; False means: do without it."""
        newest = self._slice(now)
        if self.left(now) < 1.0:
            return False
        newest.spent += 1
        self._spent += 1
        return True

    def left(self, now: float) -> float:
        """Further calls that could be paid for at *now*."""
        self._slice(now)
        return max(self._ratio * self._requests, self._floor) - self._spent

    def _slice(self, now: float) -> _Slice:
        """The slice of *now*, with those that are older than the window forgotten."""
        slices, number = self._slices, int(now // (WINDOW / SLICES))
        while slices and not number - SLICES < slices[0].number <= number:  # too old, or the clock stepped back
            self._requests -= slices[0].requests
            self._spent -= slices[0].spent
            slices.popleft()
        if not slices or slices[-1].number != number:
            slices.append(_Slice(number))
        return slices[-1]

    def __repr__(self) -> str:
        return f"<Budget [{self._spent} spent on {self._requests} requests]>"


class _Slice:
    __slots__ = ("number", "requests", "spent")

    def __init__(self, number: int) -> None:
        self.number, self.requests, self.spent = number, 0, 0

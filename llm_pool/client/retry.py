"""
Whether a query is sent again, and when: a rule without a clock, the same in each of our SDKs (``sdk/vectors``).

Sent again is what the server did not take: overloaded, stopping, over a rate, out of reach. The wait is what the server
asks for, at least a random share of a backoff that doubles; who has less time than that is told at once. Each further
attempt is paid from a budget that all clients of a process share, so that clients of a server in need do not make it
worse.

Sources: "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), full jitter; gRPC proposal A6 for the budget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.core.errors import LlmPoolError, Overloaded, RateLimited, Unreachable

if TYPE_CHECKING:
    from llm_pool.qos.budget import Budget

INITIAL_BACKOFF = 0.1
"""Seconds before the first retry at most; each further one waits up to twice as long."""
MAX_WAIT = 5.0
"""Seconds: a server that asks for more is not waited for."""


class Retry:
    """
    The attempts of one query.

    Args:
        retries: further attempts at most.
        budget: what they are paid from.
        deadline: the query's, an instant; None: none.
    """

    def __init__(self, retries: int, budget: Budget, deadline: float | None) -> None:
        self._retries_left, self._budget, self._deadline = retries, budget, deadline
        self._backoff = INITIAL_BACKOFF

    def wait(self, error: LlmPoolError, *, now: float, draw: float) -> float | None:
        """
        Seconds until the next attempt; None where none makes sense, and *error* is the query's end.

        Args:
            error: of the last attempt.
            now: an instant, on the deadline's scale.
            draw: a random number in [0, 1).
        """
        if not is_retryable(error) or not self._retries_left:
            return None
        wait = max(getattr(error, "retry_after", None) or 0.0, draw * self._backoff)
        if wait > MAX_WAIT or (self._deadline is not None and wait >= self._deadline - now):
            return None
        if not self._budget.spend(now):
            return None
        self._retries_left, self._backoff = self._retries_left - 1, self._backoff * 2
        return wait


def is_retryable(error: LlmPoolError) -> bool:
    """Whether the server did not take what it was asked: another attempt may fare better."""
    return isinstance(error, Overloaded | RateLimited | Unreachable)

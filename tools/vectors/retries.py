"""Decisions: whether a query is sent again, after which wait; and what a budget pays for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_pool.client.retry import INITIAL_BACKOFF, MAX_WAIT, Retry
from llm_pool.core.errors import Unreachable
from llm_pool.qos.budget import Budget
from llm_pool.wire.json import error_from

if TYPE_CHECKING:
    from llm_pool.core.errors import LlmPoolError
    from llm_pool.core.messages import Json

AMPLE = {"ratio": 1.0, "floor": 100.0}
"""A budget that never says no."""


def _failed(at_ms: float, code: str, draw: float = 0.5, retry_after_ms: float | None = None) -> dict[str, Any]:
    return {"at_ms": at_ms, "error": {"code": code, "retry_after_ms": retry_after_ms}, "draw": draw}


CASES: dict[str, dict[str, Any]] = {
    "waits twice as long each time": {
        "retries": 4,
        "failures": [_failed(0, "unreachable"), _failed(100, "unreachable"), _failed(300, "unreachable")],
    },
    "the wait is drawn": {
        "retries": 3,
        "failures": [_failed(0, "unreachable", 0.0), _failed(1, "unreachable", 0.25), _failed(2, "unreachable", 0.75)],
    },
    "ends with the retries": {"failures": [_failed(0, "stopping"), _failed(100, "stopping"), _failed(200, "stopping")]},
    "none are allowed": {"retries": 0, "failures": [_failed(0, "unreachable")]},
    "the server's own pause is kept": {
        "failures": [_failed(0, "overloaded", 0.5, 700), _failed(800, "rate_limited", 0.5, 10)]
    },
    "a pause too long is not waited for": {"failures": [_failed(0, "rate_limited", 0.5, 5001)]},
    "the longest pause": {"failures": [_failed(0, "rate_limited", 0.5, 5000)]},
    "a pause beyond the deadline": {"deadline_ms": 1000, "failures": [_failed(400, "overloaded", 0.5, 600)]},
    "a pause within the deadline": {"deadline_ms": 1000, "failures": [_failed(400, "overloaded", 0.5, 599)]},
    "the deadline is over": {"deadline_ms": 1000, "failures": [_failed(1000, "unreachable", 0.0)]},
    "a budget of nothing": {"budget": {"ratio": 0.0, "floor": 0.0}, "failures": [_failed(0, "unreachable")]},
    "a budget of one": {
        "retries": 9,
        "budget": {"ratio": 1.0, "floor": 0.0},
        "failures": [_failed(0, "unreachable"), _failed(50, "unreachable")],
    },
    **{
        f"{code} is final": {"failures": [_failed(0, code, 0.5, 10)]}
        for code in (
            "invalid_request",
            "unauthenticated",
            "permission_denied",
            "request_id_reused",
            "cancelled",
            "deadline_exceeded",
            "no_consensus",
            "all_providers_failed",
            "all_providers_unavailable",
            "internal",
        )
    },
}
BUDGETS: dict[str, dict[str, Any]] = {
    "a share of requests": {
        "budget": {"ratio": 0.5, "floor": 0.0},
        "steps": [[0, "request"], [0, "spend"], [1000, "request"], [1000, "spend"], [1000, "spend"]],
    },
    "a floor without requests": {
        "budget": {"ratio": 0.0, "floor": 0.25},
        "steps": [[0, "spend"], [10, "spend"], [20, "spend"], [10_100, "spend"]],
    },
    "the window moves": {
        "budget": {"ratio": 1.0, "floor": 0.0},
        "steps": [
            [0, "request"],
            [9900, "spend"],
            [10_000, "spend"],
            [25_000, "spend"],
            [25_000, "request"],
            [25_100, "spend"],
        ],
    },
    "a clock that steps back": {
        "budget": {"ratio": 1.0, "floor": 0.0},
        "steps": [[50_000, "request"], [20_000, "spend"], [20_000, "request"], [20_000, "spend"]],
    },
}


def vectors() -> Json:
    """Each failure of a query with the wait after it, in milliseconds; null: the error is the query's end."""
    return {
        "initial_backoff_ms": INITIAL_BACKOFF * 1000,
        "max_wait_ms": MAX_WAIT * 1000,
        "default_retries": 2,
        "default_budget": {"ratio": 0.1, "floor": 0.5},
        "queries": [_query(name, case) for name, case in CASES.items()],
        "budgets": [_budget(name, case) for name, case in BUDGETS.items()],
    }


def _query(name: str, case: dict[str, Any]) -> Json:
    case = {"retries": 2, "deadline_ms": None, "budget": AMPLE, **case}
    budget, deadline = Budget(**case["budget"]), case["deadline_ms"]
    budget.note_request(0.0)
    retry = Retry(case["retries"], budget, None if deadline is None else deadline / 1000)
    failures = [{**failure, "wait_ms": _wait(retry, failure)} for failure in case["failures"]]
    return {"name": name, **case, "failures": failures}


def _wait(retry: Retry, failure: dict[str, Any]) -> float | None:
    wait = retry.wait(_error(**failure["error"]), now=failure["at_ms"] / 1000, draw=failure["draw"])
    return None if wait is None else round(wait * 1000, 6)


def _error(code: str, retry_after_ms: float | None) -> LlmPoolError:
    if code == "unreachable":
        return Unreachable("http://127.0.0.1:7071", "nobody listens")
    return error_from({"error": {"code": code, "message": "no", "retry_after_ms": retry_after_ms}})


def _budget(name: str, case: dict[str, Any]) -> Json:
    budget = Budget(**case["budget"])
    steps = [{"at_ms": at_ms, "does": does, **_step(budget, at_ms / 1000, does)} for at_ms, does in case["steps"]]
    return {"name": name, "budget": case["budget"], "steps": steps}


def _step(budget: Budget, now: float, does: str) -> dict[str, Json]:
    if does == "request":
        budget.note_request(now)
        return {}
    return {"paid": budget.spend(now)}

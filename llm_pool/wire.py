"""
Answers and errors as JSON: the one shape that the command line prints and the daemon sends.

Seconds become ``_ms`` here. Names are those of the system this one succeeds (``request_id``, ``content``,
``winner_model``, ``duration_ms``, ``from_cache``, ``strategy_used``, ``models_queried``); the rest is ours.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from llm_pool.errors import AllProvidersFailed, ConfigError, DeadlineExceeded, InvalidRequest, NoConsensus

if TYPE_CHECKING:
    from llm_pool.errors import LlmPoolError
    from llm_pool.messages import Answer, Attempt, Decision, Json, ProviderState


def answer_json(answer: Answer) -> dict[str, Json]:
    """*answer* as a JSON object."""
    return {
        "request_id": answer.request_id,
        "task": answer.task,
        "content": answer.content,
        "json": answer.json,
        "winner": answer.winner,
        "winner_model": answer.winner_model,
        "strategy_used": answer.strategy_used.value,
        "duration_ms": _ms(answer.duration),
        "from_cache": answer.from_cache,
        "age_ms": _ms(answer.age),
        "degraded": answer.degraded,
        "usage": {
            "prompt_tokens": answer.usage.prompt_tokens,
            "completion_tokens": answer.usage.completion_tokens,
        },
        "decision": decision_json(answer.decision),
    }


def decision_json(decision: Decision) -> dict[str, Json]:
    """*decision* as a JSON object."""
    return {
        "strategy_asked": decision.asked.value,
        "strategy_used": decision.used.value,
        "winner": decision.winner,
        "reason": decision.reason,
        "models_queried": list(dict.fromkeys(attempt.model for attempt in decision.attempts)),
        "scores": decision.scores,
        "agreement": decision.agreement,
        "clusters": [
            {"providers": list(cluster.providers), "score": cluster.score, "label": cluster.label}
            for cluster in decision.clusters
        ],
        "notes": list(decision.notes),
        "saved_calls": decision.saved,
        "degraded": decision.degraded,
        "degraded_reason": decision.degraded_reason,
        "missing": list(decision.missing),
        "judge": decision.judge,
        "attempts": [attempt_json(attempt) for attempt in decision.attempts],
    }


def attempt_json(attempt: Attempt) -> dict[str, Json]:
    """*attempt* as a JSON object, without its text."""
    return {
        "provider": attempt.provider,
        "model": attempt.model,
        "outcome": attempt.outcome,
        "why": attempt.why,
        "started_ms": _ms(attempt.started),
        "ttft_ms": _ms(attempt.ttft),
        "duration_ms": _ms(attempt.duration),
        "prompt_tokens": attempt.usage.prompt_tokens,
        "completion_tokens": attempt.usage.completion_tokens,
        "repaired_by": attempt.reading.rung if attempt.reading is not None else None,
        "error": attempt.error or None,
        "error_kind": attempt.error_kind or None,
    }


def state_json(state: ProviderState) -> dict[str, Json]:
    """A provider's state as a JSON object."""
    return {
        "name": state.name,
        "model": state.model,
        "state": state.condition,
        "detail": state.detail,
        "hint": state.hint,
        "loaded": list(state.loaded),
    }


def error_json(error: LlmPoolError) -> dict[str, Json]:
    """*error* as ``{"error": {...}}``: a stable ``code``, the sentence, the way out, and what belongs to its kind."""
    body: dict[str, Json] = {"code": error_code(error), "message": str(error), "hint": error.hint or None}
    match error:
        case ConfigError():
            body |= {"key": error.key, "line": error.line}
        case InvalidRequest():
            body["field"] = error.field
        case DeadlineExceeded() | AllProvidersFailed():
            body["attempts"] = [attempt_json(attempt) for attempt in error.attempts]
        case NoConsensus():
            body["decision"] = decision_json(error.decision)
    if (retry_after := getattr(error, "retry_after", None)) is not None:
        body["retry_after_ms"] = _ms(retry_after)
    return {"error": body}


def error_code(error: LlmPoolError) -> str:
    """The class's name in snake case: ``deadline_exceeded``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)

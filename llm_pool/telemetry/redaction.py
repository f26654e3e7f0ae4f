"""
Redaction: answers and errors without the text of prompts and answers.

Our own sentences are kept. Where one may quote (what is wrong with a prompt, with a model's answer, or what a backend
says of a request it rejects), only its subject is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.core.errors import InvalidRequest

if TYPE_CHECKING:
    from llm_pool.core.errors import LlmPoolError
    from llm_pool.core.messages import Attempt, Json

QUOTING_KINDS = frozenset({"bad_reply", "rejected"})
"""Kinds of attempts' errors whose sentence may quote."""
_SAFE_FIELDS = frozenset({"task", "strategy", "deadline_ms", "max_tokens", "temperature", "request_id"})
"""Fields of a request that are no part of its prompt."""


def redacted_message(error: LlmPoolError) -> str:
    """The first line of *error*, without a quote."""
    if isinstance(error, InvalidRequest) and error.field not in _SAFE_FIELDS:
        return f"{error.field.partition('.')[0].partition('[')[0][:64]}: not what is taken here"
    return str(error).partition("\n")[0]


def attempt_error(attempt: Attempt) -> str:
    """What went wrong with *attempt*; empty if nothing did."""
    return attempt.error_kind.replace("_", " ") if attempt.error_kind in QUOTING_KINDS else attempt.error


def redacted(body: dict[str, Json]) -> dict[str, Json]:
    """*body*, an answer as ``wire.answer_json`` tells it or an error as ``wire.error_json`` does, without quotes."""
    if "error" in body:
        error = body["error"]
        if "attempts" in error:
            error = error | {"attempts": [_attempt(attempt) for attempt in error["attempts"]]}
        if "decision" in error:
            error = error | {"decision": _decision(error["decision"])}
        return body | {"error": error}
    return body | {"content": None, "json": None, "decision": _decision(body["decision"])}


def _decision(decision: dict[str, Json]) -> dict[str, Json]:
    clusters = [cluster | {"label": ""} for cluster in decision["clusters"]]
    attempts = [_attempt(attempt) for attempt in decision["attempts"]]
    return decision | {"clusters": clusters, "judge": None, "attempts": attempts}


def _attempt(attempt: dict[str, Json]) -> dict[str, Json]:
    kind = attempt["error_kind"]
    return attempt | {"error": kind.replace("_", " ")} if kind in QUOTING_KINDS else attempt

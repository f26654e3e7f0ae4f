"""
The names of attributes in traces: the one place that follows OpenTelemetry as its conventions move.

Source: OpenTelemetry semantic conventions for generative AI, in development, as of 1.45 of the Python packages; what
they have no word for is under ``llm_pool``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_pool.core.messages import Answer, Attempt, Query

    Value = str | bool | int | float | tuple[str, ...]

MAX_NAME = 200
"""Characters of an id or a name that a client sent."""

OPERATION = "gen_ai.operation.name"
CHAT = "chat"
REQUEST_MODEL = "gen_ai.request.model"
MAX_TOKENS = "gen_ai.request.max_tokens"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
FINISH_REASONS = "gen_ai.response.finish_reasons"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
ERROR = "error.type"

REQUEST_ID = "llm_pool.request_id"
TENANT = "llm_pool.tenant"
PROJECT = "llm_pool.project"
TASK = "llm_pool.task"
STRATEGY = "llm_pool.strategy"
WINNER = "llm_pool.winner"
WINNER_MODEL = "llm_pool.winner_model"
AGREEMENT = "llm_pool.agreement"
FROM_CACHE = "llm_pool.from_cache"
DEGRADED = "llm_pool.degraded"
PROVIDER = "llm_pool.provider"
WHY = "llm_pool.attempt.why"
OUTCOME = "llm_pool.attempt.outcome"


def of_query(query: Query) -> dict[str, Value]:
    """What a request's span says of its question: never the prompt."""
    return _known(
        {
            REQUEST_ID: (query.request_id or query.correlation_id)[:MAX_NAME] or None,
            TENANT: query.tenant_id[:MAX_NAME] or None,
            PROJECT: query.project_id[:MAX_NAME] or None,
            TASK: query.task[:MAX_NAME],
            MAX_TOKENS: query.max_tokens,
        }
    )


def of_answer(answer: Answer) -> dict[str, Value]:
    """What a request's span says of its answer: never the text."""
    return _known(
        {
            REQUEST_ID: answer.request_id,
            STRATEGY: answer.strategy_used.value,
            WINNER: answer.winner,
            WINNER_MODEL: answer.winner_model,
            AGREEMENT: answer.decision.agreement,
            FROM_CACHE: answer.from_cache,
            DEGRADED: answer.degraded,
            INPUT_TOKENS: answer.usage.prompt_tokens,
            OUTPUT_TOKENS: answer.usage.completion_tokens,
        }
    )


def of_attempt(attempt: Attempt) -> dict[str, Value]:
    """What the span of a call to a provider says."""
    return _known(
        {
            OPERATION: CHAT,
            REQUEST_MODEL: attempt.model,
            PROVIDER: attempt.provider,
            WHY: attempt.why,
            OUTCOME: attempt.outcome,
            INPUT_TOKENS: attempt.usage.prompt_tokens,
            OUTPUT_TOKENS: attempt.usage.completion_tokens,
            FINISH_REASONS: None if attempt.finish is None else (attempt.finish,),
            FIRST_CHUNK: attempt.first_token,
            ERROR: attempt.error_kind or None,
        }
    )


def _known(attributes: dict[str, Value | None]) -> dict[str, Value]:
    return {name: value for name, value in attributes.items() if value is not None}

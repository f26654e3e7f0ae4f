"""
What our HTTP API answers, as structs: the OpenAPI document is made from them.

``wire`` writes these shapes; a test holds what is answered against what is documented.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from llm_pool.server.conversation import ToolCallBody  # noqa: TC001  msgspec reads it


def _doc(description: str, *examples: Any) -> msgspec.Meta:
    return msgspec.Meta(description=description, examples=list(examples) or None)


_Milliseconds = Annotated[float, msgspec.Meta(ge=0)]
_Strategy = Literal["FASTEST", "VOTING", "WEIGHTED", "CONSENSUS", "JUDGE"]


class UsageBody(msgspec.Struct, frozen=True):
    """Tokens as the backends counted them, of all models asked; null where none did."""

    prompt_tokens: int | None
    completion_tokens: int | None


class AttemptBody(msgspec.Struct, frozen=True):
    """One call to one provider."""

    provider: str
    model: str
    outcome: Literal["ok", "invalid", "failed", "timed_out", "cancelled", "refused"]
    why: Annotated[str, _doc("What started it: primary, hedge, failover, vote, judge, last_resort.", "hedge")]
    started_ms: _Milliseconds
    queued_ms: Annotated[_Milliseconds, _doc("In our own queue before its machine; the next two include it.")]
    ttft_ms: Annotated[_Milliseconds | None, _doc("To the first token.")]
    duration_ms: _Milliseconds
    prompt_tokens: int | None
    completion_tokens: int | None
    repaired_by: Annotated[str | None, _doc("How its JSON was read; strict needed no repair.", "strict")]
    error: str | None
    error_kind: str | None
    finish: Annotated[
        Literal["stop", "length", "repetition", "tool_calls"] | None,
        _doc("Why the answer ends: length at its most tokens; null where it did not come to an end.", "stop"),
    ]
    reasoning: Annotated[str | None, _doc("What the model thought, up to 64 KiB; never a part of the answer.")]


class ClusterBody(msgspec.Struct, frozen=True):
    """Providers whose answers count as the same."""

    providers: list[str]
    score: float
    label: str


class DecisionBody(msgspec.Struct, frozen=True):
    """How the answer was chosen."""

    strategy_asked: _Strategy
    strategy_used: _Strategy
    winner: str
    reason: Annotated[str, _doc("One sentence.", "first valid answer")]
    models_queried: list[str]
    scores: Annotated[dict[str, float], _doc("By provider; comparable within one decision only.")]
    agreement: Annotated[float, msgspec.Meta(ge=0, le=1)] | None
    margin: Annotated[
        float | None,
        _doc("Log odds by which the trusted votes for the winner lead; negative where a fallback chose a rival."),
    ]
    confidence: Annotated[
        Annotated[float, msgspec.Meta(ge=0, le=1)] | None,
        _doc("Share right of the labelled answers that were at least as sure; null while too few are labelled."),
    ]
    clusters: list[ClusterBody]
    notes: list[str]
    missing: list[str]
    saved_calls: Annotated[int, _doc("Calls that early stopping made unnecessary.")]
    judge: Annotated[dict[str, Any] | None, _doc("The judge's evidence, where there was one.")]
    degraded: bool
    degraded_reason: str
    attempts: list[AttemptBody]


class AnswerBody(msgspec.Struct, frozen=True):
    """An answer."""

    request_id: str
    task: str
    content: Annotated[str, _doc("The text; the JSON alone where the task asks for JSON.")]
    json: Annotated[Any, _doc("The same, parsed; null for free text.")]
    winner: Annotated[str, _doc("The provider whose answer it is.", "phi3")]
    winner_model: Annotated[str, _doc("Its model.", "phi3:mini")]
    strategy_used: _Strategy
    duration_ms: _Milliseconds
    from_cache: bool
    age_ms: Annotated[_Milliseconds | None, _doc("Since a cached answer was made.")]
    degraded: Annotated[bool, _doc("A promise was bent: quorum lost, last resort, deadline.")]
    finish: Annotated[
        Literal["stop", "length", "repetition", "tool_calls"],
        _doc("Why the answer ends; after length and repetition it is not whole.", "stop"),
    ]
    tool_calls: Annotated[list[ToolCallBody], _doc("What the model wants called before it answers.")]
    usage: UsageBody
    decision: DecisionBody


class Error(msgspec.Struct, frozen=True):
    """What went wrong."""

    code: Annotated[str, _doc("Stable; for programs.", "invalid_request", "deadline_exceeded")]
    message: Annotated[str, _doc("One sentence; for people.")]
    hint: Annotated[str | None, _doc("The way out, where there is one.")] = None
    field: Annotated[str | msgspec.UnsetType, _doc("The field that is wrong.", "max_tokens")] = msgspec.UNSET
    retry_after_ms: Annotated[_Milliseconds | msgspec.UnsetType, _doc("When to try again.")] = msgspec.UNSET


class ErrorBody(msgspec.Struct, frozen=True):
    """An error."""

    error: Error


class EventBody(msgspec.Struct, frozen=True):
    """One event of a stream. The last is an answer or an error."""

    event: Literal[
        "start",
        "waiting",
        "loading",
        "reasoning",
        "delta",
        "tool_call",
        "candidate",
        "attempt",
        "answer",
        "error",
    ]
    data: Annotated[
        str,
        msgspec.Meta(
            description="JSON: a StreamEvent, or an ErrorBody where the event's name is error.",
            extra_json_schema={
                "contentMediaType": "application/json",
                "contentSchema": {
                    "anyOf": [{"$ref": "#/components/schemas/StreamEvent"}, {"$ref": "#/components/schemas/ErrorBody"}]
                },
            },
        ),
    ]


class ProviderBody(msgspec.Struct, frozen=True):
    """How a provider is."""

    name: str
    model: str
    state: Literal["healthy", "warming", "unreachable", "model_missing", "failing"]
    detail: str
    hint: Annotated[str, _doc("The next command to type; empty when healthy.", "ollama serve")]
    loaded: list[str]


class ReloadBody(msgspec.Struct, frozen=True):
    """How the last reading of the configuration went."""

    at: Annotated[float, _doc("Unix seconds.")]
    ok: bool
    generation: int
    error: Error | None


class HealthBody(msgspec.Struct, frozen=True):
    """Whether a provider can answer, and how each is."""

    healthy: bool
    providers: list[ProviderBody]
    version: str
    generation: Annotated[int, _doc("Number of the configuration that serves; it grows by one with each reload.")]
    in_flight: int
    last_reload: ReloadBody


class TaskBody(msgspec.Struct, frozen=True):
    """A kind of work."""

    name: str
    description: str
    kind: Literal["text", "value", "object", "ranking"]
    enabled: bool
    strategy: _Strategy
    input_schema: Annotated[dict[str, Any] | None, _doc("JSON Schema of the prompt; null takes any text.")]
    output_schema: Annotated[dict[str, Any] | None, _doc("JSON Schema of the answer; null is free text.")]


class TasksBody(msgspec.Struct, frozen=True):
    """Every task."""

    tasks: list[TaskBody]


class LearnedBody(msgspec.Struct, frozen=True):
    """Whether there was anything to learn: where the panel agreed, nobody gains trust over the others."""

    learned: bool


class LiveBody(msgspec.Struct, frozen=True):
    """The daemon runs."""

    live: Literal[True]


class ReadyBody(msgspec.Struct, frozen=True):
    """Whether some provider can answer."""

    ready: bool

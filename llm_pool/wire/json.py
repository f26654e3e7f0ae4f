"""
Answers, events and errors as JSON: the one shape that the command line prints and the daemon sends, both ways.

Seconds become ``_ms`` here, and seconds again. What JSON does not carry (an attempt's own text) is empty after the
journey; encoding again gives the same JSON. Names are those of the system this one succeeds (``request_id``,
``content``, ``winner_model``, ``duration_ms``, ``from_cache``, ``strategy_used``, ``models_queried``); the rest is
ours.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from llm_pool.core import errors
from llm_pool.core.errors import (
    AllProvidersFailed,
    AllProvidersUnavailable,
    Cancelled,
    ConfigError,
    DeadlineExceeded,
    InvalidRequest,
    LlmPoolError,
    NoConsensus,
    Overloaded,
    RateLimited,
)
from llm_pool.core.events import (
    AttemptEnded,
    AttemptStarted,
    ModelLoading,
    ReasoningArrived,
    RequestQueued,
    TextArrived,
    ToolCallArrived,
)
from llm_pool.core.messages import (
    Answer,
    Attempt,
    Cluster,
    Decision,
    ProviderState,
    Reading,
    StrategyName,
    ToolCall,
    ToolCallDelta,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.events import Event
    from llm_pool.core.messages import Json

EVENT_VERSION = 1
"""Version of the events' format, their ``v``."""

EMPTY_READING = Reading("", None)
StreamEvent: TypeAlias = "Event | Answer"
"""What a streamed request tells: its events, last its answer."""


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
        "finish": answer.finish,
        "tool_calls": tool_calls_json(answer.tool_calls),
        "usage": {
            "prompt_tokens": answer.usage.prompt_tokens,
            "completion_tokens": answer.usage.completion_tokens,
        },
        "decision": decision_json(answer.decision),
    }


def tool_calls_json(calls: Sequence[ToolCall]) -> list[Json]:
    """*calls* as JSON objects; their arguments stay the JSON text that the model wrote."""
    return [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in calls]


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
        "margin": decision.margin,
        "confidence": decision.confidence,
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
    """*attempt* as a JSON object, without its text; its reasoning is there."""
    return {
        "provider": attempt.provider,
        "model": attempt.model,
        "outcome": attempt.outcome,
        "why": attempt.why,
        "started_ms": _ms(attempt.started),
        "queued_ms": _ms(attempt.queued),
        "ttft_ms": _ms(attempt.ttft),
        "duration_ms": _ms(attempt.duration),
        "prompt_tokens": attempt.usage.prompt_tokens,
        "completion_tokens": attempt.usage.completion_tokens,
        "repaired_by": attempt.reading.repair if attempt.reading is not None else None,
        "error": attempt.error or None,
        "error_kind": attempt.error_kind or None,
        "finish": attempt.finish,
        "reasoning": attempt.reasoning or None,
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


class EventEncoder:
    """
    What an asker is told of one request while it runs, as JSON objects with ``type`` and ``v``.

    Types, in their order: ``start`` a model is asked; ``waiting``, ``loading`` why nothing comes yet; ``reasoning`` a
    piece of what a model thinks, which is never part of the answer; ``delta`` a
    piece of the answer, or of a candidate that may yet lose (``final`` is false); ``tool_call`` likewise a piece of a
    call, with ``id`` and ``name`` on its first; ``candidate`` a whole valid answer
    of one model, ``leading`` as long as it would win; ``attempt`` how each call ended; last ``answer``, with ``final``
    true.
    """

    def __init__(self) -> None:
        self._candidates = 0

    def encode(self, event: StreamEvent) -> list[dict[str, Json]]:
        """The JSON objects for *event*; none where its kind is not sent to clients."""
        match event:
            case AttemptStarted():
                fields = {"provider": event.provider, "model": event.model, "why": event.why}
                return [_event("start", {**fields, "after_ms": _ms(event.after)})]
            case RequestQueued():
                return [_event("waiting", {"provider": event.provider, "group": event.group, "ahead": event.ahead})]
            case ModelLoading():
                return [_event("loading", {"provider": event.provider, "model": event.model})]
            case TextArrived():
                return [_event("delta", {"provider": event.provider, "text": event.text, "final": event.committed})]
            case ToolCallArrived():
                return [_event("tool_call", _piece_json(event))]
            case ReasoningArrived():
                return [_event("reasoning", {"provider": event.provider, "text": event.text})]
            case AttemptEnded():
                return [*self._candidate(event.attempt), _event("attempt", attempt_json(event.attempt))]
            case Answer():
                return [_event("answer", {**answer_json(event), "final": True})]
            case _:
                return []

    def _candidate(self, attempt: Attempt) -> list[dict[str, Json]]:
        if attempt.reading is None or attempt.why == "judge":
            return []
        self._candidates += 1
        fields = {
            "provider": attempt.provider,
            "model": attempt.model,
            "content": attempt.reading.content,
            "json": attempt.reading.value,
            "tool_calls": tool_calls_json(attempt.reading.tool_calls),
            "leading": self._candidates == 1,
            "final": False,
        }
        return [_event("candidate", fields)]


class EventDecoder:
    """The events of one request from what ``EventEncoder`` made of them; a candidate's text is its attempt's again."""

    def __init__(self, request_id: str = "") -> None:
        self._request_id, self._reading = request_id, EMPTY_READING

    def decode(self, body: dict[str, Json]) -> StreamEvent | None:
        """The event that is told; None where it comes with the next one, or a later version brought its type."""
        match body["type"]:
            case "start":
                after = body["after_ms"] / 1000
                return AttemptStarted(self._request_id, body["provider"], body["model"], body["why"], after)
            case "waiting":
                return RequestQueued(self._request_id, body["provider"], body["group"], body["ahead"])
            case "loading":
                return ModelLoading(self._request_id, body["provider"], body["model"])
            case "delta":
                return TextArrived(self._request_id, body["provider"], body["text"], body["final"])
            case "tool_call":
                piece = ToolCallDelta(body["index"], body["id"], body["name"], body["arguments"])
                return ToolCallArrived(self._request_id, body["provider"], piece, body["final"])
            case "reasoning":
                return ReasoningArrived(self._request_id, body["provider"], body["text"])
            case "candidate":
                self._reading = Reading(body["content"], body["json"], tool_calls=_tool_calls_from(body))
                return None
            case "attempt":
                reading, self._reading = self._reading, EMPTY_READING
                return AttemptEnded(self._request_id, "", attempt_from(body, reading))
            case "answer":
                return answer_from(body)
            case _:
                return None


def error_json(error: LlmPoolError, *, commands: bool = False) -> dict[str, Json]:
    """
    *error* as ``{"error": {...}}``: a stable ``code``, the sentence, the way out, and what belongs to its kind.

    *commands*: who reads it sits at the pool's machine, so the way out may be a command to type there.
    """
    hint = error.hint if commands else error.remote_hint
    body: dict[str, Json] = {"code": error_code(error), "message": str(error), "hint": hint or None}
    match error:
        case ConfigError():
            body |= {"key": error.key, "line": error.line}
        case InvalidRequest():
            body["field"] = error.field
        case DeadlineExceeded():
            body |= {"asked_ms": _ms(error.asked), "attempts": [attempt_json(attempt) for attempt in error.attempts]}
        case AllProvidersFailed():
            body |= {"task": error.task, "attempts": [attempt_json(attempt) for attempt in error.attempts]}
        case NoConsensus():
            body["decision"] = decision_json(error.decision)
    if (retry_after := getattr(error, "retry_after", None)) is not None:
        body["retry_after_ms"] = _ms(retry_after)
    return {"error": body}


def error_code(error: LlmPoolError) -> str:
    """The class's name in snake case: ``deadline_exceeded``."""
    return _code(type(error))


def answer_from(body: dict[str, Json]) -> Answer:
    """The answer that ``answer_json`` made *body* of; raises KeyError, TypeError or ValueError if it did not."""
    reading = Reading(body["content"], body["json"], tool_calls=_tool_calls_from(body))
    return Answer(
        request_id=body["request_id"],
        task=body["task"],
        content=body["content"],
        json=body["json"],
        winner=body["winner"],
        winner_model=body["winner_model"],
        strategy_used=StrategyName(body["strategy_used"]),
        decision=decision_from(body["decision"], reading, body["winner_model"]),
        usage=Usage(body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]),
        duration=body["duration_ms"] / 1000,
        from_cache=body["from_cache"],
        age=_seconds(body["age_ms"]),
        degraded=body["degraded"],
        finish=body.get("finish") or "stop",
        tool_calls=reading.tool_calls,
    )


def decision_from(body: dict[str, Json], reading: Reading, model: str) -> Decision:
    """The decision that ``decision_json`` made *body* of; *reading* and *model* are the winner's."""
    return Decision(
        asked=StrategyName(body["strategy_asked"]),
        used=StrategyName(body["strategy_used"]),
        winner=body["winner"],
        model=model,
        reading=reading,
        reason=body["reason"],
        attempts=tuple(attempt_from(attempt) for attempt in body["attempts"]),
        scores=body["scores"],
        clusters=tuple(Cluster(tuple(c["providers"]), c["score"], c["label"]) for c in body["clusters"]),
        agreement=body["agreement"],
        margin=body.get("margin"),
        confidence=body.get("confidence"),
        notes=tuple(body["notes"]),
        saved=body["saved_calls"],
        degraded=body["degraded"],
        degraded_reason=body["degraded_reason"],
        missing=tuple(body["missing"]),
        judge=body["judge"],
    )


def attempt_from(body: dict[str, Json], reading: Reading = EMPTY_READING) -> Attempt:
    """The attempt that ``attempt_json`` made *body* of; *reading* is what it said, where that is known."""
    repair = body["repaired_by"]
    return Attempt(
        provider=body["provider"],
        model=body["model"],
        outcome=body["outcome"],
        why=body["why"],
        started=body["started_ms"] / 1000,
        queued=(body.get("queued_ms") or 0.0) / 1000,
        ttft=_seconds(body["ttft_ms"]),
        duration=body["duration_ms"] / 1000,
        usage=Usage(body["prompt_tokens"], body["completion_tokens"]),
        reading=None if repair is None else Reading(reading.content, reading.value, repair, reading.tool_calls),
        error=body["error"] or "",
        error_kind=body["error_kind"] or "",
        finish=body.get("finish"),
        reasoning=body.get("reasoning") or "",
    )


def state_from(body: dict[str, Json]) -> ProviderState:
    """The state that ``state_json`` made *body* of."""
    return ProviderState(
        name=body["name"],
        model=body["model"],
        condition=body["state"],
        detail=body["detail"],
        hint=body["hint"],
        loaded=tuple(body["loaded"]),
    )


def error_from(body: dict[str, Json]) -> LlmPoolError:
    """The error that ``error_json`` made *body* of; one of the root class where the code is unknown."""
    fields = body["error"]
    kind = _kinds().get(fields["code"], LlmPoolError)
    error = kind.__new__(kind)  # the sentence is there: the constructors would build another one
    LlmPoolError.__init__(error, fields["message"], hint=fields.get("hint") or "")
    retry_after = _seconds(fields.get("retry_after_ms"))
    attempts = tuple(attempt_from(attempt) for attempt in fields.get("attempts", ()))
    match error:
        case ConfigError():
            error.path, error.line, error.key, error.got, error.want, error.also = (
                None,
                fields.get("line"),
                fields.get("key", ""),
                "",
                "",
                (),
            )
        case InvalidRequest():
            error.field = fields.get("field", "")
            error.reason = fields["message"].removeprefix(f"{error.field}: ")
        case Overloaded():
            error.what, error.retry_after = "the server", retry_after or 0.0
        case RateLimited():
            error.retry_after = retry_after or 0.0
        case Cancelled():
            error.by = fields["message"].removeprefix("cancelled by ")
        case DeadlineExceeded():
            error.asked, error.attempts = fields.get("asked_ms", 0.0) / 1000, attempts
        case AllProvidersFailed():
            error.task, error.attempts = fields.get("task", ""), attempts
            if isinstance(error, AllProvidersUnavailable):
                error.retry_after = retry_after or 0.0
        case NoConsensus():
            error.decision = _decision_of(fields)
    return error


def _tool_calls_from(body: dict[str, Json]) -> tuple[ToolCall, ...]:
    """The calls in an answer or a candidate; none where an earlier version wrote it."""
    return tuple(ToolCall(call["id"], call["name"], call["arguments"]) for call in body.get("tool_calls", ()))


def _piece_json(event: ToolCallArrived) -> dict[str, Json]:
    piece = event.piece
    about = {"index": piece.index, "id": piece.id, "name": piece.name, "arguments": piece.arguments}
    return {"provider": event.provider, **about, "final": event.committed}


def _decision_of(fields: dict[str, Json]) -> Decision:
    """The decision of a NoConsensus; its sentence alone where the decision was too long to come along."""
    if "decision" in fields:
        return decision_from(fields["decision"], EMPTY_READING, "")
    name = StrategyName.CONSENSUS
    reason = fields["message"].removeprefix("no consensus: ")
    return Decision(asked=name, used=name, winner="", model="", reading=EMPTY_READING, reason=reason, attempts=())


def _kinds() -> dict[str, type[LlmPoolError]]:
    """The classes that reach a caller, by code."""
    classes = (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LlmPoolError))
    return {_code(kind): kind for kind in classes if not issubclass(kind, errors.ProviderError)}


def _code(kind: type[LlmPoolError]) -> str:
    if kind not in _codes:
        _codes[kind] = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
    return _codes[kind]


_codes: dict[type[LlmPoolError], str] = {}


def _event(kind: str, body: dict[str, Json]) -> dict[str, Json]:
    return {"type": kind, "v": EVENT_VERSION, **body}


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)

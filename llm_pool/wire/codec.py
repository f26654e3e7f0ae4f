"""
The gRPC messages from and to ``wire``'s JSON objects, field by field.

What protobuf cannot hold as it is travels as JSON text: turns, schemas, the parsed answer, the judge's evidence.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import msgspec

from llm_pool.core.messages import Image, StrategyName, ToolCall, Turn
from llm_pool.wire import llmpool_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from llm_pool.core.messages import Json, Query

TASKS: Final = {
    pb.EXPAND_QUERIES: "expand_queries",
    pb.SITE_TACTICS: "site_tactics",
    pb.RERANK_CANDIDATES: "rerank_candidates",
    pb.TASK_JUDGE: "judge",
    pb.RECOVERY_PLAN: "recovery_plan",
    pb.ENRICH_METADATA: "enrich_metadata",
}
"""The tasks that have a number."""
MAX_DEADLINE_MS = 2**31 - 1
"""What ``deadline_ms`` holds at most."""


def query_message(query: Query) -> pb.Query:
    """*query* as a message; a deadline too long for its field is left to the call's own."""
    numbers = {name: number for number, name in TASKS.items()}
    number = numbers.get(query.task, pb.TASK_UNSPECIFIED)
    return pb.Query(
        request_id=query.request_id,
        tenant_id=query.tenant_id,
        project_id=query.project_id,
        task=number,
        task_name="" if number else query.task,
        prompt=query.prompt,
        max_tokens=query.max_tokens or 0,
        deadline_ms=0 if query.deadline is None else min(MAX_DEADLINE_MS, max(1, round(query.deadline * 1000))),
        strategy=query.strategy.value if query.strategy else pb.STRATEGY_UNSPECIFIED,
        meta=query.meta,
        no_cache=query.no_cache,
        think="" if query.think is None else str(query.think).lower(),
        turns=[_turn_message(turn) for turn in query.turns],
        output_schema=_text(query.output_schema),
        temperature=query.temperature,
        seed=query.seed,
        stop=query.stop,
        providers=query.providers,
        tools=[
            pb.Tool(name=tool.name, description=tool.description, parameters=_text(tool.parameters))
            for tool in query.tools
        ],
        tool_choice="" if query.tool_choice == "auto" else query.tool_choice,
        parallel_tool_calls=None if query.parallel_tool_calls else False,
        images=[_image_message(image) for image in query.images],
    )


def turns_from(messages: Iterable[pb.Turn]) -> tuple[Turn, ...]:
    """Turns from their messages; roles are as they came."""
    return tuple(
        Turn(
            message.role,  # type: ignore[arg-type]  # the server refuses other words
            message.text,
            tuple(ToolCall(call.id, call.name, call.arguments) for call in message.tool_calls),
            message.tool_call_id,
            images_from(message.images),
        )
        for message in messages
    )


def images_from(messages: Iterable[pb.Image]) -> tuple[Image, ...]:
    """Images from their messages."""
    return tuple(Image(message.media_type, base64.b64encode(message.data).decode()) for message in messages)


def _turn_message(turn: Turn) -> pb.Turn:
    return pb.Turn(
        role=turn.role,
        text=turn.text,
        tool_calls=[pb.ToolCall(id=call.id, name=call.name, arguments=call.arguments) for call in turn.tool_calls],
        tool_call_id=turn.tool_call_id,
        images=[_image_message(image) for image in turn.images],
    )


def _image_message(image: Image) -> pb.Image:
    return pb.Image(media_type=image.media_type, data=base64.b64decode(image.data))


def answer_message(body: dict[str, Json], meta: Mapping[str, str]) -> pb.Answer:
    """
    An answer as a message.

    Args:
        body: of ``wire.answer_json``.
        meta: the query's own words.
    """
    return pb.Answer(
        request_id=body["request_id"],
        content=body["content"],
        winner_model=body["winner_model"],
        duration_ms=round(body["duration_ms"]),
        from_cache=body["from_cache"],
        decision=_decision_message(body["decision"]),
        meta=meta,
        json=_text(body["json"]),
        task_name=body["task"],
        winner=body["winner"],
        strategy_used=body["strategy_used"],
        degraded=body["degraded"],
        finish=body["finish"],
        tool_calls=[pb.ToolCall(**call) for call in body["tool_calls"]],
        usage=pb.Usage(**body["usage"]),
        duration=body["duration_ms"],
        age_ms=body["age_ms"],
    )


def answer_body(message: pb.Answer) -> dict[str, Json]:
    """What ``answer_message`` was made of."""
    return {
        "request_id": message.request_id,
        "task": message.task_name,
        "content": message.content,
        "json": _value(message.json),
        "winner": message.winner,
        "winner_model": message.winner_model,
        "strategy_used": _strategy(message.strategy_used),
        "duration_ms": message.duration,
        "from_cache": message.from_cache,
        "age_ms": _set(message, "age_ms"),
        "degraded": message.degraded,
        "finish": message.finish or "stop",
        "tool_calls": _calls_body(message.tool_calls),
        "usage": {
            "prompt_tokens": _set(message.usage, "prompt_tokens"),
            "completion_tokens": _set(message.usage, "completion_tokens"),
        },
        "decision": _decision_body(message.decision),
    }


def chunk_message(request_id: str, event_body: dict[str, Json], meta: Mapping[str, str]) -> pb.AnswerChunk:
    """What ``wire.json.EventEncoder`` tells, as a message; *meta* goes with the answer."""
    kind = event_body["type"]
    if kind == "answer":
        return pb.AnswerChunk(request_id=request_id, answer=answer_message(event_body, meta))
    if kind == "candidate":
        return pb.AnswerChunk(request_id=request_id, candidate=_candidate_message(event_body))
    body = event_body
    chunk = pb.AnswerChunk(request_id=request_id)
    event = getattr(chunk, kind)
    event.SetInParent()
    for field in event.DESCRIPTOR.fields:
        if body[field.name] is not None:
            setattr(event, field.name, body[field.name])
    return chunk


def chunk_body(message: pb.AnswerChunk) -> dict[str, Json] | None:
    """What ``chunk_message`` was made of; None for an event that a later version brought."""
    kind = message.WhichOneof("event")
    if kind is None:
        return None
    event = getattr(message, kind)
    match kind:
        case "answer":
            body = {**answer_body(event), "final": True}
        case "attempt":
            body = _attempt_body(event)
        case "candidate":
            calls = _calls_body(event.tool_calls)
            body = {**_plain(event), "json": _value(event.json), "tool_calls": calls, "final": False}
        case _:
            body = _plain(event)
    return {"type": kind, **body}


def state_message(body: dict[str, Json]) -> pb.ProviderState:
    """A state of ``wire.state_json`` as a message."""
    return pb.ProviderState(**body)


def state_body(message: pb.ProviderState) -> dict[str, Json]:
    """What ``state_message`` was made of."""
    return {**_plain(message), "loaded": list(message.loaded)}


def _decision_message(body: dict[str, Json]) -> pb.EnsembleDecision:
    return pb.EnsembleDecision(
        strategy_used=body["strategy_used"],
        models_queried=body["models_queried"],
        model_scores=_model_scores(body),
        reason=body["reason"],
        strategy_asked=body["strategy_asked"],
        winner=body["winner"],
        scores=body["scores"],
        agreement=body["agreement"],
        margin=body["margin"],
        confidence=body["confidence"],
        clusters=[pb.Cluster(**cluster) for cluster in body["clusters"]],
        notes=body["notes"],
        saved_calls=body["saved_calls"],
        degraded=body["degraded"],
        degraded_reason=body["degraded_reason"],
        missing=body["missing"],
        judge=_text(body["judge"]),
        attempts=[pb.Attempt(**attempt) for attempt in body["attempts"]],
    )


def _decision_body(message: pb.EnsembleDecision) -> dict[str, Json]:
    return {
        "strategy_asked": _strategy(message.strategy_asked),
        "strategy_used": _strategy(message.strategy_used),
        "winner": message.winner,
        "reason": message.reason,
        "models_queried": list(message.models_queried),
        "scores": dict(message.scores),
        "agreement": _set(message, "agreement"),
        "margin": _set(message, "margin"),
        "confidence": _set(message, "confidence"),
        "clusters": [{"providers": list(c.providers), "score": c.score, "label": c.label} for c in message.clusters],
        "notes": list(message.notes),
        "saved_calls": message.saved_calls,
        "degraded": message.degraded,
        "degraded_reason": message.degraded_reason,
        "missing": list(message.missing),
        "judge": _value(message.judge),
        "attempts": [_attempt_body(attempt) for attempt in message.attempts],
    }


def _candidate_message(body: dict[str, Json]) -> pb.Candidate:
    return pb.Candidate(
        provider=body["provider"],
        model=body["model"],
        content=body["content"],
        json=_text(body["json"]),
        leading=body["leading"],
        tool_calls=[pb.ToolCall(**call) for call in body["tool_calls"]],
    )


def _calls_body(messages: Iterable[pb.ToolCall]) -> list[Json]:
    return [_plain(message) for message in messages]


def _attempt_body(message: pb.Attempt) -> dict[str, Json]:
    counts = ("ttft_ms", "prompt_tokens", "completion_tokens")
    optional = (*counts, "repaired_by", "error", "error_kind", "finish", "reasoning")
    return {**_plain(message), **{name: _set(message, name) for name in optional}}


def _model_scores(body: dict[str, Json]) -> list[float]:
    """The best score of each model's providers, in the order of ``models_queried``."""
    best = dict.fromkeys(body["models_queried"], 0.0)
    for attempt in body["attempts"]:
        best[attempt["model"]] = max(best[attempt["model"]], body["scores"].get(attempt["provider"], 0.0))
    return list(best.values())


def _plain(message: Any) -> dict[str, Json]:
    """Every field of *message*, as it is."""
    return {field.name: getattr(message, field.name) for field in message.DESCRIPTOR.fields}


def _set(message: Any, name: str) -> Any:
    return getattr(message, name) if message.HasField(name) else None


def _strategy(number: int) -> str:
    """The name of a strategy; StrategyName refuses one that a later version brought."""
    return StrategyName(pb.Strategy.Name(number)).value


def _text(value: Json) -> str:
    return "" if value is None else msgspec.json.encode(value).decode()


def _value(text: str) -> Json:
    return msgspec.json.decode(text) if text else None

"""Answers and attempts in which every field says something."""

from __future__ import annotations

from llm_pool.core.messages import Answer, Attempt, Cluster, Decision, Reading, StrategyName, ToolCall, Usage

READING = Reading("Yes.\u2028It is \U0001f642", None)
"""With a line separator, which is no end of a line to JSON or to server-sent events."""
WON = Attempt(
    provider="phi3",
    model="phi3:mini",
    outcome="ok",
    why="vote",
    started=0.0,
    queued=0.125,
    ttft=0.25,
    duration=0.5,
    usage=Usage(11, 2),
    reading=READING,
    finish="stop",
    reasoning="17 has no divisor.",
)
LOST = Attempt(
    provider="gemma2",
    model="gemma2:9b",
    outcome="failed",
    why="failover",
    started=0.25,
    duration=0.0625,
    error="the model broke off",
    error_kind="failed",
)
DECISION = Decision(
    asked=StrategyName.CONSENSUS,
    used=StrategyName.WEIGHTED,
    winner="phi3",
    model="phi3:mini",
    reading=READING,
    reason="phi3 and llama3.1: 2 votes against 1",
    attempts=(WON, LOST),
    scores={"phi3": 1.5, "gemma2": 0.25},
    clusters=(Cluster(("phi3", "llama3.1"), 1.5, "Yes."), Cluster(("gemma2",), 0.25, "No.")),
    agreement=0.75,
    margin=1.25,
    confidence=0.875,
    notes=("the deadline is 1500 ms, by the tenant's cap",),
    saved=1,
    degraded=True,
    degraded_reason="one of three did not answer",
    missing=("llama3.1",),
    judge={"verdict": "A", "order": ["A", "B"]},
)
ANSWER = Answer(
    request_id="r1",
    task="ask",
    content=READING.content,
    json=None,
    winner="phi3",
    winner_model="phi3:mini",
    strategy_used=StrategyName.WEIGHTED,
    decision=DECISION,
    usage=Usage(22, 4),
    duration=0.625,
    degraded=True,
)
CACHED = Answer(
    request_id="r2",
    task="expand_queries",
    content='{"must_include":["jazz"]}',
    json={"must_include": ["jazz"], "score": 0.5, "note": None},
    winner="phi3",
    winner_model="phi3:mini",
    strategy_used=StrategyName.FASTEST,
    decision=Decision(
        asked=StrategyName.FASTEST,
        used=StrategyName.FASTEST,
        winner="phi3",
        model="phi3:mini",
        reading=Reading('{"must_include":["jazz"]}', {"must_include": ["jazz"]}),
        reason="first valid answer",
        attempts=(),
    ),
    usage=Usage(),
    duration=0.0005,
    from_cache=True,
    age=12.5,
)
CALL = ToolCall("call_1", "get_weather", '{"city": "Rome"}')

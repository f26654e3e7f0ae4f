"""gRPC messages hold all that the JSON holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from llm_pool.core.events import (
    AttemptEnded,
    AttemptStarted,
    ModelLoading,
    ReasoningArrived,
    RequestQueued,
    TextArrived,
)
from llm_pool.core.messages import Attempt, Cluster, ProviderState, Query, Reading, StrategyName, Usage
from llm_pool.server.queries import think_of
from llm_pool.testing import an_answer
from llm_pool.wire import llmpool_pb2 as pb
from llm_pool.wire.codec import (
    MAX_DEADLINE_MS,
    TASKS,
    answer_body,
    answer_message,
    chunk_body,
    chunk_message,
    query_message,
    state_body,
    state_message,
)
from llm_pool.wire.json import EventEncoder, answer_json, state_json

if TYPE_CHECKING:
    from llm_pool.core.messages import Think

ATTEMPT = Attempt(
    provider="phi3",
    model="phi3:mini",
    outcome="ok",
    started=0.0,
    duration=0.5,
    ttft=0.0,
    usage=Usage(0, 3),
    reading=Reading("[1]", [1]),
    finish="length",
    reasoning="one is the only one",
)


def rich() -> dict[str, Any]:
    plain = an_answer('{"a": null}', json={"a": None}, usage=Usage(1, None), age=0.25, from_cache=True, degraded=True)
    plain = msgspec.structs.replace(plain, finish="repetition")
    decision = msgspec.structs.replace(
        plain.decision,
        asked=StrategyName.JUDGE,
        used=StrategyName.VOTING,
        scores={"phi3": 0.1, "gemma2": 2.0},
        agreement=0.0,
        margin=0.0,
        confidence=1.0,
        clusters=(Cluster(("phi3",), 1.5, "é"),),
        notes=("a", "b"),
        saved=2,
        missing=("llama31",),
        judge={"p": [0.5, 1]},
        attempts=(ATTEMPT, msgspec.structs.replace(ATTEMPT, provider="gemma2", reading=None, error="no")),
    )
    return answer_json(msgspec.structs.replace(plain, decision=decision))


@pytest.mark.parametrize("body", [answer_json(an_answer()), rich()], ids=["plain", "rich"])
def test_an_answer_reads_back_from_its_bytes(body: dict[str, Any]) -> None:
    """Nulls stay nulls and zeros zeros."""
    data = answer_message(body, {"k": "v"}).SerializeToString()

    message = pb.Answer.FromString(data)

    assert answer_body(message) == body
    assert dict(message.meta) == {"k": "v"}


def test_the_predecessors_fields_are_where_its_clients_look() -> None:
    """Their numbers, read without our names."""
    message = answer_message(rich(), {})

    numbers = {field.number: value for field, value in message.ListFields()}
    decision = {field.number: value for field, value in message.decision.ListFields()}

    assert {n: numbers[n] for n in (1, 2, 3, 4, 5)} == {1: "r1", 2: '{"a": null}', 3: "phi3:mini", 4: 500, 5: True}
    assert {n: decision[n] for n in (1, 4)} == {1: 2, 4: "first valid answer"}
    assert list(decision[2]) == ["phi3:mini"]
    assert list(decision[3]) == [2.0]


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (
            "Query",
            "request_id tenant_id project_id task prompt max_tokens deadline_ms strategy meta",
        ),
        ("Answer", "request_id content winner_model duration_ms from_cache decision meta"),
        ("EnsembleDecision", "strategy_used models_queried model_scores reason"),
        ("HealthResponse", "healthy provider_status version"),
    ],
)
def test_the_predecessors_numbers_are_kept_and_ours_begin_at_16(message: str, fields: str) -> None:
    """A client that was compiled against the old file goes on working."""
    numbers = {field.number: field.name for field in pb.DESCRIPTOR.message_types_by_name[message].fields}

    assert [numbers.pop(n) for n in range(1, len(fields.split()) + 1)] == fields.split()
    assert all(number >= 16 for number in numbers)


def test_enums_keep_their_numbers() -> None:
    """Tasks 1 to 6, strategies 1 to 5."""
    assert list(TASKS) == [1, 2, 3, 4, 5, 6]
    assert [pb.Strategy.Value(name) for name in StrategyName] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "event",
    [
        AttemptStarted("r1", "phi3", "phi3:mini", "primary", 0.0),
        RequestQueued("r1", "phi3", "gpu0", 0),
        ModelLoading("r1", "phi3", "phi3:mini"),
        TextArrived("r1", "phi3", "", committed=False),
        ReasoningArrived("r1", "phi3", "let me see"),
        AttemptEnded("r1", "", ATTEMPT),
        AttemptEnded("r1", "", msgspec.structs.replace(ATTEMPT, reading=None, ttft=None, usage=Usage())),
        an_answer(),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_is_told_reads_back(event: Any) -> None:
    """Each kind of event has its message, empty values included."""
    told = EventEncoder().encode(event)

    chunks = [pb.AnswerChunk.FromString(chunk_message("r1", one, {}).SerializeToString()) for one in told]

    assert [{"v": 1, **(chunk_body(chunk) or {})} for chunk in chunks] == told


def test_a_chunk_of_a_later_version_is_none() -> None:
    """An old client skips what it does not know."""
    assert chunk_body(pb.AnswerChunk(request_id="r1")) is None


def test_a_state_reads_back() -> None:
    """Health, too."""
    body = state_json(ProviderState(name="a", model="b", condition="failing", loaded=("x",)))

    assert state_body(state_message(body)) == body


def test_a_task_without_a_number_goes_by_its_name() -> None:
    """The six of the predecessor go by theirs, as its servers expect."""
    own, known = query_message(Query(prompt="?", task="mine")), query_message(Query(prompt="?", task="judge"))

    assert (own.task, own.task_name) == (0, "mine")
    assert (known.task, known.task_name) == (4, "")


def test_deadlines_fit_their_field() -> None:
    """Never 0, which would be the default."""
    assert query_message(Query(prompt="?", deadline=0.0001)).deadline_ms == 1
    assert query_message(Query(prompt="?", deadline=1e9)).deadline_ms == MAX_DEADLINE_MS
    assert query_message(Query(prompt="?")).deadline_ms == 0


@pytest.mark.parametrize(("think", "word"), [(None, ""), (True, "true"), (False, "false"), ("low", "low")])
def test_thinking_reads_back(think: Think | None, word: str) -> None:
    message = query_message(Query(prompt="?", think=think))

    assert message.think == word
    assert think_of(message.think) == think

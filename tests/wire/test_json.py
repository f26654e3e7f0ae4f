"""Answers, events and errors survive the journey through JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from llm_pool.core import errors
from llm_pool.core.events import (
    AttemptEnded,
    AttemptStarted,
    ModelLoading,
    ReasoningArrived,
    RequestAnswered,
    RequestQueued,
    TextArrived,
)
from llm_pool.core.messages import Attempt, Cluster, ProviderState, Query, Reading, Usage
from llm_pool.testing import an_answer
from llm_pool.wire.json import (
    EventDecoder,
    EventEncoder,
    answer_from,
    answer_json,
    error_code,
    error_from,
    error_json,
    state_from,
    state_json,
)

if TYPE_CHECKING:
    from llm_pool.core.events import Event
    from llm_pool.core.messages import Answer

ATTEMPTS = (
    Attempt(provider="phi3", model="phi3:mini", outcome="failed", started=0.0, duration=0.25, error="it broke"),
    Attempt(
        provider="gemma2",
        model="gemma2:9b",
        outcome="ok",
        started=0.0015,
        duration=1.5,
        ttft=0.333,
        usage=Usage(7, 9),
        reading=Reading("", None, "fenced"),
        finish="length",
        reasoning="blue it is",
    ),
)


def rich_answer() -> Answer:
    plain = an_answer()
    decision = msgspec.structs.replace(
        plain.decision,
        attempts=ATTEMPTS,
        scores={"phi3": 0.25},
        clusters=(Cluster(("phi3", "gemma2"), 1.5, "blue"),),
        agreement=0.75,
        margin=-1.25,
        confidence=0.5,
        notes=("a note",),
        saved=1,
        degraded=True,
        degraded_reason="late",
        missing=("llama31",),
        judge={"verdict": ["gemma2"]},
    )
    return msgspec.structs.replace(
        plain, decision=decision, usage=Usage(7, 9), age=1.25, from_cache=True, finish="length"
    )


ERRORS = [
    errors.ConfigError(path=None, key="qos.hedge", got="1", want="2", line=3, hint="try"),
    errors.InvalidRequest("strategy", "expected: one", hint="did you mean FASTEST?"),
    errors.UnknownModel("poll", hint="did you mean pool?"),
    errors.ContextLengthExceeded("prompt", "9000 tokens, more than any model holds"),
    errors.RequestIdReused("request_id", "'a' was used for another request"),
    errors.Unauthenticated("who?"),
    errors.PermissionDenied("not yours"),
    errors.RateLimited(1.5),
    errors.Overloaded("the queue", 2.0),
    errors.Stopping(),
    errors.Cancelled("the operator"),
    errors.DeadlineExceeded(1.5, ATTEMPTS),
    errors.NoConsensus(rich_answer().decision),
    errors.AllProvidersFailed("ask", ATTEMPTS),
    errors.AllProvidersUnavailable("ask", ATTEMPTS, 2.5),
]


@pytest.mark.parametrize("answer", [an_answer(), rich_answer(), an_answer("{}", json={"a": [1, None]})])
def test_an_answer_reads_back_as_the_same_json(answer: Answer) -> None:
    """Nothing that the JSON carries is lost on the way back."""
    body = answer_json(answer)

    assert answer_json(answer_from(msgspec.json.decode(msgspec.json.encode(body)))) == body


def test_an_older_daemon_says_nothing_of_the_end_or_the_margin() -> None:
    """A client reads its answers as whole ones, as that daemon did, and knows no confidence."""
    body = answer_json(rich_answer())
    del body["finish"], body["decision"]["margin"], body["decision"]["confidence"]
    for attempt in body["decision"]["attempts"]:
        del attempt["finish"], attempt["reasoning"]

    answer = answer_from(body)

    assert answer.finish == "stop"
    assert (answer.decision.margin, answer.decision.confidence) == (None, None)
    assert {(attempt.finish, attempt.reasoning) for attempt in answer.decision.attempts} == {(None, "")}


def test_an_answer_has_its_values_back() -> None:
    """Milliseconds are seconds again, names are enums, the winner's reading is there."""
    answer = rich_answer()

    assert answer_from(answer_json(answer)) == answer


@pytest.mark.parametrize("error", ERRORS, ids=error_code)
def test_an_error_reads_back_as_the_same_class_sentence_and_fields(error: errors.LlmPoolError) -> None:
    """A client raises what the server raised."""
    body = error_json(error)

    back = error_from(msgspec.json.decode(msgspec.json.encode(body)))

    assert type(back) is type(error)
    assert (str(back), back.hint, error_json(back)) == (str(error), error.remote_hint, body)
    assert vars(back).keys() == vars(error).keys()


@pytest.mark.parametrize("error", ERRORS, ids=error_code)
def test_commands_are_for_who_sits_at_the_machine(error: errors.LlmPoolError) -> None:
    """A client elsewhere cannot type them."""
    assert "llm-pool " not in (error_json(error)["error"]["hint"] or "")
    assert error_json(error, commands=True)["error"]["hint"] == (error.hint or None)


def test_every_error_that_reaches_a_caller_reads_back() -> None:
    """A new class of error needs an example here."""
    inside = {errors.LlmPoolError, errors.ProviderError, *_below(errors.ProviderError)}
    ours = {kind for kind in _below(errors.LlmPoolError) if kind.__module__ == errors.__name__}

    assert ours - inside == {type(error) for error in ERRORS}


def test_an_unknown_error_is_still_one_of_ours() -> None:
    """A later server may say what this client does not know."""
    error = error_from({"error": {"code": "moon_phase", "message": "wrong moon", "hint": None}})

    assert type(error) is errors.LlmPoolError
    assert str(error) == "wrong moon"


@pytest.mark.parametrize(
    "event",
    [
        AttemptStarted("r1", "phi3", "phi3:mini", "primary", 0.5),
        RequestQueued("r1", "phi3", "gpu0", 3),
        ModelLoading("r1", "phi3", "phi3:mini"),
        TextArrived("r1", "phi3", "bl", committed=True),
        ReasoningArrived("r1", "phi3", "let me see"),
        AttemptEnded("r1", "", ATTEMPTS[0]),
        AttemptEnded("r1", "", msgspec.structs.replace(ATTEMPTS[1], reading=Reading("{}", {}, "fenced"))),
        rich_answer(),
    ],
    ids=lambda event: type(event).__name__,
)
def test_an_event_reads_back(event: Event | Answer) -> None:
    """What a stream tells is typed again on the other side, a candidate's text included."""
    decoder = EventDecoder("r1")

    heard = [decoder.decode(told) for told in EventEncoder().encode(event)]

    assert [one for one in heard if one is not None] == [event]


def test_the_first_candidate_leads() -> None:
    """A client may show it before the decision is made; a judge's verdict is no candidate."""
    encoder = EventEncoder()
    judge = msgspec.structs.replace(ATTEMPTS[1], why="judge")

    told = [one for a in (judge, *ATTEMPTS, ATTEMPTS[1]) for one in encoder.encode(AttemptEnded("r1", "", a))]

    assert [one["leading"] for one in told if one["type"] == "candidate"] == [True, False]


def test_what_is_not_for_the_asker_is_not_told() -> None:
    """The observers' events stay inside; an unknown type is skipped."""
    assert EventEncoder().encode(RequestAnswered(Query(prompt="?"), an_answer())) == []
    assert EventDecoder().decode({"type": "firework", "v": 2}) is None


def test_a_state_reads_back() -> None:
    """Health, too."""
    state = ProviderState(name="phi3", model="phi3:mini", condition="warming", detail="d", hint="h", loaded=("x",))

    assert state_from(state_json(state)) == state


def _below(kind: type[errors.LlmPoolError]) -> set[type[errors.LlmPoolError]]:
    return {leaf for child in kind.__subclasses__() for leaf in (child, *_below(child))}

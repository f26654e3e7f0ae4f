from __future__ import annotations

import json

import msgspec

from llm_pool.errors import AllProvidersFailed, InvalidRequest
from llm_pool.messages import Answered, Attempt, AttemptEnded, Cluster, Query, Refused, Usage
from llm_pool.server.history import LATEST, History
from llm_pool.testing import an_answer


def an_attempt(**changes: object) -> Attempt:
    attempt = Attempt(provider="phi3", model="phi3:mini", outcome="ok", started=0.0, duration=1.1, ttft=0.1)
    return msgspec.structs.replace(attempt, **changes)


def test_it_keeps_the_latest_and_no_more() -> None:
    """Their numbers go on."""
    history = History(2, lambda: 7.0)

    for _ in range(5):
        history.on(Answered(Query(prompt=""), an_answer()))

    assert [ended.number for ended in history.since(0, None)] == [4, 5]
    assert [ended.number for ended in history.since(4, None)] == [5]


def test_a_tenant_sees_its_own() -> None:
    """The operator sees all."""
    history = History(9, lambda: 7.0)

    for tenant in ("acme", "evil", ""):
        history.on(Answered(Query(prompt="", tenant_id=tenant), an_answer()))

    assert [ended.tenant_id for ended in history.since(0, "acme")] == ["acme"]
    assert len(list(history.since(0, None))) == 3


def test_no_word_of_a_prompt_or_an_answer_is_kept() -> None:
    """Nor where a decision, a failed attempt or a refusal quotes one."""
    history = History(9, lambda: 7.0)
    answer = an_answer("secret")
    bad = an_attempt(outcome="invalid", error_kind="bad_reply", error="verdict: 'secret' is not a word of it")
    decision = msgspec.structs.replace(
        answer.decision, clusters=(Cluster(("phi3",), 1.0, "secret"),), judge={"why": "secret"}, attempts=(bad,)
    )
    query = Query(prompt="secret")

    history.on(AttemptEnded("r1", "ask", bad))
    history.on(Answered(query, msgspec.structs.replace(answer, decision=decision)))
    history.on(Refused(query, AllProvidersFailed("ask", [bad]), 0.1))
    history.on(Refused(query, InvalidRequest("prompt.id", "'secret' is there twice"), 0.1))

    kept = json.dumps([ended.told for ended in history.since(0, None)] + [history.pace("phi3").told()])
    assert len(list(history.since(0, None))) == 3
    assert "secret" not in kept


def test_the_pace_of_a_provider_is_that_of_its_latest_calls() -> None:
    """Tokens a second count from the first token on."""
    history = History(9, lambda: 7.0)

    for _ in range(LATEST * 2):
        history.on(AttemptEnded("r1", "ask", an_attempt(usage=Usage(5, 51))))
    history.on(AttemptEnded("r1", "ask", an_attempt(outcome="failed", ttft=None, error="503", error_kind="failed")))

    told = history.pace("phi3").told()
    assert (told["ttft_p50_ms"], told["tokens_per_second"], told["last_error"]) == (100.0, 50.0, "503")
    assert told["ok_share"] == 0.99


def test_nothing_is_known_at_first() -> None:
    """And nothing is made up."""
    told = History(9, lambda: 7.0).pace("phi3").told()

    assert told["ttft_p95_ms"] is told["tokens_per_second"] is told["ok_share"] is None

from __future__ import annotations

import json

import msgspec

from llm_pool.core.errors import AllProvidersFailed, InvalidRequest
from llm_pool.core.events import AttemptEnded, RequestAnswered, RequestFailed
from llm_pool.core.messages import Attempt, Cluster, Query, Usage
from llm_pool.server.history import STATS_WINDOW, History
from llm_pool.testing import an_answer


def an_attempt(**changes: object) -> Attempt:
    attempt = Attempt(provider="phi3", model="phi3:mini", outcome="ok", started=0.0, duration=1.1, ttft=0.1)
    return msgspec.structs.replace(attempt, **changes)


def test_it_keeps_the_latest_and_no_more() -> None:
    """Their numbers go on."""
    history = History(2, lambda: 7.0)

    for _ in range(5):
        history.on(RequestAnswered(Query(prompt=""), an_answer()))

    assert [ended.number for ended in history.since(0, None)] == [4, 5]
    assert [ended.number for ended in history.since(4, None)] == [5]


def test_a_tenant_sees_its_own() -> None:
    """The operator sees all."""
    history = History(9, lambda: 7.0)

    for tenant in ("acme", "evil", ""):
        history.on(RequestAnswered(Query(prompt="", tenant_id=tenant), an_answer()))

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
    history.on(RequestAnswered(query, msgspec.structs.replace(answer, decision=decision)))
    history.on(RequestFailed(query, AllProvidersFailed("ask", [bad]), 0.1))
    history.on(RequestFailed(query, InvalidRequest("prompt.id", "'secret' is there twice"), 0.1))

    kept = json.dumps([ended.as_json for ended in history.since(0, None)] + [history.stats("phi3").as_json()])
    assert len(list(history.since(0, None))) == 3
    assert "secret" not in kept


def test_the_pace_of_a_provider_is_that_of_its_latest_calls() -> None:
    """Tokens a second count from the first token on."""
    history = History(9, lambda: 7.0)

    for _ in range(STATS_WINDOW * 2):
        history.on(AttemptEnded("r1", "ask", an_attempt(usage=Usage(5, 51))))
    history.on(AttemptEnded("r1", "ask", an_attempt(outcome="failed", ttft=None, error="503", error_kind="failed")))

    as_json = history.stats("phi3").as_json()
    assert (as_json["ttft_p50_ms"], as_json["tokens_per_second"], as_json["last_error"]) == (100.0, 50.0, "503")
    assert as_json["ok_share"] == 0.99


def test_nothing_is_known_at_first() -> None:
    """And nothing is made up."""
    as_json = History(9, lambda: 7.0).stats("phi3").as_json()

    assert as_json["ttft_p95_ms"] is as_json["tokens_per_second"] is as_json["ok_share"] is None

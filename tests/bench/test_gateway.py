"""What a request costs: its pins, its ratios, and the bounds it is held to."""

from __future__ import annotations

import json

import pytest

from bench.gateway.measuring import BASE, Round, Row, ratio, verdicts
from bench.gateway.peers import PINS, STARTS, pins
from bench.load.figures import Spread
from bench.load.questions import PROMPT, chat_body, infer_body
from bench.load.wrk import Report
from llm_pool.server.queries import decode_infer

INFER, CHAT, HIT = "/v1/infer, FASTEST, one provider", "/v1/chat/completions", "cache hit"
VOTING, REFUSAL = "VOTING of three", "a refusal: the queue is full"


def row(*cpu: float, rss: float = 70.0) -> Row:
    """A subject that cost so many microseconds, round by round."""
    return Row([Round(each, Report(1000, 1.0, 1, 0, 0, 0.01, 0.02, 0.03)) for each in cpu], rss, rss + 10)


def test_every_peer_has_one_exact_version() -> None:
    """Figures of a version that floats are figures of nothing."""
    found = pins(PINS.read_text(encoding="utf-8"))

    assert found.keys() == STARTS.keys()
    assert all("==" in requirement for requirement in found.values())
    assert pins("# note\na[x]==1 # why\n\nb-c==2\n") == {"a": "a[x]==1", "b-c": "b-c==2"}


def test_a_ratio_is_of_the_same_round() -> None:
    """A slow minute of the machine meets both, and leaves the ratio alone."""
    rows = {"a": row(100, 1000, 110), BASE: row(50, 500, 50)}

    assert ratio(rows, "a", BASE) == pytest.approx(2.0)
    assert ratio(rows, "a", "nobody") is None


def test_a_bound_is_broken_by_what_is_beyond_it_alone() -> None:
    """Without peers their rows are not known, and the others count."""
    rows = {INFER: row(200), CHAT: row(230), HIT: row(90), VOTING: row(400), REFUSAL: row(40)}
    rows |= {BASE: row(100), "litellm": row(23_000)}
    calm = Spread(0.004, 0.003, 0.006)

    every = verdicts(rows, calm, Spread(0.45, 0.4, 0.5))
    alone = verdicts({name: one for name, one in rows.items() if name != BASE}, calm, Spread(0.51, 0.4, 0.6))

    assert [each.what for each in every if each.is_broken] == ["a refusal, share of an answer"]
    assert [each.value for each in alone[:3]] == [None, None, None]
    assert [each.what for each in alone if each.is_broken] == ["a refusal, share of an answer", "`serve` to ready"]


def test_everybody_is_asked_the_same() -> None:
    """Our API takes the question, and it has the words that OpenAI's clients send."""
    query = decode_infer(infer_body().encode()).query
    chat = json.loads(chat_body("pool"))

    assert query.prompt == PROMPT == chat["messages"][-1]["content"]
    assert query.turns[0].text == chat["messages"][0]["content"]
    assert (query.max_tokens, query.temperature) == (chat["max_tokens"], chat["temperature"])
    assert PROMPT.count("@") == 1

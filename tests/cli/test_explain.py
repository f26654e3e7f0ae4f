"""What ``--explain`` draws of a decision."""

from __future__ import annotations

import io

import msgspec

from llm_pool.cli.console import Console
from llm_pool.cli.explain import explain
from llm_pool.testing import an_answer


def head(confidence: float | None) -> str:
    """The first line, of an answer with *confidence*."""
    answer = an_answer()
    decision = msgspec.structs.replace(answer.decision, agreement=2 / 3, margin=2.2, confidence=confidence)
    log = io.StringIO()
    explain(msgspec.structs.replace(answer, decision=decision), Console(stderr=log))
    return log.getvalue().splitlines()[0]


def test_a_confidence_stands_beside_the_agreement_where_there_is_one() -> None:
    """One clause, and none where too few answers are labelled."""
    assert head(0.934) == "ask · FASTEST · 500 ms · agreement 0.67 · confidence 0.93"
    assert head(None) == "ask · FASTEST · 500 ms · agreement 0.67"

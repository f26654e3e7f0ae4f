"""What ``--explain`` draws of a decision."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import msgspec

from llm_pool.cli.console import Console
from llm_pool.cli.explain import explain, explain_failure
from llm_pool.core.messages import Attempt, Reading, Usage
from llm_pool.testing import an_answer

if TYPE_CHECKING:
    import pytest


def test_a_row_fits_a_line_of_eighty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeline gives way; where there is room it is no wider than it need be."""

    def rows(columns: int) -> list[str]:
        monkeypatch.setattr(Console, "width", columns)
        log = io.StringIO()
        attempts = [attempt(name, took) for name, took in (("phi3", 0.5), ("llama31-8b", 12.25), ("gemma2", 3.0))]
        answer = an_answer()
        decision = msgspec.structs.replace(answer.decision, attempts=tuple(attempts))
        explain(msgspec.structs.replace(answer, decision=decision), Console(stderr=log))
        return [line for line in log.getvalue().splitlines() if " vote " in line]

    assert [max(map(len, rows(columns))) for columns in (80, 90, 200)] == [80, 90, 91]
    assert "7 tokens" in rows(80)[0]
    assert all(sum(map(line.count, "·░█")) == 8 for line in rows(60))


def attempt(name: str, took: float) -> Attempt:
    return Attempt(
        provider=name,
        model="m",
        outcome="ok",
        started=0.0,
        duration=took,
        ttft=took / 2,
        usage=Usage(3, 7),
        why="vote",
        reading=Reading("blue", None),
    )


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


def test_a_failure_is_drawn_too() -> None:
    """Each attempt with what became of it; nobody won."""
    log = io.StringIO()
    failed = Attempt(
        provider="phi3", model="m", outcome="failed", started=0.0, duration=0.2, why="primary", error="out of memory"
    )
    late = Attempt(
        provider="gemma2",
        model="m",
        outcome="timed_out",
        started=0.2,
        duration=0.8,
        why="failover",
        error="no answer within 0.80 s",
        reasoning="Hm.",
    )

    explain_failure([failed, late], "ask", Console(stderr=log))

    drawn = log.getvalue()
    assert drawn.startswith("ask · no answer\n  phi3   primary  ░")
    assert all(word in drawn for word in ("out of memory", "\n  gemma2 failover ", "timed out", "gemma2 thought:"))
    assert "★" not in drawn

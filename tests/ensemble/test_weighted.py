"""WEIGHTED: trust decides, and what a decision teaches."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from llm_pool.core.clock import SystemClock
from llm_pool.core.messages import StrategyName, Task
from llm_pool.ensemble.weighted import Weighted
from llm_pool.testing import RecordingObserver, Reply, ScriptedProvider, a_call, a_panel
from llm_pool.trust.learning import panel_outcome
from llm_pool.trust.model import PanelAnswer, Trust

if TYPE_CHECKING:
    from llm_pool.core.interfaces import Member

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "properties": {"why": {"type": "string"}, "answer": {}}, "required": ["answer"]}
SUM = Task(name="sum", template="", kind="value", field="answer", output_schema=SCHEMA)


def says(name: str, answer: object, why: str = "") -> ScriptedProvider:
    return ScriptedProvider(name, Reply(json.dumps({"why": why, "answer": answer} if why else {"answer": answer})))


def panel(*answers: object, group: str | None = None, weights: tuple[float, ...] = (0.6, 1.0, 0.8)) -> list[Member]:
    names = ("phi", "llama", "gemma")[: len(answers)]
    return a_panel(*map(says, names, answers), weights=weights, group=group)


def taught(right: str, times: int = 200) -> Trust:
    trust = Trust()
    for _ in range(times):
        for name in ("phi", "llama", "gemma"):
            trust.observe("sum", PanelAnswer(name, 0), "feedback", right=name == right)
    return trust


async def test_a_strong_minority_wins() -> None:
    """One that is always right against two that never are."""
    decision = await Weighted(SystemClock(), taught("phi")).run(
        a_call(task=SUM, schema=SCHEMA), panel(1, 2, 2), RecordingObserver().on
    )

    assert (decision.used, decision.winner) == (StrategyName.WEIGHTED, "phi")
    assert decision.scores["phi"] > decision.scores["llama"] == decision.scores["gemma"]
    assert decision.agreement is not None
    assert decision.agreement > 0.5


async def test_with_nothing_learned_the_configured_weights_are_the_trust() -> None:
    """The crowd wins, ties go to the greater weight, and the decision says where the trust came from."""
    strategy = Weighted(SystemClock(), Trust())

    crowd = await strategy.run(a_call(task=SUM, schema=SCHEMA), panel(1, 2, 1), RecordingObserver().on)
    tie = await strategy.run(a_call(task=SUM, schema=SCHEMA), panel(1, 2, 3), RecordingObserver().on)

    assert crowd.winner == "gemma"
    assert tie.winner == "llama"
    assert "nothing learned on sum yet" in tie.notes[-1]


async def test_a_configured_weight_great_enough_outvotes_the_rest() -> None:
    """A weight is the odds of being right: fifty to one against two at one to five."""
    decision = await Weighted(SystemClock(), Trust()).run(
        a_call(task=SUM, schema=SCHEMA), panel(1, 2, 2, weights=(50, 0.2, 0.2)), RecordingObserver().on
    )

    assert decision.winner == "phi"


async def test_it_stops_once_nobody_can_catch_up() -> None:
    """The trusted one outweighs the other two together, so on one machine the third is spared."""
    members = panel(1, 2, 2, group="gpu")

    decision = await Weighted(SystemClock(), taught("phi")).run(
        a_call(task=SUM, schema=SCHEMA), members, RecordingObserver().on
    )

    assert decision.winner == "phi"
    assert decision.saved >= 1


async def test_an_answer_its_own_argument_does_not_carry_counts_less() -> None:
    """Learned, not decreed: on this task ungrounded answers proved wrong."""
    trust = Trust()
    for _ in range(100):
        trust.observe("sum", PanelAnswer("x", 0, ("grounded:concludes",)), "feedback", right=True)
        trust.observe("sum", PanelAnswer("x", 0, ("grounded:absent",)), "feedback", right=False)
    members = a_panel(says("phi", 12, "7 + 5 = 12"), says("llama", 13, "7 + 5 = 12"), weights=(0.9, 1.0))

    decision = await Weighted(SystemClock(), trust).run(
        a_call(task=SUM, schema=SCHEMA), members, RecordingObserver().on
    )

    assert decision.winner == "phi"


async def test_a_decision_teaches_who_agreed_with_the_winner() -> None:
    """The winning cluster first, each with the traits of its answer; it can wait for feedback."""
    decision = await Weighted(SystemClock(), Trust()).run(
        a_call(task=SUM, schema=SCHEMA), panel(1, "blue", 1), RecordingObserver().on
    )

    learned = panel_outcome(SUM, decision)

    assert learned.answers_given == (
        PanelAnswer("phi", 0, ("form:integer",)),
        PanelAnswer("gemma", 0, ("form:integer",)),
        PanelAnswer("llama", 1, ("form:word",)),
    )
    assert learned.is_divided


async def test_good_feedback_in_the_end_turns_the_decision() -> None:
    """The loop from answer to feedback to answer closes."""
    trust = Trust()
    strategy = Weighted(SystemClock(), trust)
    members = panel(1, 2, 3)
    before = await strategy.run(a_call(task=SUM, schema=SCHEMA), members, RecordingObserver().on)

    for _ in range(60):
        decision = strategy.decide(a_call(task=SUM, schema=SCHEMA), members, before.attempts)
        trust.learn(panel_outcome(SUM, decision), "feedback", good=decision.winner == "gemma")
    after = strategy.decide(a_call(task=SUM, schema=SCHEMA), members, before.attempts)

    assert (before.winner, after.winner) == ("llama", "gemma")

"""Answer sets on which the strategies decide differently: none of them is an alias of another."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.core.errors import NoConsensus
from llm_pool.core.interfaces import Member
from llm_pool.core.messages import Attempt, Call, Prompt, Reading, Task
from llm_pool.ensemble.consensus import Consensus, ConsensusRule
from llm_pool.ensemble.fastest import decide as fastest
from llm_pool.ensemble.voting import Voting
from llm_pool.ensemble.weighted import Weighted
from llm_pool.testing import ManualClock, Reply, ScriptedProvider
from llm_pool.trust.model import PanelAnswer, Trust

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = ("phi", "llama", "gemma")
WEIGHTS = {"phi": 0.6, "llama": 1.0, "gemma": 0.8}


def asked() -> Call:
    task = Task(name="sum", template="", kind="value", field="answer")
    return Call(
        request_id="r",
        task=task,
        input="",
        prompt=Prompt("", ""),
        schema=None,
        ids=(),
        max_tokens=1,
        temperature=0,
        began=0,
        deadline=1,
    )


def panel() -> list[Member]:
    return [
        Member(provider=ScriptedProvider(name, Reply("")), model=name, weight=WEIGHTS[name], group=name, rank=rank)
        for rank, name in enumerate(NAMES)
    ]


def arrived(answers: dict[str, str]) -> list[Attempt]:
    """In the order given, a second apart; ``-`` is an invalid answer."""
    found = []
    for second, (name, said) in enumerate(answers.items(), start=1):
        reading = None if said == "-" else Reading(json.dumps({"answer": said}), {"answer": said})
        outcome: Any = "invalid" if reading is None else "ok"
        found.append(
            Attempt(provider=name, model=name, outcome=outcome, started=0, duration=second, why="vote", reading=reading)
        )
    return found


def expert(name: str) -> Trust:
    """Two hundred divided questions on which only *name* was right."""
    trust = Trust()
    for _ in range(200):
        for other in NAMES:
            trust.observe("sum", PanelAnswer(other, 0), "feedback", right=other == name)
    return trust


def consensus(answers: Sequence[Attempt], least: float) -> str:
    try:
        return Consensus(ManualClock(), ConsensusRule(min_agreement=least)).decide(asked(), panel(), answers).winner
    except NoConsensus:
        return "nobody"


@pytest.mark.parametrize(
    ("answers", "trusted", "expected"),
    [
        # the first is alone: FASTEST takes it, the crowd another, the expert a third way
        ({"phi": "1", "llama": "2", "gemma": "2"}, "phi", ("phi", "llama", "phi", "nobody", "llama")),
        ({"gemma": "1", "phi": "2", "llama": "2"}, "gemma", ("gemma", "llama", "gemma", "nobody", "llama")),
        ({"llama": "1", "phi": "2", "gemma": "2"}, "gemma", ("llama", "gemma", "gemma", "nobody", "gemma")),
        # three ways: configured weight against learned trust, and no consensus at any price
        ({"phi": "1", "llama": "2", "gemma": "3"}, "gemma", ("phi", "llama", "gemma", "nobody", "nobody")),
        # one invalid: it counts against full agreement, not against two thirds
        ({"phi": "-", "llama": "2", "gemma": "2"}, "gemma", ("llama", "llama", "gemma", "nobody", "llama")),
        # all say the same: all agree
        ({"gemma": "7", "phi": "7.0", "llama": "7"}, "phi", ("gemma", "llama", "phi", "llama", "llama")),
    ],
)
def test_each_strategy_has_its_own_mind(
    answers: dict[str, str], trusted: str, expected: tuple[str, str, str, str, str]
) -> None:
    """FASTEST, VOTING, WEIGHTED with an expert, CONSENSUS of all and of two thirds."""
    told = arrived(answers)

    decided = (
        fastest(asked(), told).winner,
        Voting(ManualClock()).decide(asked(), panel(), told).winner,
        Weighted(ManualClock(), expert(trusted)).decide(asked(), panel(), told).winner,
        consensus(told, 1.0),
        consensus(told, 0.6),
    )

    assert decided == expected


def test_a_shuffled_arrival_changes_nothing_but_the_fastest() -> None:
    """The others look at what was said, not at when."""
    rng = random.Random(1)
    answers = {"phi": "1", "llama": "2", "gemma": "2"}
    seen = set()

    for _ in range(20):
        order = rng.sample(NAMES, 3)
        told = arrived({name: answers[name] for name in order})
        seen.add(
            (
                Voting(ManualClock()).decide(asked(), panel(), told).winner,
                Weighted(ManualClock(), expert("phi")).decide(asked(), panel(), told).winner,
            )
        )

    assert seen == {("llama", "phi")}

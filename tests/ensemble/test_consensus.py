"""CONSENSUS: agreed, or another decides, or nobody."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import AllProvidersFailed, NoConsensus, Unreachable
from llm_pool.core.messages import StrategyName, Task
from llm_pool.ensemble.consensus import Consensus, ConsensusRule
from llm_pool.ensemble.voting import Voting
from llm_pool.testing import RecordingObserver, Reply, ScriptedProvider, a_call, a_panel
from llm_pool.trust.model import Trust

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.interfaces import Emit, Member
    from llm_pool.core.messages import Attempt, Call, Decision
    from llm_pool.ensemble.consensus import Fallback

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "properties": {"answer": {}}, "required": ["answer"]}
SUM = Task(name="sum", template="", kind="value", field="answer", output_schema=SCHEMA)


def says(name: str, answer: object, *, after: float = 1.0) -> ScriptedProvider:
    return ScriptedProvider(name, Reply(json.dumps({"answer": answer}), ttft=after / 2, duration=after))


def asked(seconds: float = 60.0) -> Call:
    call = a_call(task=SUM, schema=SCHEMA)
    return msgspec.structs.replace(call, deadline=call.began + seconds)


async def by_vote(call: Call, panel: Sequence[Member], attempts: Sequence[Attempt], emit: Emit) -> Decision:
    return Voting(SystemClock()).decide(call, panel, attempts)


async def refuses(call: Call, panel: Sequence[Member], attempts: Sequence[Attempt], emit: Emit) -> Decision:
    raise AllProvidersFailed(call.task.name)


async def agree(
    *answers: object,
    rule: ConsensusRule | None = None,
    fallbacks: Sequence[Fallback] = (),
    seconds: float = 60.0,
    group: str | None = None,
) -> Decision:
    providers = [a if isinstance(a, ScriptedProvider) else says(f"p{i}", a) for i, a in enumerate(answers)]
    strategy = Consensus(SystemClock(), rule or ConsensusRule(), fallbacks)
    return await strategy.run(asked(seconds), a_panel(*providers, group=group), RecordingObserver().on)


async def test_full_agreement_is_the_answer() -> None:
    """All three say it, and the score says so."""
    decision = await agree(4, "4.0", "$4")

    assert (decision.used, decision.agreement) == (StrategyName.CONSENSUS, 1.0)
    assert decision.reading.value == {"answer": 4}


async def test_disagreement_is_an_error_where_the_rule_is_strict() -> None:
    """And the error shows how far it went."""
    with pytest.raises(NoConsensus) as caught:
        await agree(4, 4, 5)

    assert caught.value.decision.agreement == pytest.approx(2 / 3, abs=1e-4)
    assert "agreement 0.67, 1.00 asked for" in str(caught.value)


async def test_strictly_hopeless_is_known_before_everybody_answered() -> None:
    """Two differ: nobody need wait for the third."""
    began = asyncio.get_running_loop().time()

    with pytest.raises(NoConsensus):
        await agree(4, 5, says("slow", 4, after=30))

    assert asyncio.get_running_loop().time() - began == pytest.approx(1)


async def test_a_fallback_decides_on_the_candidates_that_are_there() -> None:
    """Nobody is asked twice; the first fallback that can decide does."""
    decision = await agree(4, 4, 5, fallbacks=[refuses, by_vote])

    assert (decision.asked, decision.used) == (StrategyName.CONSENSUS, StrategyName.VOTING)
    assert decision.reading.value == {"answer": 4}
    assert decision.agreement == pytest.approx(2 / 3, abs=1e-4)
    assert decision.notes[0] == "no consensus: agreement 0.67, 1.00 asked for; VOTING decided"
    assert len(decision.attempts) == 3


async def test_fallbacks_that_all_refuse_leave_no_consensus() -> None:
    """The chain ends somewhere."""
    with pytest.raises(NoConsensus):
        await agree(4, 5, 6, fallbacks=[refuses])


async def test_a_lower_threshold_stops_as_soon_as_it_is_reached() -> None:
    """Two of three are enough, so the slow third is called off."""
    began = asyncio.get_running_loop().time()

    decision = await agree(4, 4, says("slow", 4, after=30), rule=ConsensusRule(min_agreement=0.6))

    assert asyncio.get_running_loop().time() - began == pytest.approx(1)
    assert decision.used is StrategyName.CONSENSUS
    assert decision.saved == 1


async def test_who_fails_counts_against_agreement() -> None:
    """Two of three asked agree: 0.67, and not 1."""
    broken = ScriptedProvider("broken", Reply.failing(Unreachable("broken", "no")))

    decision = await agree(4, 4, broken, rule=ConsensusRule(min_agreement=0.6))

    assert decision.agreement == pytest.approx(2 / 3, abs=1e-4)
    with pytest.raises(NoConsensus, match="agreement 0"):
        await agree(4, 4, broken)


async def test_a_quorum_of_valid_answers_is_needed() -> None:
    """One answer agrees with itself; that is no consensus."""
    broken = [ScriptedProvider(f"b{i}", Reply.failing(Unreachable("b", "no"))) for i in range(2)]

    with pytest.raises(NoConsensus, match="1 of 3 gave a valid answer, 2 were asked for"):
        await agree(4, *broken, rule=ConsensusRule(min_agreement=0.3))


async def test_a_larger_panel_asks_for_four_fifths() -> None:
    """Four of five by default."""
    decision = await agree(4, 4, 4, 4, 5)

    assert decision.agreement == 0.8


async def test_a_share_of_the_deadline_is_left_to_the_fallback() -> None:
    """The slow third is cut off early enough for somebody else to decide, and the decision says it is degraded."""
    began = asyncio.get_running_loop().time()

    decision = await agree(
        4, 5, says("slow", 4, after=30), rule=ConsensusRule(share=0.7), fallbacks=[by_vote], seconds=10
    )

    assert asyncio.get_running_loop().time() - began == pytest.approx(7, abs=0.1)
    assert decision.used is StrategyName.VOTING
    assert decision.degraded
    assert decision.missing == ("slow",)


async def test_on_one_machine_everybody_is_asked_only_while_it_can_matter() -> None:
    """Strict and two differ: the third is never asked."""
    third = says("p2", 4)

    with pytest.raises(NoConsensus):
        await agree(says("p0", 4), says("p1", 5), third, group="gpu")

    assert third.calls == []


async def test_texts_that_contradict_are_no_consensus() -> None:
    """Character for character they are nearly one."""
    with pytest.raises(NoConsensus, match=r"agreement 0\.33, 1\.00 asked for$"):
        await of_texts("It takes 60 days.", "It takes 30 days.", "It takes 90 days.")


async def test_texts_that_may_say_the_same_are_no_consensus_and_it_says_why() -> None:
    """No rule can tell, and it does not pretend to."""
    with pytest.raises(NoConsensus, match="cannot tell whether p0, p1 say the same"):
        await of_texts("The car is big.", "The car is large.", "the car is big")


async def test_texts_that_differ_in_trifles_are_a_consensus() -> None:
    """Bold type, a contraction and a number in words."""
    decision = await of_texts(
        "It isn't open for 60 days.", "It is not open for sixty days", "It isn't open for **60** days."
    )

    assert decision.agreement == 1.0


async def of_texts(*said: str) -> Decision:
    providers = [ScriptedProvider(f"p{place}", Reply(text)) for place, text in enumerate(said)]
    return await Consensus(SystemClock(), ConsensusRule()).run(a_call(), a_panel(*providers), RecordingObserver().on)


def labelled(right_from: float, *, labels: int = 200) -> Trust:
    """A trust that has seen *labels* answers, right exactly where they led by at least *right_from*."""
    trust = Trust()
    for number in range(labels):
        margin = number % 40 / 5
        trust.learn_margin("sum", margin, right=margin >= right_from)
    return trust


async def sure(trust: Trust, *answers: object, least: float = 0.9, fallbacks: Sequence[Fallback] = ()) -> Decision:
    rule = ConsensusRule(min_confidence=least)
    providers = [says(f"p{i}", answer) for i, answer in enumerate(answers)]
    strategy = Consensus(SystemClock(), rule, fallbacks, trust=trust)
    return await strategy.run(asked(60), a_panel(*providers), RecordingObserver().on)


async def test_a_confidence_may_be_asked_for_in_the_place_of_agreement() -> None:
    """Two of three lead by 2.2, three by 6.6: what that is worth was learned from labels, and the decision says it."""
    decision = await sure(labelled(2.0), 4, 4, 5)

    assert decision.used is StrategyName.CONSENSUS
    assert decision.margin == pytest.approx(2.197, abs=0.01)
    assert decision.confidence is not None
    assert decision.confidence > 0.9
    assert "confidence 0.9" in decision.reason
    with pytest.raises(NoConsensus, match=r"confidence 0\.\d\d, 0\.90 asked for"):
        await sure(labelled(5.0), 4, 4, 5)


async def test_without_labels_agreement_counts_and_the_notes_say_so() -> None:
    """A confidence is never guessed."""
    decision = await sure(labelled(2.0, labels=20), 4, 4, 4)

    assert decision.confidence is None
    assert "too few labelled answers on sum" in decision.notes[-1]
    with pytest.raises(NoConsensus, match="agreement 0"):
        await sure(Trust(), 4, 4, 5)


async def test_a_fallback_that_chose_the_rival_has_a_negative_margin() -> None:
    """So that feedback on it teaches the threshold what the vote was worth."""

    async def the_rival(call: Call, panel: Sequence[Member], attempts: Sequence[Attempt], emit: Emit) -> Decision:
        vote = Voting(SystemClock()).decide(call, panel, [a for a in attempts if a.provider == "p2"])
        return msgspec.structs.replace(vote, attempts=tuple(attempts))

    kept = await sure(labelled(5.0), 4, 4, 5, fallbacks=[by_vote])
    turned = await sure(labelled(5.0), 4, 4, 5, fallbacks=[the_rival])

    assert kept.margin is not None
    assert turned.margin == -kept.margin < 0

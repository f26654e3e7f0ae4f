"""Whom a vote is still waited for."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import DeadlineExceeded, NoConsensus
from llm_pool.core.messages import Task
from llm_pool.ensemble.consensus import Consensus, ConsensusRule
from llm_pool.ensemble.judge import select_judges
from llm_pool.ensemble.stragglers import is_enough
from llm_pool.ensemble.voting import Voting
from llm_pool.testing import RecordingObserver, Reply, ScriptedProvider, a_call, a_panel

if TYPE_CHECKING:
    from llm_pool.core.interfaces import Member, Strategy
    from llm_pool.core.messages import Call, Decision

SCHEMA = {"type": "object", "properties": {"answer": {}}, "required": ["answer"]}
SUM = Task(name="sum", template="", kind="value", field="answer", output_schema=SCHEMA)
PATIENCE = 1.0


def says(name: str, answer: object, *, ttft: float = 0.2, after: float = 0.5) -> ScriptedProvider:
    return ScriptedProvider(name, Reply(json.dumps({"answer": answer}), ttft=ttft, duration=after))


def hangs(name: str) -> ScriptedProvider:
    return ScriptedProvider(name, Reply.hanging())


def patience(member: Member, _call: Call) -> float:
    return 0.3 if member.suspect else PATIENCE


async def decided(
    strategy: Strategy, *providers: ScriptedProvider, suspects: tuple[str, ...] = (), **panel: Any
) -> tuple[Decision, float]:
    """The decision, and the seconds it took."""
    loop = asyncio.get_running_loop()
    call = a_call(task=SUM, schema=SCHEMA)
    members = [msgspec.structs.replace(m, suspect=m.name in suspects) for m in a_panel(*providers, **panel)]
    decision = await strategy.run(call, members, RecordingObserver().on)
    return decision, loop.time() - call.began


def voting() -> Voting:
    return Voting(SystemClock(), patience=patience)


def consensus(*, strict: bool = False) -> Consensus:
    clock = SystemClock()
    fallback = Voting(clock)

    async def by_vote(call: Call, panel: Any, attempts: Any, _emit: Any) -> Decision:
        return fallback.decide(call, panel, attempts)

    return Consensus(clock, ConsensusRule(), [] if strict else [by_vote], patience=patience)


@pytest.mark.anyio
@pytest.mark.parametrize("strategy", [voting, consensus])
async def test_a_silent_member_is_not_waited_for_to_the_deadline(strategy: Any) -> None:
    """Two of three have answered, and differ: the third is given its patience, and not the minute there is."""
    hung = hangs("gemma")

    decision, seconds = await decided(strategy(), says("phi", 5), says("llama", 4), hung, weights=(0.6, 1.0, 0.8))

    assert seconds == pytest.approx(PATIENCE)
    assert (decision.winner, decision.degraded, decision.missing) == ("llama", True, ("gemma",))
    assert "silent for too long" in decision.degraded_reason
    assert hung.cancelled == 1


@pytest.mark.anyio
async def test_a_suspect_is_given_less() -> None:
    """As long as twice the slowest answer, at least: it may be well again."""
    decision, seconds = await decided(
        voting(), says("phi", 5, after=0.25), says("llama", 4, after=0.25), hangs("gemma"), suspects=("gemma",)
    )

    assert seconds == pytest.approx(0.5)
    assert decision.missing == ("gemma",)


@pytest.mark.anyio
async def test_who_writes_is_waited_for() -> None:
    """A vote that takes six seconds counts, as long as words come."""
    slow = ScriptedProvider("gemma", Reply('{ "answer" : 5 , "why" : "because" }', ttft=0.8, duration=6.0))

    decision, seconds = await decided(voting(), says("phi", 5), says("llama", 4), slow)

    assert seconds == pytest.approx(6.0)
    assert not decision.degraded


@pytest.mark.anyio
async def test_the_next_on_one_machine_waits_its_turn_and_is_no_straggler() -> None:
    """Answers come one after the other, each after as long as the one before it took, and half again."""
    third = says("gemma", 5, ttft=3.0, after=3.1)

    decision, _ = await decided(voting(), says("phi", 5, after=1.0), says("llama", 4, after=2.0), third)

    assert not decision.degraded


@pytest.mark.anyio
async def test_another_is_asked_in_the_place_of_a_straggler() -> None:
    """On one machine the third is spared while the first two may agree; one that hangs will not."""
    third = says("gemma", 4)

    decision, seconds = await decided(
        voting(), hangs("phi"), says("llama", 4), third, weights=(1.0, 0.9, 0.8), group="gpu"
    )

    assert len(third.calls) == 1
    assert seconds == pytest.approx(PATIENCE + 0.5)
    assert (decision.winner, decision.agreement) == ("llama", 1.0)


@pytest.mark.anyio
async def test_without_a_quorum_they_are_waited_for() -> None:
    """One of three is no vote; there is nothing to lose but time."""
    late = says("gemma", 4, ttft=20.0, after=20.5)

    decision, seconds = await decided(voting(), says("phi", 4), hangs("llama"), late)

    assert seconds == pytest.approx(20.5)
    assert decision.agreement == 1.0


@pytest.mark.anyio
async def test_one_answer_is_enough_where_the_others_were_silent_the_last_few_times() -> None:
    """It says so."""
    providers = says("phi", 4), hangs("llama"), hangs("gemma")

    decision, seconds = await decided(voting(), *providers, suspects=("llama", "gemma"))

    assert seconds == pytest.approx(1.0)
    assert (decision.degraded, decision.missing) == (True, ("llama", "gemma"))


@pytest.mark.anyio
async def test_nobody_at_all_is_still_a_missed_deadline() -> None:
    """There is nothing to decide on, suspects or not."""
    with pytest.raises(DeadlineExceeded):
        await decided(voting(), hangs("phi"), hangs("llama"), suspects=("phi", "llama"))


@pytest.mark.anyio
async def test_a_strict_consensus_waits_for_everybody() -> None:
    """Who asks for an error rather than a doubt has the time for it."""
    late = says("gemma", 4, ttft=20.0, after=20.5)

    decision, _ = await decided(consensus(strict=True), says("phi", 4), says("llama", 4), late)

    assert decision.agreement == 1.0


@pytest.mark.anyio
async def test_what_is_there_at_the_deadline_is_voted_on() -> None:
    """CONSENSUS where others may decide gives the vote, and one that is strict its error."""
    call = a_call(task=SUM, schema=SCHEMA)
    panel = a_panel(says("phi", 5), says("llama", 4), weights=(0.6, 1.0))
    attempts = (await Voting(SystemClock()).run(call, panel, RecordingObserver().on)).attempts

    decision = consensus().decide(call, panel, attempts)

    assert (decision.asked, decision.used, decision.winner) == ("CONSENSUS", "VOTING", "llama")
    with pytest.raises(NoConsensus):
        consensus(strict=True).decide(call, panel, attempts)


@pytest.mark.anyio
async def test_a_silent_judge_is_asked_only_where_there_is_no_other() -> None:
    """A member of the panel on its machine stands in for it."""
    judge, author, elsewhere = a_panel(hangs("judge"), says("author", 4), says("elsewhere", 4), group="gpu")
    judge = msgspec.structs.replace(judge, suspect=True)
    elsewhere = msgspec.structs.replace(elsewhere, group="other")

    assert select_judges([judge, author], [judge, author], {"author"}) == (author,)
    assert select_judges([judge], [judge, author], {"author"}) == (author,)
    assert select_judges([judge], [judge, elsewhere], {"elsewhere"}) == (judge,)


@given(valid=st.integers(0, 9), quorum=st.integers(1, 9), suspects=st.lists(st.booleans(), min_size=1, max_size=5))
def test_more_answers_are_never_less_enough(valid: int, quorum: int, suspects: list[bool]) -> None:
    """Nor is none ever enough, nor a quorum too few."""
    members = a_panel(*(hangs(str(at)) for at in range(len(suspects))))
    stragglers = [msgspec.structs.replace(m, suspect=s) for m, s in zip(members, suspects, strict=True)]

    enough = is_enough(valid, quorum, stragglers)

    assert not enough or is_enough(valid + 1, quorum, stragglers)
    assert not is_enough(0, quorum, stragglers)
    assert is_enough(quorum, quorum, stragglers)


@pytest.mark.anyio
async def test_who_decides_instead_is_told_who_is_silent() -> None:
    """So that the member that hangs is not chosen to judge."""
    told: list[tuple[str, bool]] = []

    async def fallback(call: Call, panel: Any, attempts: Any, _emit: Any) -> Decision:
        told.extend((member.name, member.suspect) for member in panel)
        return Voting(SystemClock()).decide(call, panel, attempts)

    strategy = Consensus(SystemClock(), ConsensusRule(), [fallback], patience=patience)
    await decided(strategy, says("phi", 5), says("llama", 4), hangs("gemma"))

    assert told == [("phi", False), ("llama", False), ("gemma", True)]

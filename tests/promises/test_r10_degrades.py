"""R10: an ensemble degrades and says so; it never lies, and never depends on who was quicker."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import AllProvidersFailed, Failed, NoConsensus
from llm_pool.core.messages import Query, StrategyName, Task
from llm_pool.ensemble.consensus import Consensus, ConsensusRule
from llm_pool.ensemble.judge import Judge, JudgeLimits
from llm_pool.ensemble.voting import Voting
from llm_pool.ensemble.weighted import Weighted
from llm_pool.testing import RecordingObserver, Reply, ScriptedProvider, a_call, a_panel
from llm_pool.trust.model import Trust

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.interfaces import Member, Strategy
    from llm_pool.core.messages import Call

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "properties": {"answer": {}}, "required": ["answer"]}
SUM = Task(name="sum", template="", kind="value", field="answer", output_schema=SCHEMA)
WEIGHTS = (0.6, 1.0, 0.8, 0.8, 0.7)
SETS, ORDERS = 25, 20


def likes_the_largest(call: Call) -> Reply:
    """A judge that picks the largest number, under whichever letter it finds it."""
    lines = call.prompt.user.splitlines()
    shown = {lines[i][8]: lines[i + 1] for i in range(len(lines)) if lines[i].startswith("<answer ")}
    return Reply(max(sorted(shown), key=lambda letter: shown[letter]), ttft=0.05, duration=0.05)


def strategy(name: StrategyName, judge: Member) -> Strategy:
    clock = SystemClock()
    voting = Voting(clock)

    async def by_vote(call: Call, panel: Sequence[Member], attempts: Any, _: object) -> Any:
        return voting.decide(call, panel, attempts)

    match name:
        case StrategyName.WEIGHTED:
            return Weighted(clock, Trust())
        case StrategyName.CONSENSUS:
            return Consensus(clock, ConsensusRule(min_agreement=0.6), [by_vote])
        case StrategyName.JUDGE:
            return Judge(clock, Random(7), JudgeLimits(time=30.0), Trust(), judges=lambda _: [judge], fallback=voting)
        case _:
            return voting


@pytest.mark.parametrize("name", [name for name in StrategyName if name is not StrategyName.FASTEST])
async def test_the_verdict_is_the_same_in_whatever_order_answers_arrive(name: StrategyName) -> None:
    """Five hundred permutations; two of the five fail now and then."""
    rng = Random(str(name))
    verdicts = []
    for _ in range(SETS):
        said = [rng.choice((1, 1, 2, 3, None)) for _ in WEIGHTS]
        orders = [rng.sample(range(5), 5) for _ in range(ORDERS)]
        verdicts.append({await verdict(name, said, order) for order in orders})

    assert [len(each) for each in verdicts] == [1] * SETS
    assert len(set.union(*verdicts)) > 1


async def verdict(name: StrategyName, said: Sequence[int | None], order: Sequence[int]) -> str:
    """What is decided, and by which strategy."""
    providers = [ScriptedProvider(f"p{at}", reply(answer, after=1.0 + order[at])) for at, answer in enumerate(said)]
    [judge] = a_panel(ScriptedProvider("judge", likes_the_largest))
    call = a_call(task=SUM, schema=SCHEMA)
    try:
        decision = await strategy(name, judge).run(call, a_panel(*providers, weights=WEIGHTS), RecordingObserver().on)
    except AllProvidersFailed:
        return "nobody"
    return f"{decision.reading.value} by {decision.used}"


def reply(answer: int | None, *, after: float) -> Reply:
    if answer is None:
        return Reply.failing(Failed("p", "500"), after=after)
    return Reply(json.dumps({"answer": answer}), ttft=after, duration=after)


@pytest.mark.parametrize("name", [name for name in StrategyName if name is not StrategyName.FASTEST])
@pytest.mark.parametrize("lost", ["fails", "hangs"])
async def test_a_lost_quorum_is_told(on_virtual_time: Any, name: StrategyName, lost: str) -> None:
    """One of three answers: the answer is given, as degraded, with the names of the missing, and is not kept."""
    trouble = Reply.hanging() if lost == "hangs" else Reply.failing(Failed("p", "500"))
    text = '[cache]\nenabled = true\n[ensemble.consensus]\nfallback = ["JUDGE", "VOTING"]'
    async with on_virtual_time(Reply("blue"), trouble, trouble, text=text) as (app, models):
        answers = [await app.orchestrator.infer(Query(prompt="q", deadline=1.4, strategy=name)) for _ in range(2)]

        for answer in answers:
            assert (answer.content, answer.winner, answer.degraded, answer.from_cache) == ("blue", "p0", True, False)
            assert answer.decision.missing == ("p1", "p2")
            assert answer.decision.degraded_reason
        assert len(models[0].calls) == 2


async def test_a_whole_panel_is_not_degraded(on_virtual_time: Any) -> None:
    """The flag means something."""
    async with on_virtual_time(*[Reply("blue")] * 3) as (app, _):
        for name in StrategyName:
            answer = await app.orchestrator.infer(Query(prompt=str(name), deadline=1.4, strategy=name))

            assert (answer.degraded, answer.decision.missing) == (False, ())


async def test_a_strict_consensus_is_kept_or_refused(on_virtual_time: Any) -> None:
    """It does not come down to a vote."""
    text = "[ensemble.consensus]\nstrict = true"
    async with on_virtual_time(Reply("blue"), Reply("seven"), Reply("off"), text=text) as (app, _):
        with pytest.raises(NoConsensus) as caught:
            await app.orchestrator.infer(Query(prompt="q", deadline=1.4, strategy=StrategyName.CONSENSUS))

        assert caught.value.decision.agreement < 0.5

"""VOTING: whom it asks, when it stops, what it says of itself."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import AllProvidersFailed, DeadlineExceeded, Unreachable
from llm_pool.core.messages import StrategyName, Task
from llm_pool.ensemble.attempts import AttemptGroup
from llm_pool.ensemble.tally import NO_WEIGHTS_NOTE
from llm_pool.ensemble.voting import Voting
from llm_pool.ensemble.weighted import Weighted
from llm_pool.testing import RecordingObserver, Reply, ScriptedProvider, VirtualLoop, a_call, a_panel
from llm_pool.trust.model import PanelAnswer, Record, Trust

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.interfaces import Member
    from llm_pool.core.messages import Attempt, Call, Decision

SCHEMA = {"type": "object", "properties": {"answer": {}}, "required": ["answer"]}
SUM = Task(name="sum", template="", kind="value", field="answer", output_schema=SCHEMA)


def says(name: str, answer: object, *, after: float = 1.0) -> ScriptedProvider:
    return ScriptedProvider(name, Reply(json.dumps({"answer": answer}), ttft=after / 2, duration=after))


def fails(name: str, *, after: float = 0.1) -> ScriptedProvider:
    return ScriptedProvider(name, Reply.failing(Unreachable(name, "nobody listens"), after=after))


def hangs(name: str) -> ScriptedProvider:
    return ScriptedProvider(name, Reply.hanging())


def call(seconds: float = 60.0) -> Call:
    asked = a_call(task=SUM, schema=SCHEMA)
    return msgspec.structs.replace(asked, deadline=asked.began + seconds)


async def vote(
    *providers: ScriptedProvider, weights: tuple[float, ...] = (), group: str | None = None, seconds: float = 60.0
) -> Decision:
    return await Voting(SystemClock()).run(
        call(seconds), a_panel(*providers, weights=weights, group=group), RecordingObserver().on
    )


@pytest.mark.anyio
async def test_machines_of_their_own_are_asked_at_once() -> None:
    """The time of the second answer that decides, not the sum."""
    began = asyncio.get_running_loop().time()
    slow = says("gemma", 4, after=30)

    decision = await vote(says("phi", 4, after=2), says("llama", "4.0", after=3), slow)

    assert asyncio.get_running_loop().time() - began == pytest.approx(3)
    assert (decision.asked, decision.used) == (StrategyName.VOTING, StrategyName.VOTING)
    assert decision.reason == "all say the same"
    assert (decision.saved, slow.cancelled, decision.agreement) == (1, 1, 1.0)
    assert [a.outcome for a in decision.attempts] == ["ok", "ok", "cancelled"]
    assert not decision.degraded


@pytest.mark.anyio
async def test_on_one_machine_the_third_is_asked_only_on_disagreement() -> None:
    """Two that agree decide; two that differ need a third."""
    third = says("phi", 5)
    agreed = await vote(third, says("llama", 4), says("gemma", 4), weights=(0.6, 1.0, 0.8), group="gpu")

    assert third.calls == []
    assert agreed.saved == 1
    assert agreed.notes == ("not asked, as nothing could change any more: phi",)

    differed = await vote(says("phi", 5), says("llama", 4), says("gemma", 5), weights=(0.6, 1.0, 0.8), group="gpu")

    assert differed.winner == "gemma"
    assert [cluster.providers for cluster in differed.clusters] == [("phi", "gemma"), ("llama",)]
    assert differed.saved == 0


@pytest.mark.anyio
async def test_on_one_machine_loaded_models_go_first() -> None:
    """Loading one would evict another."""
    providers = [says("phi", 4), says("llama", 4), says("gemma", 4)]
    panel = a_panel(*providers, weights=(0.6, 1.0, 0.8), group="gpu")
    panel[1] = msgspec.structs.replace(panel[1], load_time=5.0)

    await Voting(SystemClock()).run(call(), panel, RecordingObserver().on)

    assert [len(provider.calls) for provider in providers] == [1, 0, 1]


@pytest.mark.anyio
async def test_a_failure_calls_the_next_at_once() -> None:
    """Not when the slow one has answered: then it is too late to be quick."""
    began = asyncio.get_running_loop().time()

    decision = await vote(fails("phi", after=1), says("llama", 4, after=10), says("gemma", 4, after=9), group="gpu")

    assert asyncio.get_running_loop().time() - began == pytest.approx(10)
    assert decision.agreement == pytest.approx(2 / 3, abs=1e-4)
    assert not decision.degraded


@pytest.mark.anyio
async def test_a_lost_quorum_is_degraded_and_names_the_missing() -> None:
    """One of three is an answer, and not a vote."""
    decision = await vote(fails("phi"), says("llama", 4), fails("gemma"))

    assert decision.degraded
    assert decision.missing == ("phi", "gemma")
    assert decision.degraded_reason == "quorum lost: 2 of 3 gave no valid answer, 2 valid ones were needed"
    assert decision.agreement == pytest.approx(1 / 3, abs=1e-4)


@pytest.mark.anyio
async def test_who_was_spared_is_not_missing() -> None:
    """One failed before two heavy ones settled it; the rest were called off, so no quorum was lost."""
    rest = [says("d", 4, after=5), says("e", 4, after=5)]

    decision = await vote(fails("a"), says("b", 4), says("c", 4), *rest, weights=(0.1, 1.0, 1.0, 0.5, 0.5))

    assert (decision.degraded, decision.missing, decision.saved) == (False, (), 2)


@pytest.mark.anyio
async def test_the_deadline_decides_on_what_has_arrived() -> None:
    """Shortly before it, so that the decision is in time."""
    began = asyncio.get_running_loop().time()

    decision = await vote(says("phi", 5), says("llama", 4), hangs("gemma"), weights=(0.6, 1.0, 0.8), seconds=5)

    assert asyncio.get_running_loop().time() - began < 5
    assert decision.winner == "llama"
    assert decision.degraded
    assert decision.missing == ("gemma",)
    assert decision.degraded_reason == "the deadline came before gemma answered"
    assert decision.saved == 0


@pytest.mark.anyio
async def test_nobody_in_time_is_a_missed_deadline() -> None:
    """There is nothing to decide on."""
    with pytest.raises(DeadlineExceeded):
        await vote(hangs("phi"), hangs("llama"), seconds=2)


@pytest.mark.anyio
async def test_nobody_able_is_an_error_that_tells_of_all() -> None:
    """Each attempt travels in the error."""
    with pytest.raises(AllProvidersFailed) as caught:
        await vote(fails("phi"), fails("llama"), group="gpu")

    assert [attempt.provider for attempt in caught.value.attempts] == ["phi", "llama"]


@pytest.mark.anyio
async def test_a_panel_of_one_answers_and_says_so() -> None:
    """It is no vote, but it is an answer."""
    decision = await vote(says("phi", 4))

    assert (decision.winner, decision.degraded) == ("phi", False)
    assert decision.notes == ("a panel of one: there was nobody to agree with",)


@pytest.mark.anyio
async def test_free_text_without_weights_warns() -> None:
    """And asks everybody: similarity needs company."""
    providers = [
        ScriptedProvider(name, Reply(text))
        for name, text in (("a", "One, two, three."), ("b", "A long walk home"), ("c", "Soup is good."))
    ]

    decision = await Voting(SystemClock()).run(a_call(), a_panel(*providers, group="gpu"), RecordingObserver().on)

    assert NO_WEIGHTS_NOTE in decision.notes
    assert len(decision.attempts) == 3


@pytest.mark.anyio
async def test_rankings_are_asked_for_in_an_order_of_each_models_own() -> None:
    """And all of them are heard."""
    ids = tuple("abcdef")
    schema = {"type": "object", "properties": {"ranking": {"type": "array"}}, "required": ["ranking"]}
    task = Task(name="rank", template="{{input}}", kind="ranking", field="ranking", ids_from="items[]")
    providers = [ScriptedProvider(n, Reply(json.dumps({"ranking": list("fedcba")}))) for n in ("x", "y", "z")]
    asked = a_call(task=task, schema=schema, ids=ids, input={"items": list(ids)})

    decision = await Voting(SystemClock()).run(asked, a_panel(*providers, group="gpu"), RecordingObserver().on)

    assert decision.reading.value == {"ranking": list("fedcba")}
    assert len({tuple(provider.calls[0].input["items"]) for provider in providers}) == 3
    assert decision.agreement == 1.0


# Ties


def taught(*, right: str, times: float) -> Trust:
    """A trust that saw *right* alone be right on divided questions; each is one observation of each of three."""
    trust = Trust()
    for _ in range(int(times)):
        for name in ("phi", "llama", "gemma"):
            trust.observe("sum", PanelAnswer(name, 0), "feedback", right=name == right)
    return trust


async def tied(trust: Trust | None, *answers: object, tenant_id: str = "") -> Decision:
    """What phi, llama and gemma, with the weights of the default configuration, decide by one vote each."""
    providers = [says(name, answer) for name, answer in zip(("phi", "llama", "gemma"), answers, strict=True)]
    asked = msgspec.structs.replace(call(), tenant_id=tenant_id)
    return await Voting(SystemClock(), trust).run(
        asked, a_panel(*providers, weights=(0.6, 1.0, 0.8)), RecordingObserver().on
    )


@pytest.mark.anyio
@pytest.mark.parametrize("trust", [None, Trust(), taught(right="phi", times=9)], ids=["off", "nothing", "27 of 30"])
async def test_a_tie_goes_to_the_configured_weight_while_little_is_learned(trust: Trust | None) -> None:
    """Whatever the little says."""
    decision = await tied(trust, 1, 2, 3)

    assert decision.winner == "llama"
    assert decision.reason == "1 votes each; llama won by the greater weight"


@pytest.mark.anyio
async def test_a_tie_goes_to_the_learned_trust_once_there_is_enough() -> None:
    """The lightest by configuration is the one that proved to be right here; on another task it is not."""
    trust = taught(right="phi", times=40)

    assert (await tied(trust, 1, 2, 3)).winner == "phi"
    assert (await tied(Trust({"other": {"": Record(30.0, 30.0)}}), 1, 2, 3)).winner == "llama"


@pytest.mark.anyio
async def test_trust_breaks_ties_and_nothing_else() -> None:
    """Two that agree win against the one that is always right: whoever wants that asks for WEIGHTED."""
    trust = taught(right="phi", times=400)

    assert (await tied(trust, 1, 2, 2)).reading.value == {"answer": 2}
    assert Weighted(SystemClock(), trust).decide(*(await _heard(1, 2, 2))).reading.value == {"answer": 1}


@pytest.mark.anyio
async def test_ties_between_two_pairs_go_to_the_pair_that_is_trusted_more() -> None:
    """The sum of what its members count."""
    trust = Trust()
    for _ in range(40):
        for name in "abcd":
            trust.observe("sum", PanelAnswer(name, 0), "feedback", right=name in {"c", "d"})
    providers = [says(name, answer) for name, answer in zip("abcd", (1, 1, 2, 2), strict=True)]
    panel = a_panel(*providers, weights=(1.0, 1.0, 0.5, 0.5))

    before = await Voting(SystemClock()).run(call(), panel, RecordingObserver().on)
    after = await Voting(SystemClock(), trust).run(call(), panel, RecordingObserver().on)

    assert (before.reading.value, after.reading.value) == ({"answer": 1}, {"answer": 2})


@pytest.mark.anyio
async def test_a_tie_goes_by_what_the_asking_tenant_taught() -> None:
    """And by the configured weight for a tenant that taught nothing."""
    trust = Trust()
    for _ in range(40):
        for name in ("phi", "llama", "gemma"):
            trust.of("acme").observe("sum", PanelAnswer(name, 0), "feedback", right=name == "phi")

    assert (await tied(trust, 1, 2, 3, tenant_id="acme")).winner == "phi"
    assert (await tied(trust, 1, 2, 3, tenant_id="other")).winner == "llama"


async def _heard(*answers: object) -> tuple[Call, list[Member], tuple[Attempt, ...]]:
    """A call, its panel, and all of its answers."""
    providers = [says(name, answer) for name, answer in zip(("phi", "llama", "gemma"), answers, strict=True)]
    asked, panel = call(), a_panel(*providers, weights=(0.6, 1.0, 0.8))
    async with AttemptGroup(RecordingObserver().on) as group:
        for member in panel:
            group.start(member, asked, why="vote")
        async for _ in group.as_completed():
            pass
    return asked, panel, group.attempts


answers = st.lists(st.sampled_from([1, 2, 3, None]), min_size=1, max_size=6)


@settings(max_examples=500, deadline=None)
@given(data=st.data(), said=answers)
def test_early_stopping_loses_nothing(data: st.DataObject, said: Sequence[int | None]) -> None:
    """The verdict of asking all, whoever is quick, wherever they run, whoever fails, whatever was learned."""
    count = len(said)
    records = {f"provider:p{i}": Record(data.draw(st.integers(0, 40)), data.draw(st.integers(0, 40))) for i in range(6)}
    trust = data.draw(st.sampled_from([None, Trust({"sum": {"": Record(20.0, 20.0), **records}})]))
    weights = tuple(data.draw(st.lists(st.sampled_from([0.1, 0.6, 0.8, 1.0]), min_size=count, max_size=count)))
    delays = data.draw(st.lists(st.sampled_from([0.5, 1.0, 2.0, 5.0]), min_size=count, max_size=count))
    group = data.draw(st.sampled_from([None, "gpu"]))

    async def both() -> tuple[object, object]:
        providers = [
            fails(f"p{i}", after=delay) if answer is None else says(f"p{i}", answer, after=delay)
            for i, (answer, delay) in enumerate(zip(said, delays, strict=True))
        ]
        panel = a_panel(*providers, weights=weights, group=group)
        voting, asked = Voting(SystemClock(), trust), call()
        try:
            stopped = await voting.run(asked, panel, RecordingObserver().on)
        except AllProvidersFailed:
            return None, None if all(answer is None for answer in said) else "somebody"
        assert sum(provider.in_flight for provider in providers) == 0
        everybody = [a for a in stopped.attempts if a.reading] + [
            attempt
            for member in panel
            if member.name not in {a.provider for a in stopped.attempts if a.reading}
            for attempt in await alone(member.provider, asked)
        ]
        return stopped.reading.value, voting.decide(asked, panel, everybody).reading.value

    async def alone(provider: ScriptedProvider, asked: Call) -> Sequence[object]:
        try:
            return (await Voting(SystemClock()).run(asked, a_panel(provider), RecordingObserver().on)).attempts
        except AllProvidersFailed:
            return ()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        stopped, whole = runner.run(both())

    assert stopped == whole

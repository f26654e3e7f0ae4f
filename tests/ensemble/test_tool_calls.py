"""Calls of tools as answers: passed through by FASTEST, agreed on by the votes, picked by JUDGE."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import AllProvidersFailed
from llm_pool.core.events import TextArrived, ToolCallArrived
from llm_pool.core.messages import StrategyName, Tool
from llm_pool.ensemble.attempts import AttemptGroup
from llm_pool.ensemble.consensus import Consensus, ConsensusRule
from llm_pool.ensemble.fastest import Fastest
from llm_pool.ensemble.voting import Voting
from llm_pool.qos.budget import Budget
from llm_pool.testing import RecordingObserver, Reply, ScriptedProvider, a_call, a_panel, scripted

if TYPE_CHECKING:
    from llm_pool.core.messages import Attempt, Call, Decision

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = (Tool("weather", "The weather.", SCHEMA),)
pytestmark = pytest.mark.anyio


def calling(name: str, *cities: str, after: float = 0.5) -> ScriptedProvider:
    """A model that asks for the weather in *cities*."""
    calls = tuple(("weather", json.dumps({"city": city})) for city in cities)
    return ScriptedProvider(name, Reply(calls=calls, ttft=after / 2, duration=after))


def saying(name: str, text: str) -> ScriptedProvider:
    return ScriptedProvider(name, Reply(text))


def call(**changes: Any) -> Call:
    return a_call(**{"tools": TOOLS, **changes})


def made(decision: Decision) -> list[str]:
    return [json.loads(one.arguments)["city"] for one in decision.reading.tool_calls]


async def vote(*providers: ScriptedProvider) -> Decision:
    return await Voting(SystemClock()).run(call(), a_panel(*providers), RecordingObserver().on)


async def test_most_votes_win_and_order_says_nothing() -> None:
    decision = await vote(calling("a", "Oslo"), calling("b", "Rome", "Bern"), calling("c", "bern", "rome"))

    assert made(decision) == ["Rome", "Bern"]
    assert decision.agreement == pytest.approx(2 / 3, abs=1e-3)
    assert decision.finish == "tool_calls"
    assert [c.label for c in decision.clusters][1] == 'weather({"city": "Oslo"})'


async def test_two_texts_in_their_own_words_outvote_a_call() -> None:
    """First whether to call is decided, then what is said."""
    decision = await vote(
        calling("a", "Rome"), saying("b", "I cannot look out of a window."), saying("c", "There is no window here.")
    )

    assert decision.reading.tool_calls == ()
    assert decision.winner in {"b", "c"}
    assert {name for cluster in decision.clusters for name in cluster.providers} == {"a", "b", "c"}


async def test_two_calls_outvote_a_text_and_none_is_mixed() -> None:
    decision = await vote(saying("a", "Sunny."), calling("b", "Rome"), calling("c", "Oslo"))

    assert made(decision) == ["Rome"]


async def test_a_call_and_the_same_words_are_no_consensus() -> None:
    panel = a_panel(calling("a", "Rome"), saying("b", 'weather({"city": "Rome"})'))
    strategy = Consensus(SystemClock(), ConsensusRule(), [_by_vote])

    decision = await strategy.run(call(), panel, RecordingObserver().on)

    assert decision.agreement == 0.5
    assert decision.notes[0].startswith("no consensus")


async def _by_vote(asked: Call, panel: Any, attempts: Any, _emit: Any) -> Decision:
    return Voting(SystemClock()).decide(asked, panel, attempts)


async def test_the_first_piece_of_a_call_owns_the_stream() -> None:
    """As the first word does; pieces are told as they come."""
    seen, provider = RecordingObserver(), calling("a", "Rome")
    race = Fastest(SystemClock(), Budget(), hedge_after=lambda *_: None, has_room=lambda _: True)

    decision = await race.run(call(stream=True), a_panel(provider, calling("b", "Oslo")), seen.on)

    pieces = [event for event in seen.events if isinstance(event, ToolCallArrived)]
    assert len(pieces) > 1
    assert all(piece.committed for piece in pieces)
    assert "".join(piece.piece.arguments for piece in pieces) == decision.reading.tool_calls[0].arguments
    assert decision.used is StrategyName.FASTEST


async def test_a_text_owns_no_stream_where_a_call_must_be() -> None:
    """The next one is asked, and its call is the answer."""
    seen = RecordingObserver()
    race = Fastest(SystemClock(), Budget(), hedge_after=lambda *_: None, has_room=lambda _: True)

    decision = await race.run(
        call(stream=True, tool_choice="required"), a_panel(saying("a", "Sunny."), calling("b", "Rome")), seen.on
    )

    assert made(decision) == ["Rome"]
    assert not any(event.committed for event in seen.events if isinstance(event, TextArrived))


@pytest.mark.parametrize(
    ("reply", "changes", "why"),
    [
        (Reply(calls=(("weather", '{"city": "Ro'),)), {}, "not whole JSON"),
        (Reply(calls=(("weather", '{"city": "Rome"}'),), finish="length"), {}, "token limit cut them"),
        (Reply(calls=(("weather", '{"city": "Rome"}'),)), {"tools": ()}, "which it was not given"),
        (Reply(calls=(("weather", '{"city": "Rome"}'),) * 2), {"parallel_tool_calls": False}, "2 calls at once"),
        (Reply("Sunny."), {"tool_choice": "weather"}, "a call of a tool was asked for"),
    ],
)
async def test_a_call_that_may_not_be_made_is_invalid(reply: Reply, changes: dict[str, Any], why: str) -> None:
    attempt = await attempted(ScriptedProvider("a", reply), call(**changes))

    assert attempt.outcome == "invalid"
    assert why in attempt.error


async def attempted(provider: ScriptedProvider, asked: Call) -> Attempt:
    async with AttemptGroup(lambda _: None) as group:
        group.start(a_panel(provider)[0], asked, why="primary")
        await group.next()
    (attempt,) = group.attempts
    return attempt


async def test_what_is_said_beside_a_call_is_kept() -> None:
    attempt = await attempted(
        ScriptedProvider("a", Reply("Let me look.", calls=(("weather", '{"city": "Rome"}'),))), call()
    )

    assert attempt.reading is not None
    assert (attempt.reading.content, attempt.reading.value) == ("Let me look.", None)
    assert attempt.reading.shown == 'Let me look.\nweather({"city": "Rome"})'


async def test_nobody_who_cannot_call_is_an_answer() -> None:
    with pytest.raises(AllProvidersFailed, match="not given"):
        await Voting(SystemClock()).run(call(tools=()), a_panel(calling("a", "Rome")), RecordingObserver().on)


async def test_a_judge_sees_calls_as_json_and_calls_nothing_itself() -> None:
    from random import Random

    from llm_pool.ensemble.judge import Judge, JudgeLimits
    from llm_pool.trust.model import Trust

    judge = ScriptedProvider("judge", Reply("B", tokens=1))
    (member,) = a_panel(judge)
    strategy = Judge(
        SystemClock(),
        Random(7),
        JudgeLimits(),
        Trust(),
        judges=lambda _: [member],
        fallback=Voting(SystemClock()),
    )

    decision = await strategy.run(call(), a_panel(calling("a", "Rome"), calling("b", "Oslo")), RecordingObserver().on)

    asked = judge.calls[0]
    assert asked.tools == ()
    assert '[{"name":"weather","arguments":{"city":"Rome"}}]' in asked.prompt.user
    assert "weather: The weather." in asked.prompt.user
    assert decision.reading.tool_calls
    assert msgspec.json.decode(decision.reading.tool_calls[0].arguments)["city"] in {"Rome", "Oslo"}


async def test_a_call_that_hangs_half_way_is_cancelled() -> None:
    provider, calls = scripted("a")
    async with AttemptGroup(lambda _: None) as group:
        group.start(a_panel(provider)[0], call(), why="primary")
        received = await calls.next()
        received.call_tool("weather", '{"city":')
        received.hang()
        assert await group.next(SystemClock().now() + 1.0) is None

    assert provider.cancelled == 1
    assert group.attempts[0].outcome == "cancelled"

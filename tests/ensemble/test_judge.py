"""JUDGE: who is asked, in what time, and what becomes of a verdict."""

from __future__ import annotations

import json
import math
import random
from typing import TYPE_CHECKING

import msgspec
import pytest

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import AllProvidersFailed, Failed
from llm_pool.core.messages import Call, Decision, StrategyName, TokenLogprob
from llm_pool.ensemble.judge import Judge, JudgeLimits, candidates_until, select_judges
from llm_pool.ensemble.voting import Voting
from llm_pool.tasks import JUDGING, with_variant
from llm_pool.testing import FakeProvider, RecordingObserver, Reply, ScriptedProvider, a_call, a_panel
from llm_pool.trust.model import Trust

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llm_pool.core.interfaces import Member
    from llm_pool.core.messages import Task

pytestmark = pytest.mark.anyio


HALVES = (("A", math.log(0.5)), ("B", math.log(0.5)))
"""A judge that cannot decide."""


def letters(call: Call) -> list[str]:
    """The letters under which a judge sees ``right`` in its prompt."""
    lines = call.prompt.user.splitlines()
    return [lines[i][8] for i in range(len(lines) - 1) if lines[i].startswith("<answer ") and "right" in lines[i + 1]]


def picks_right(*, probability: float = 0.95, delay: float = 0.1) -> Callable[[Call], Reply]:
    """A judge that finds the right answer wherever it stands, with logprobs."""

    def judge(call: Call) -> Reply:
        letter = letters(call)[0]
        other = "B" if letter == "A" else "A"
        top = ((letter, math.log(probability)), (other, math.log(1 - probability)))
        return Reply(letter, ttft=delay, duration=delay, logprobs=(TokenLogprob(letter, top[0][1], top),))

    return judge


def made(
    *judges: Member,
    load_task: Callable[[], Awaitable[Task]] | None = None,
    learned: Callable[[Member], Awaitable[Member]] | None = None,
    **limits: float,
) -> Judge:
    return Judge(
        SystemClock(),
        random.Random(7),
        JudgeLimits(**limits),  # type: ignore[arg-type]  # seconds and shares only
        Trust(),
        judges=lambda panel: judges,
        fallback=Voting(SystemClock()),
        load_task=load_task,
        learned=learned,
    )


async def decide(judge: Judge, *providers: FakeProvider, weights: tuple[float, ...] = (), **call: object) -> Decision:
    return await judge.run(a_call(**call), a_panel(*providers, weights=weights), RecordingObserver().on)


def member(provider: FakeProvider, **changes: object) -> Member:
    return msgspec.structs.replace(a_panel(provider)[0], rank=9, **changes)


async def test_the_judge_picks_against_the_heavier_author() -> None:
    """A confident judge moves the answer to the lighter provider, and the decision says by how much."""
    wrong, right = ScriptedProvider("wrong", Reply("42")), ScriptedProvider("r", Reply("right"))
    judge = ScriptedProvider("judge", picks_right())

    decision = await decide(made(member(judge)), wrong, right, weights=(1.1, 1.0))

    assert (decision.winner, decision.used) == ("r", StrategyName.JUDGE)
    assert decision.scores["r"] > decision.scores["wrong"]
    assert decision.judge is not None
    assert decision.judge["judge"]["r"] == pytest.approx(0.95)
    assert "judge" in decision.reason


async def test_a_verdict_costs_one_token() -> None:
    """The letter is asked for with one token and its alternatives, at temperature 0, in another task's name."""
    judge = ScriptedProvider("judge", picks_right())

    await decide(made(member(judge)), ScriptedProvider("a", Reply("wrong")), ScriptedProvider("b", Reply("right")))

    [asked] = judge.calls
    assert (asked.max_tokens, asked.top_logprobs, asked.temperature) == (1, 10, 0.0)
    assert asked.task is JUDGING


async def test_a_judge_may_have_words_of_its_own() -> None:
    """The call carries question and candidates as data, for the variant of the task that was loaded."""
    judge = ScriptedProvider("judge", Reply("A"))
    worded = msgspec.structs.replace(JUDGING, variants={"short": "judging: {{input}}"})

    async def load_task() -> Task:
        return worded

    one, two = ScriptedProvider("a", Reply("red")), ScriptedProvider("b", Reply("blue"))
    await decide(made(member(judge), load_task=load_task), one, two)

    [asked] = judge.calls
    assert asked.input["question"] == "which colour?"
    assert {(c["id"], c["text"]) for c in asked.input["candidates"]} in (
        {("A", "red"), ("B", "blue")},
        {("A", "blue"), ("B", "red")},
    )
    assert with_variant(asked, "short").prompt.user == f"judging: {json.dumps(asked.input)}"


async def test_two_unsure_authors_that_agree_are_worth_more_than_one() -> None:
    """Where trust is low, agreement still counts for the candidate: an undecided judge leaves the answer to them."""
    undecided = ScriptedProvider("judge", lambda call: Reply("A", logprobs=(TokenLogprob("A", math.log(0.5), HALVES),)))

    decision = await decide(
        made(member(undecided)),
        ScriptedProvider("a", Reply("blue")),
        ScriptedProvider("b", Reply("blue")),
        ScriptedProvider("c", Reply("red")),
        weights=(0.4, 0.4, 0.5),
    )

    assert decision.reading.content == "blue"


async def test_candidates_that_only_look_alike_are_judged() -> None:
    """One number apart they are two answers, though nearly the same letters."""
    judge = ScriptedProvider("judge", Reply("A"))

    decision = await decide(
        made(member(judge)),
        ScriptedProvider("a", Reply("Refunds are accepted within 60 days.")),
        ScriptedProvider("b", Reply("Refunds are accepted within 30 days.")),
    )

    assert judge.calls
    assert [cluster.label for cluster in decision.clusters] == [
        "Refunds are accepted within 60 days.",
        "Refunds are accepted within 30 days.",
    ]


async def test_identical_candidates_skip_the_judge() -> None:
    """What all say needs no verdict."""
    judge = ScriptedProvider("judge", picks_right())

    decision = await decide(
        made(member(judge)), ScriptedProvider("a", Reply("blue")), ScriptedProvider("b", Reply("Blue"))
    )

    assert len(judge.calls) == 0
    assert decision.agreement == 1.0
    assert "not needed" in decision.reason


async def test_a_close_call_is_asked_again_in_swapped_order() -> None:
    """A judge that is not sure is heard twice, and its place bias cancels out."""

    def likes_the_first(call: Call) -> Reply:
        top = (("A", math.log(0.7)), ("B", math.log(0.3)))
        return Reply("A", ttft=0.05, duration=0.05, logprobs=(TokenLogprob("A", top[0][1], top),))

    judge = ScriptedProvider("judge", likes_the_first)

    decision = await decide(
        made(member(judge)),
        ScriptedProvider("a", Reply("one")),
        ScriptedProvider("b", Reply("two")),
        weights=(1.2, 1.0),
    )

    assert len(judge.calls) == 2
    assert decision.judge is not None
    assert decision.judge["judge"] == {"a": 0.5, "b": 0.5}
    assert decision.winner == "a"


async def test_a_judge_that_cannot_answer_in_one_token_is_asked_in_a_schema() -> None:
    """Prose instead of a letter: the next question allows letters only, and so does the one in swapped order."""

    def chatty(call: Call) -> Reply:
        if call.schema is None:
            return Reply("The", duration=0.1)
        return Reply(f'{{"best": "{letters(call)[0]}"}}', duration=0.1)

    judge = ScriptedProvider("judge", chatty)

    decision = await decide(
        made(member(judge)), ScriptedProvider("a", Reply("wrong")), ScriptedProvider("b", Reply("right"))
    )

    assert [call.schema is None for call in judge.calls] == [True, False, False]
    assert decision.winner == "b"


async def test_a_bare_letter_is_asked_for_in_both_orders() -> None:
    """A judge that gives no probabilities and likes whatever comes first has said nothing: trust decides."""
    judge = ScriptedProvider("judge", lambda call: Reply("A", ttft=0.05, duration=0.05))

    decision = await decide(
        made(member(judge)),
        ScriptedProvider("a", Reply("one")),
        ScriptedProvider("b", Reply("two")),
        weights=(1.0, 1.2),
    )

    assert len(judge.calls) == 2
    assert decision.winner == "b"
    assert decision.judge == {"judge": {"a": 0.5, "b": 0.5}}
    assert "chosen by no judge" in decision.reason
    assert "chose another one in swapped order" in decision.notes[-1]


async def test_without_time_for_another_order_one_letter_counts_and_the_notes_say_so() -> None:
    """The deadline is harder than the rule."""
    judge = ScriptedProvider("judge", lambda call: Reply(letters(call)[0], ttft=0.4, duration=0.4))

    decision = await decide(
        made(member(judge), time=0.7), ScriptedProvider("a", Reply("wrong")), ScriptedProvider("b", Reply("right"))
    )

    assert (len(judge.calls), decision.winner) == (1, "b")
    assert "in one order only" in decision.notes[-1]


@pytest.mark.parametrize("context", [None, 1024, 32768])
async def test_a_judge_is_shown_what_its_context_holds(context: int | None) -> None:
    """The whole question where it fits, else excerpts, of the candidates first; what was cut is in the notes."""
    judge = ScriptedProvider("judge", picks_right())
    question = "which colour? " * 400
    long = "right, as " + ", ".join(f"of {number} it is so" for number in range(1000))

    decision = await made(member(judge, context=context)).run(
        a_call(question),
        a_panel(ScriptedProvider("a", Reply("wrong")), ScriptedProvider("b", Reply(long))),
        RecordingObserver().on,
    )

    asked = judge.calls[0].prompt.user
    assert (question.strip() in asked) == (context != 1024)
    assert (long.strip() in asked) == (context == 32768)
    assert [("to fit its context: 1 of 2 candidates" in note) for note in decision.notes] == [True] * (context != 32768)


@pytest.mark.parametrize(
    "reply", [Reply.hanging(), Reply.failing(Failed("judge", "500")), Reply("no idea", duration=0.1)], ids=str
)
async def test_a_judge_that_fails_is_late_or_answers_nonsense_falls_back(reply: Reply) -> None:
    """The fallback decides on the same candidates within the deadline, and the decision says so."""
    judge = ScriptedProvider("judge", reply)
    call = a_call()

    decision = await made(member(judge)).run(
        msgspec.structs.replace(call, deadline=call.began + 3),
        a_panel(ScriptedProvider("a", Reply("one")), ScriptedProvider("b", Reply("two")), weights=(1.0, 2.0)),
        RecordingObserver().on,
    )

    assert (decision.asked, decision.used) == (StrategyName.JUDGE, StrategyName.VOTING)
    assert decision.winner == "b"
    assert "VOTING decided on the same candidates" in decision.notes[-1]


async def test_a_judge_without_a_verdict_is_no_candidate() -> None:
    """A member of the panel that judges, and only chats, does not put its chat in the place of its answer."""
    chats = ScriptedProvider("a", lambda call: Reply("one" if call.task != JUDGING else "they are all lovely"))
    other = ScriptedProvider("b", Reply("two"))

    decision = await decide(made(*a_panel(chats)), chats, other, weights=(2.0, 1.0))

    assert (decision.winner, decision.reading.content) == ("a", "one")
    assert [a.why for a in decision.attempts] == ["candidate", "candidate", "judge", "judge"]


async def test_a_lost_quorum_is_degraded_and_names_the_missing() -> None:
    """One candidate of three is no choice, whoever is right."""
    broken = [ScriptedProvider(name, Reply.failing(Failed(name, "500"))) for name in ("b", "c")]

    decision = await decide(made(), ScriptedProvider("a", Reply("one")), *broken)

    assert (decision.degraded, decision.missing) == (True, ("b", "c"))
    assert "2 of 3" in decision.degraded_reason


async def test_a_hanging_candidate_does_not_eat_the_judges_time() -> None:
    """Candidates have their share of the deadline; the judge still gets its own."""
    judge = ScriptedProvider("judge", picks_right())
    call = a_call()
    panel = a_panel(
        ScriptedProvider("a", Reply("wrong")),
        ScriptedProvider("b", Reply("right")),
        ScriptedProvider("c", Reply.hanging()),
    )

    decision = await made(member(judge), time=0.7).run(
        msgspec.structs.replace(call, deadline=call.began + 3), panel, RecordingObserver().on
    )

    assert decision.winner == "b"
    [verdict] = [attempt for attempt in decision.attempts if attempt.why == "judge"]
    assert verdict.started == pytest.approx(3 - 0.7 - 0.02, abs=0.01)
    assert decision.attempts[2].outcome == "cancelled"


async def test_without_a_valid_candidate_there_is_nothing_to_judge() -> None:
    """Every candidate failed: the error names them."""
    judge = ScriptedProvider("judge", picks_right())

    with pytest.raises(AllProvidersFailed) as caught:
        await decide(made(member(judge)), ScriptedProvider("a", Reply.failing(Failed("a", "boom"))))

    assert [attempt.provider for attempt in caught.value.attempts] == ["a"]


async def test_a_panel_of_judges_is_heard_together() -> None:
    """Two judges against one: the majority of equal words wins."""
    good = [ScriptedProvider(name, picks_right()) for name in ("j1", "j2")]
    contrary = ScriptedProvider(
        "j3", lambda call: Reply("B" if letters(call)[0] == "A" else "A", ttft=0.1, duration=0.1)
    )

    decision = await decide(
        made(*map(member, (*good, contrary))),
        ScriptedProvider("a", Reply("wrong")),
        ScriptedProvider("b", Reply("right")),
    )

    assert decision.winner == "b"
    assert decision.judge is not None
    assert set(decision.judge) == {"j1", "j2", "j3"}


def test_the_candidates_time_ends_where_the_judges_begins() -> None:
    """The judge's own time bounds its share of a long deadline; 30 percent of a short one is all it gets."""
    limits = JudgeLimits(share=0.7, time=0.7)

    assert candidates_until(0.0, 60.0, limits) == pytest.approx(59.28)
    assert candidates_until(0.0, 1.0, limits) == pytest.approx(0.68)


def test_a_judge_that_wrote_no_candidate_goes_first() -> None:
    """Nobody judges in its own case while a neutral judge is there."""
    own, neutral = (member(ScriptedProvider(name, Reply(""))) for name in ("own", "neutral"))

    assert select_judges([own, neutral], [], {"own"}) == (neutral,)
    assert select_judges([own], [], {"own"}) == (own,)


def test_a_loaded_model_stands_in_for_a_judge_that_must_be_loaded() -> None:
    """On one machine a load would cost more than the verdict is worth."""
    cold = member(ScriptedProvider("cold", Reply("")), load_time=5.0, group="desk")
    warm = member(ScriptedProvider("warm", Reply("")), group="desk")
    elsewhere = member(ScriptedProvider("elsewhere", Reply("")), group="shed")

    assert select_judges([cold], [warm], {"warm"}) == (warm,)
    assert select_judges([cold], [elsewhere], set()) == (cold,)


async def test_a_judge_is_shown_what_its_context_is_known_to_hold() -> None:
    """Nothing is configured, and its server says that it is a small one."""
    long = " ".join(f"right{at}" for at in range(800))
    authors = [ScriptedProvider("a", Reply(long)), ScriptedProvider("b", Reply("wrong"))]

    async def small(judge: Member) -> Member:
        return msgspec.structs.replace(judge, context=900)

    judge = member(ScriptedProvider("judge", picks_right()))

    notes = [(await decide(each, *authors)).notes for each in (made(judge), made(judge, learned=small))]

    assert any("to fit its context" in note for note in notes[1])
    assert not any("to fit its context" in note for note in notes[0])

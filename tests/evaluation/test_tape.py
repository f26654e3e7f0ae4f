"""What was recorded is said again: the same words, in the same time, under letters that may have moved."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.core.errors import Failed, ProviderError, TimedOut, Unreachable
from llm_pool.core.messages import Delta, TokenLogprob
from llm_pool.evaluation.answers import Answers, Failure, RecordedAnswer, RecordedVerdict
from llm_pool.evaluation.tape import Heard, RecordingProvider, ReplayedProvider, in_letters, moved
from llm_pool.tasks import JUDGING
from llm_pool.testing import Reply, ScriptedProvider, a_call

pytestmark = pytest.mark.anyio


async def said(provider: object, call: object) -> list[Delta]:
    async with aclosing(provider.stream(call)) as deltas:  # type: ignore[attr-defined]
        return [delta async for delta in deltas]


def recorded(**more: object) -> Answers:
    answers = Answers()
    answers.add(RecordedAnswer(question="q", provider="phi3", model="m", asked="", **more))  # type: ignore[arg-type]
    return answers


async def test_a_backend_is_heard_without_being_changed() -> None:
    heard: dict[str, Heard] = {}
    bare = ScriptedProvider("phi3", Reply("a b c d", ttft=0.5, duration=2.0, tokens=4))
    provider = RecordingProvider(bare, heard.__setitem__)

    deltas = await said(provider, a_call())

    assert "".join(delta.text for delta in deltas) == heard["phi3"].text == "a b c d"
    assert (heard["phi3"].ttft, heard["phi3"].duration, heard["phi3"].is_whole) == (0.5, 2.0, True)
    assert heard["phi3"].usage.completion_tokens == 4


async def test_an_error_is_heard_and_rises() -> None:
    heard: dict[str, Heard] = {}
    bare = ScriptedProvider("phi3", Reply.failing(Unreachable("phi3", "gone"), after=0.2))

    with pytest.raises(Unreachable):
        await said(RecordingProvider(bare, heard.__setitem__), a_call())

    assert not heard["phi3"].is_whole
    assert isinstance(heard["phi3"].error, Unreachable)


async def test_an_answer_takes_the_time_it_took() -> None:
    answers = recorded(text="x" * 100, ttft=0.5, duration=3.0, completion_tokens=25, finish="length")
    provider = ReplayedProvider("phi3", "m", answers, {})
    began = asyncio.get_running_loop().time()

    deltas = await said(provider, a_call(request_id="1:q"))

    assert asyncio.get_running_loop().time() - began == pytest.approx(3.0)
    assert "".join(delta.text for delta in deltas) == "x" * 100
    assert (deltas[-1].final, deltas[-1].finish, deltas[-1].usage.completion_tokens) == (True, "length", 25)


@pytest.mark.parametrize(("kind", "error"), [("timed_out", TimedOut), ("unreachable", Unreachable), ("new", Failed)])
async def test_a_failure_fails_again(kind: str, error: type[ProviderError]) -> None:
    provider = ReplayedProvider("phi3", "m", recorded(duration=1.0, failure=Failure(kind, "so it was")), {})

    with pytest.raises(error, match="so it was"):
        await said(provider, a_call(request_id="1:q"))


async def test_what_was_not_recorded_is_not_invented() -> None:
    with pytest.raises(Failed, match="no answer"):
        await said(ReplayedProvider("phi3", "m", Answers(), {}), a_call(request_id="1:q"))


def judging(*texts: str, number: int = 1) -> object:
    shown = [{"id": letter, "text": text} for letter, text in zip("ABCD", texts, strict=False)]
    return a_call(request_id=f"{number}:q", task=JUDGING, input={"question": "?", "candidates": shown})


async def test_a_verdict_follows_its_candidate_to_another_letter() -> None:
    answers = Answers()
    answers.add(RecordedVerdict(question="q", judge="g", asked="", candidates=("blue", "red"), text="A"))
    provider = ReplayedProvider("g", "m", answers, {})

    straight = await said(provider, judging("blue", "red", number=1))
    turned = await said(provider, judging("red", "blue", number=2))

    assert (straight[0].text, turned[0].text) == ("A", "B")


async def test_another_speaker_of_the_same_answer_is_known() -> None:
    answers = Answers()
    answers.add(RecordedVerdict(question="q", judge="g", asked="", candidates=("42", "7"), text="B"))
    provider = ReplayedProvider("g", "m", answers, {"q": {"42": 0, "42.0": 0, "7": 1}})

    [delta, _] = await said(provider, judging("7", "42.0"))

    assert delta.text == "A"


async def test_a_verdict_on_other_candidates_is_none() -> None:
    answers = Answers()
    answers.add(RecordedVerdict(question="q", judge="g", asked="", candidates=("42", "7"), text="B"))

    with pytest.raises(Failed, match="no verdict"):
        await said(ReplayedProvider("g", "m", answers, {}), judging("7", "8"))


@given(st.permutations(["a", "b", "c", "d"]))
def test_every_order_of_the_same_candidates_is_followed(now: list[str]) -> None:
    then = ["a", "b", "c", "d"]

    places = moved(then, now, {})

    assert places is not None
    assert [now[place] for place in places] == then


@given(st.permutations([0, 1, 2]), st.sampled_from("ABC"), st.booleans())
def test_letters_in_text_schema_and_logprobs_move_alike(places: list[int], letter: str, in_schema: bool) -> None:
    new = "ABC"[places["ABC".index(letter)]]
    verdict = RecordedVerdict(
        question="q",
        judge="g",
        asked="",
        candidates=("x", "y", "z"),
        text=json.dumps({"best": letter}) if in_schema else letter,
        logprobs=(TokenLogprob(f" {letter}", -0.1, ((f" {letter}", -0.1), ("?", -3.0))),),
        in_schema=in_schema,
    )

    text, logprobs = in_letters(verdict, places)

    assert text == (json.dumps({"best": new}) if in_schema else new)
    assert logprobs[0].top == ((f" {new}", -0.1), ("?", -3.0))

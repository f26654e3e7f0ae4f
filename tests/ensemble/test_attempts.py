"""What a Gathering promises about the attempts of one request."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.core.errors import BreakerOpen, Failed, TimedOut
from llm_pool.core.events import AttemptEnded, AttemptStarted, ModelLoading, ReasoningArrived, TextArrived
from llm_pool.core.messages import Delta
from llm_pool.ensemble import attempts
from llm_pool.ensemble.attempts import AttemptGroup
from llm_pool.reading import MAX_AT_ONCE, read
from llm_pool.testing import FakeProvider, RecordingObserver, Reply, ScriptedProvider, a_call, a_panel, scripted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from llm_pool.core.messages import Attempt, Call

if TYPE_CHECKING:
    from llm_pool.core.messages import Reading

pytestmark = pytest.mark.anyio


async def test_attempts_arrive_in_the_order_they_end() -> None:
    """The quick one arrives first, though it was started last."""
    slow, fast = ScriptedProvider("slow", Reply("a", duration=2)), ScriptedProvider("fast", Reply("b", duration=1))

    async with AttemptGroup(RecordingObserver().on) as attempt_group:
        for member in a_panel(slow, fast):
            attempt_group.start(member, a_call(), why="vote")
        arrived = [attempt.provider async for attempt in attempt_group.as_completed()]

    assert arrived == ["fast", "slow"]
    assert [attempt.provider for attempt in attempt_group.attempts] == ["slow", "fast"]


async def test_an_attempt_tells_its_times_from_the_requests_beginning() -> None:
    """Started, first token and duration are told in seconds."""
    provider = ScriptedProvider("p", Reply("one two three", ttft=0.25, duration=1.0, tokens=3))
    call = a_call()

    await asyncio.sleep(0.5)
    async with AttemptGroup(RecordingObserver().on) as attempt_group:
        attempt_group.start(a_panel(provider)[0], call, why="hedge")
        attempt = await attempt_group.next()

    assert attempt is not None
    assert (attempt.outcome, attempt.why) == ("ok", "hedge")
    assert attempt.started == pytest.approx(0.5)
    assert attempt.ttft == pytest.approx(0.25)
    assert attempt.duration == pytest.approx(1.0)
    assert attempt.usage.completion_tokens == 3
    assert attempt.reading is not None
    assert attempt.reading.content == "one two three"


async def test_leaving_cancels_what_still_runs_and_waits_for_its_end() -> None:
    """The loser's stream is closed when the block is left, and it is told as cancelled."""
    hanging, seen = ScriptedProvider("hanging", Reply.hanging()), RecordingObserver()

    async with AttemptGroup(seen.on) as attempt_group:
        attempt_group.start(a_panel(hanging)[0], a_call(), why="primary")
        await asyncio.sleep(1)

    assert hanging.cancelled == 1
    assert hanging.in_flight == 0
    assert [attempt.outcome for attempt in attempt_group.attempts] == ["cancelled"]
    assert [event.attempt.outcome for event in seen.of(AttemptEnded)] == ["cancelled"]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Failed("p", "broke"), "failed"),
        (TimedOut("p", "late"), "timed_out"),
        (BreakerOpen("p", "open", retry_after=3.0), "refused"),
    ],
)
async def test_a_failure_is_a_value(error: Failed, outcome: str) -> None:
    """No exception leaves the Gathering; the attempt carries its sentence, kind and time to come back."""
    provider = ScriptedProvider("p", Reply.failing(error))

    async with AttemptGroup(RecordingObserver().on) as attempt_group:
        attempt_group.start(a_panel(provider)[0], a_call(), why="primary")
        attempt = await attempt_group.next()

    assert attempt is not None
    assert (attempt.outcome, attempt.error, attempt.error_kind) == (outcome, error.reason, error.kind)
    assert attempt.retry_after == error.retry_after


async def test_an_answer_that_fails_its_schema_is_invalid() -> None:
    """The text came, but it is not what was asked for."""
    provider = ScriptedProvider("p", Reply('{"colour": 7}', tokens=5))
    schema = {"type": "object", "properties": {"colour": {"enum": ["red"]}}, "required": ["colour"]}

    async with AttemptGroup(RecordingObserver().on) as attempt_group:
        attempt_group.start(a_panel(provider)[0], a_call(schema=schema), why="vote")
        attempt = await attempt_group.next()

    assert attempt is not None
    assert (attempt.outcome, attempt.error_kind) == ("invalid", "bad_reply")
    assert "colour" in attempt.error
    assert attempt.usage.completion_tokens == 5


@pytest.mark.parametrize("text", ["", "___", "(", "```json", "<think>so it is", "<think>red or blue?</think>"])
async def test_a_blank_is_invalid(text: str) -> None:
    """Also where any text would do: it is no vote, and a race goes on."""
    async with AttemptGroup(RecordingObserver().on) as attempt_group:
        attempt_group.start(a_panel(ScriptedProvider("p", Reply(text)))[0], a_call(), why="primary")
        attempt = await attempt_group.next()

    assert attempt is not None
    assert (attempt.outcome, attempt.reading) == ("invalid", None)


@pytest.mark.real_loop
async def test_a_long_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read beside the event loop: the loop turns while the reading waits for it to."""
    turned = threading.Event()

    def reading(text: str, **how: Any) -> Reading:
        assert turned.wait(timeout=10)
        return read(text, **how)

    monkeypatch.setattr(attempts, "read", reading)
    provider = ScriptedProvider("p", Reply("word " * MAX_AT_ONCE, duration=0.0, tokens=1))

    async with AttemptGroup(RecordingObserver().on) as attempt_group:
        attempt_group.start(a_panel(provider)[0], a_call(), why="primary")
        asyncio.get_running_loop().call_later(0.2, turned.set)
        attempt = await attempt_group.next()

    assert attempt is not None
    assert attempt.outcome == "ok"


async def test_waiting_ends_at_the_instant_given() -> None:
    """``next(until)`` gives None in time, and the attempt goes on."""
    provider = ScriptedProvider("p", Reply("late", duration=5))
    call = a_call()

    async with AttemptGroup(RecordingObserver().on) as attempt_group:
        attempt_group.start(a_panel(provider)[0], call, why="primary")
        nothing = await attempt_group.next(until=call.began + 1)
        attempt = await attempt_group.next()

    assert nothing is None
    assert attempt is not None
    assert attempt.outcome == "ok"


async def test_waiting_ends_when_the_last_one_was_cancelled() -> None:
    """A cancelled attempt never arrives; with nobody left to run, waiting is over."""
    provider, calls = scripted("p")

    async with AttemptGroup(RecordingObserver().on) as attempt_group:
        attempt_group.start(a_panel(provider)[0], a_call(), why="primary")
        received = await calls.next()
        attempt_group.cancel_all_but("somebody else")
        attempt = await attempt_group.next()

    assert attempt is None
    assert received.cancelled.done()


async def test_an_answer_without_end_fails_before_it_fills_the_memory() -> None:
    """S11: a hostile backend is cut off, and its stream closed."""
    provider, calls = scripted("p")

    async with AttemptGroup(RecordingObserver().on) as attempt_group:
        attempt_group.start(a_panel(provider)[0], a_call(), why="primary")
        received = await calls.next()
        for _ in range(12):
            received.delta("x" * 100_000)
        attempt = await attempt_group.next()

    assert attempt is not None
    assert (attempt.outcome, attempt.error_kind) == ("failed", "failed")
    assert "longer than" in attempt.error
    assert received.cancelled.done()


async def test_a_bug_in_a_provider_is_not_swallowed() -> None:
    """Only ProviderErrors are values: anything else rises."""

    def broken(_: object) -> Reply:
        raise ZeroDivisionError

    async with AttemptGroup(RecordingObserver().on) as attempt_group:
        attempt_group.start(a_panel(ScriptedProvider("p", broken))[0], a_call(), why="primary")
        with pytest.raises(ZeroDivisionError):
            await attempt_group.next()


async def test_events_tell_the_story_in_order() -> None:
    """Started, loading (for a model that is not), text, ended."""
    seen = RecordingObserver()
    member = msgspec.structs.replace(a_panel(ScriptedProvider("p", Reply("hi")))[0], load_time=5.0)

    async with AttemptGroup(seen.on) as attempt_group:
        attempt_group.start(member, a_call(), why="primary")
        await attempt_group.next()

    assert [type(event) for event in seen.events] == [AttemptStarted, ModelLoading, TextArrived, AttemptEnded]


# Models that think


async def asked(provider: FakeProvider, seen: RecordingObserver, **call: Any) -> Attempt:
    async with AttemptGroup(seen.on) as attempt_group:
        attempt_group.start(a_panel(provider)[0], a_call(**call), why="primary")
        attempt = await attempt_group.next()
    assert attempt is not None
    return attempt


async def said(*deltas: Delta, seen: RecordingObserver | None = None, **call: Any) -> Attempt:
    """The attempt on which these came."""
    return await asked(Deltas(*deltas), seen or RecordingObserver(), **call)


class Deltas(FakeProvider):
    """Says what it is given, a second apart."""

    def __init__(self, *deltas: Delta) -> None:
        super().__init__("p", "m")
        self._deltas = deltas

    async def _generate(self, call: Call) -> AsyncGenerator[Delta, None]:
        for delta in self._deltas:
            await asyncio.sleep(1)
            yield delta


async def test_reasoning_is_carried_beside_the_answer_and_told_by_an_event_of_its_own() -> None:
    seen = RecordingObserver()

    attempt = await said(
        Delta(reasoning="let me "), Delta(reasoning="see"), Delta("Yes."), Delta(final=True), seen=seen
    )

    assert attempt.reading is not None
    assert (attempt.reading.content, attempt.reasoning, attempt.finish) == ("Yes.", "let me see", "stop")
    assert [event.text for event in seen.of(ReasoningArrived)] == ["let me ", "see"]
    assert [event.text for event in seen.of(TextArrived)] == ["Yes."]


async def test_the_first_thought_is_the_first_token() -> None:
    """A sign of life: a model that thinks for a minute has not been silent for one."""
    attempt = await said(Delta(reasoning="hm"), Delta("Yes."), Delta(final=True))

    assert attempt.ttft == pytest.approx(1.0)


async def test_text_that_turns_out_to_be_reasoning_is_taken_back() -> None:
    attempt = await said(Delta("Let me see. "), Delta("Yes.", retracted=True), Delta(final=True))

    assert attempt.reading is not None
    assert (attempt.reading.content, attempt.reasoning) == ("Yes.", "Let me see.")


@pytest.mark.parametrize(
    ("finish", "words"),
    [
        ("length", "reasoning took all its tokens, 100 at most"),
        ("stop", "it reasoned and said nothing"),
        ("repetition", "it repeated itself while it reasoned"),
    ],
)
async def test_an_answer_that_thinking_ate_says_so_and_names_the_key(finish: Any, words: str) -> None:
    attempt = await said(Delta(reasoning="hm"), Delta(" \n"), Delta(final=True, finish=finish))

    assert (attempt.outcome, attempt.error_kind) == ("invalid", "bad_reply")
    assert words in attempt.error
    assert attempt.hint == "set think = false in the section of provider p, or a larger max_tokens"


async def test_an_answer_without_a_limit_blames_none() -> None:
    attempt = await said(Delta(reasoning="hm"), Delta(final=True, finish="length"), max_tokens=None)

    assert attempt.error.endswith("reasoning took all its tokens")


@given(st.lists(st.text(max_size=40), max_size=20), st.integers(1, 200))
def test_reasoning_is_kept_up_to_a_number_of_bytes(pieces: list[str], most: int) -> None:
    """The beginning of it, never half a character."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attempts, "MAX_REASONING", most)
        reasoning = attempts._Reasoning()
        for piece in pieces:
            reasoning.add(piece)

    whole = "".join(pieces).encode("utf-8", "replace").decode()
    kept = reasoning.text.removesuffix("…")
    assert whole.strip().startswith(kept.strip())
    assert len(kept.encode()) <= most
    assert kept == whole.strip() or reasoning.text.endswith("…")


async def test_an_attempt_that_never_ended_has_no_finish() -> None:
    attempt = await asked(ScriptedProvider("p", Reply.failing(Failed("p", "broke"))), RecordingObserver())

    assert attempt.finish is None

"""
Two bare providers for the pool's own composition: one keeps what a backend says, the other says it again.

They stand where a backend stands, inside every policy: what is kept has no wait of ours in it, and what is said again
goes through the same hedges, queues and limits as the first time. ``request_id`` is ``NUMBER:QUESTION``, so that each
request is its own and its question is known.
"""

from __future__ import annotations

import asyncio
import json
import math
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import msgspec

from llm_pool.core.errors import (
    BadReply,
    Busy,
    Failed,
    Loading,
    ProviderError,
    Rejected,
    TimedOut,
    Unreachable,
    UnsupportedTask,
)
from llm_pool.core.messages import Delta, ProviderState, Usage
from llm_pool.ensemble.verdict import LETTERS, chosen_letter
from llm_pool.qos.policy import Policy
from llm_pool.tasks import JUDGING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from llm_pool.core.interfaces import Provider
    from llm_pool.core.messages import Call, FinishReason, Json, Reading, TokenLogprob
    from llm_pool.evaluation.answers import Answers, Failure, RecordedAnswer, RecordedVerdict

MAX_REASONING: Final = 2000
"""Characters of what a model thought that are kept."""
PIECES: Final = 32
"""Pieces in which an answer is said again at most, evenly over its time."""


class Heard(msgspec.Struct, kw_only=True):
    """What a backend has said to one call so far; *is_whole* once it came to its end."""

    call: Call
    text: str = ""
    reasoning: str = ""
    ttft: float | None = None
    duration: float = 0.0
    usage: Usage = Usage()
    finish: FinishReason = "stop"
    logprobs: tuple[TokenLogprob, ...] = ()
    error: ProviderError | None = None
    is_whole: bool = False


class RecordingProvider(Policy):
    """
    Passes on what *inner* says, and keeps it.

    Args:
        inner: a bare provider.
        hear: told when a call ends, however it ends.
    """

    def __init__(self, inner: Provider, hear: Callable[[str, Heard], None]) -> None:
        super().__init__(inner)
        self._hear = hear

    def __getattr__(self, name: str) -> Any:
        """What only some backends can do, such as to list what is loaded."""
        return getattr(self.inner, name)

    async def stream(self, call: Call) -> AsyncGenerator[Delta]:
        """Ask *inner*."""
        now = asyncio.get_running_loop().time
        heard, began, text = Heard(call=call), now(), list[str]()
        try:
            async with aclosing(self.inner.stream(call)) as deltas:
                async for delta in deltas:
                    if delta.has_token and heard.ttft is None:
                        heard.ttft = now() - began
                    _keep(heard, text, delta)
                    yield delta
        except ProviderError as error:
            heard.error = error
            raise
        finally:
            heard.text, heard.duration = "".join(text), now() - began
            self._hear(self.name, heard)


def _keep(heard: Heard, text: list[str], delta: Delta) -> None:
    if delta.retracted:
        heard.reasoning = (heard.reasoning + "".join(text))[:MAX_REASONING]
        text.clear()
        heard.logprobs = ()
    if len(heard.reasoning) < MAX_REASONING:
        heard.reasoning = (heard.reasoning + delta.reasoning)[:MAX_REASONING]
    text.append(delta.text)
    if len(heard.logprobs) == 0:
        heard.logprobs = delta.logprobs[:1]
    if delta.final:
        heard.usage, heard.finish, heard.is_whole = delta.usage, delta.finish, True


class ReplayedProvider:
    """
    Says again what was recorded of one provider, in the time it took.

    Args:
        name, model: as in the configuration.
        answers: what was recorded.
        same: which texts of candidates say the same, by question: their numbers are equal.
        hurry: answers take no time.
        judge: answers judges' questions in the place of what was recorded; None: nobody does.
    """

    def __init__(
        self,
        name: str,
        model: str,
        answers: Answers,
        same: Mapping[str, Mapping[str, int]],
        *,
        hurry: bool = False,
        judge: Provider | None = None,
    ) -> None:
        self.name, self.model = name, model
        self._answers, self._same, self._hurry, self._judge = answers, same, hurry, judge
        self._heard: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        """What the judge's backend can tell of its machine, where there is one."""
        judge = self.__dict__.get("_judge")
        if judge is None:
            raise AttributeError(name)
        return getattr(judge, name)

    async def stream(self, call: Call) -> AsyncGenerator[Delta]:
        """What was said to this question; raises Failed where nothing was recorded."""
        if call.task.name != JUDGING.name:
            said = self._answer(call)
        elif self._judge is not None:
            said = self._judge.stream(call)
        else:
            said = self._verdict(call)
        async with aclosing(said) as deltas:
            async for delta in deltas:
                yield delta

    async def state(self) -> ProviderState:
        """As healthy as a record can be, or as the judge's backend says."""
        if self._judge is not None:
            return await self._judge.state()
        return ProviderState(name=self.name, model=self.model, condition="healthy", loaded=(self.model,))

    async def load(self) -> None:
        """Nothing to load, unless a judge's backend has something."""
        if self._judge is not None:
            await self._judge.load()

    async def aclose(self) -> None:
        """Close the judge's backend, if there is one."""
        if self._judge is not None:
            await self._judge.aclose()

    async def _answer(self, call: Call) -> AsyncGenerator[Delta]:
        recorded = self._answers.of(question_id(call)).get(self.name)
        if recorded is None:
            raise Failed(self.name, "no answer of it to this question was recorded")
        for after, delta in _spoken(recorded):
            await asyncio.sleep(0.0 if self._hurry else after)
            yield delta
        if recorded.failure is not None:
            raise _error(self.name, recorded.failure)
        yield _end(recorded.prompt_tokens, recorded.completion_tokens, recorded.finish)

    async def _verdict(self, call: Call) -> AsyncGenerator[Delta]:
        question = question_id(call)
        given = [v for v in self._answers.verdicts.get(question, ()) if v.judge == self.name]
        place = self._heard.get(call.request_id, 0)
        self._heard[call.request_id] = place + 1
        letters = None
        if place < len(given):
            shown = tuple(candidate_text(one["text"]) for one in call.input["candidates"])
            letters = moved(given[place].candidates, shown, self._same.get(question, {}))
        if letters is None:
            raise Failed(self.name, "no verdict of it on these answers was recorded")
        verdict = given[place]
        await asyncio.sleep(verdict.duration)
        if verdict.failure is not None:
            raise _error(self.name, verdict.failure)
        text, logprobs = in_letters(verdict, letters)
        yield Delta(text, logprobs=logprobs)
        yield _end(None, verdict.completion_tokens, "stop")


def question_id(call: Call) -> str:
    """The question's id in a request's."""
    return call.request_id.partition(":")[2]


def candidate_text(candidate: Json) -> str:
    """A candidate as a judge is shown it: text, or JSON in one spelling."""
    return candidate if isinstance(candidate, str) else json.dumps(candidate, sort_keys=True, ensure_ascii=False)


def text_of(reading: Reading) -> str:
    """A reading as ``candidate_text`` has it."""
    return candidate_text(reading.content if reading.value is None else reading.value)


def moved(then: Sequence[str], now: Sequence[str], same: Mapping[str, int]) -> tuple[int, ...] | None:
    """
    Where each candidate that was shown *then* stands *now*.

    Args:
        then: candidates in the order of their letters, as they were.
        now: the same, as they are.
        same: texts that say the same have one number; another one of them may speak for all.

    Returns:
        Per letter of *then*, the place of its candidate *now*; None where they are not the same candidates.
    """
    names = [same.get(text, text) for text in now]
    places = [names.index(name) for text in then if (name := same.get(text, text)) in names]
    return tuple(places) if sorted(places) == list(range(len(now))) and len(then) == len(now) else None


def in_letters(verdict: RecordedVerdict, places: Sequence[int]) -> tuple[str, tuple[TokenLogprob, ...]]:
    """What *verdict* says where the candidate of its i-th letter stands under the *places[i]*-th now."""
    if list(places) == list(range(len(places))):
        return verdict.text, verdict.logprobs
    new = {LETTERS[i]: LETTERS[place] for i, place in enumerate(places)}
    logprobs = tuple(
        msgspec.structs.replace(
            one, token=_renamed(one.token, new), top=tuple((_renamed(token, new), p) for token, p in one.top)
        )
        for one in verdict.logprobs
    )
    chosen = chosen_letter(bare_letter(verdict), range(len(places)))
    if chosen is None:
        return verdict.text, logprobs
    letter = LETTERS[places[chosen.index(1.0)]]
    return (json.dumps({"best": letter}) if verdict.in_schema else letter), logprobs


def bare_letter(verdict: RecordedVerdict) -> str:
    """What *verdict* says where it was asked for a letter, or for JSON with one."""
    if not verdict.in_schema:
        return verdict.text
    try:
        said = json.loads(verdict.text)
    except (ValueError, RecursionError):
        return ""
    return str(said.get("best", "")) if isinstance(said, dict) else ""


def _renamed(token: str, new: Mapping[str, str]) -> str:
    letter = token.strip()
    return token.replace(letter, new[letter.upper()]) if letter.upper() in new else token


def _spoken(recorded: RecordedAnswer) -> list[tuple[float, Delta]]:
    """The pieces of an answer, each with the seconds before it."""
    first = recorded.duration if recorded.ttft is None else min(recorded.ttft, recorded.duration)
    size = max(1, math.ceil(len(recorded.text) / PIECES))
    pieces = [Delta(recorded.text[at : at + size]) for at in range(0, len(recorded.text), size)]
    if recorded.reasoning:
        pieces.insert(0, Delta(reasoning=recorded.reasoning))
    if not pieces:
        return [(recorded.duration, Delta())]
    gap = (recorded.duration - first) / len(pieces)
    waits = [first, *(gap for _ in pieces[1:])]
    return [*zip(waits, pieces, strict=True), (gap, Delta())]


def _end(prompt_tokens: int | None, completion_tokens: int | None, finish: str) -> Delta:
    reason: FinishReason = "length" if finish == "length" else "repetition" if finish == "repetition" else "stop"
    return Delta(final=True, finish=reason, usage=Usage(prompt_tokens, completion_tokens))


def _error(provider: str, failure: Failure) -> ProviderError:
    """The failure as it was raised; one of a kind that only we ourselves raise is the backend's."""
    return _KINDS.get(failure.kind, Failed)(provider, failure.reason)


_KINDS: Final[dict[str, type[ProviderError]]] = {
    kind.kind: kind for kind in (Unreachable, TimedOut, Rejected, UnsupportedTask, Busy, Loading, Failed, BadReply)
}

"""
Attempts: the one module that starts tasks for calls to providers.

An attempt's failure is a value (``Attempt.error``), so strategies read outcomes instead of catching. Whatever
still runs when a ``AttemptGroup`` is left is cancelled and awaited: no task outlives its request, and closing a
provider's stream is what makes its backend stop.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Self

from llm_pool.core.clock import loop_time
from llm_pool.core.errors import (
    BadReply,
    BreakerOpen,
    Failed,
    Loading,
    OutOfResources,
    ProviderError,
    QueueFull,
    TimedOut,
    UnsupportedTools,
)
from llm_pool.core.events import (
    AttemptEnded,
    AttemptStarted,
    ModelLoading,
    ReasoningArrived,
    TextArrived,
    ToolCallArrived,
)
from llm_pool.core.messages import Attempt, Reading, ToolCall, Usage
from llm_pool.qos.queue_time import QueueTime
from llm_pool.qos.silence import Silence
from llm_pool.reading import MAX_AT_ONCE, MAX_LENGTH, Unreadable, read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from llm_pool.core.events import Event
    from llm_pool.core.interfaces import Emit, Member
    from llm_pool.core.messages import Call, Delta, FinishReason, Outcome, TokenLogprob, ToolCallDelta, Vector

MAX_REASONING = 64 * 1024
"""Bytes of an attempt's reasoning that are kept; of a longer one the beginning."""
DECISION_MARGIN = 0.02
"""Seconds kept at the end of a deadline to decide on what has arrived: a late decision is none."""
JUDGED = "judge"
"""Why a judge is asked: its word is about the answers, and is none itself."""


class AttemptGroup:
    """
    The attempts of one request, as they run and end.

    ::

        async with Gathering(emit) as gathering:
            gathering.start(member, call, why="vote")
            async for attempt in gathering.arrivals():
                ...                                   # leaving the block cancels and awaits the rest
        gathering.attempts                            # all of them, in the order they were started

    Args:
        emit: told when an attempt starts, writes and ends.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._running: dict[asyncio.Task[None], _RunningAttempt] = {}
        self._in_order: list[_RunningAttempt] = []
        self._ended: deque[tuple[asyncio.Task[None], _RunningAttempt]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Every attempt that has ended, in the order they were started."""
        return tuple(
            running_attempt.attempt for running_attempt in self._in_order if running_attempt.attempt is not None
        )

    @property
    def running(self) -> tuple[str, ...]:
        """Names of the providers that are being asked now."""
        return tuple(running_attempt.member.name for running_attempt in self._running.values())

    @property
    def silences(self) -> dict[str, Silence]:
        """What is heard of each provider that is being asked now."""
        return {each.member.name: each.silence for each in self._running.values()}

    def start(self, member: Member, call: Call, *, why: str) -> None:
        """Ask *member*; *why* is kept in the attempt."""
        running_attempt = _RunningAttempt(member, call, why, self._emit)
        self._in_order.append(running_attempt)
        task = asyncio.create_task(running_attempt.run(), name=f"{why}:{member.name}")
        self._running[task] = running_attempt
        task.add_done_callback(self._end)

    def cancel_all_but(self, provider: str) -> None:
        """Cancel every running attempt except *provider*'s."""
        for task, running_attempt in self._running.items():
            if running_attempt.member.name != provider:
                task.cancel()

    async def next(self, until: float | None = None) -> Attempt | None:
        """
        Give the next attempt to end by itself.

        Args:
            until: instant to stop waiting at; None waits as long as one runs.

        Returns:
            None when nothing runs any more, or at *until*.
        """
        while self._running or self._ended:
            if not self._ended and not await self._one_ends(until):
                return None
            task, running_attempt = self._ended.popleft()
            if not task.cancelled():
                task.result()  # an exception here is a bug of ours or of a provider: let it rise
                return running_attempt.attempt
        return None

    async def _one_ends(self, until: float | None) -> bool:
        """Wait until an attempt has ended, or *until*; whether one has."""
        waiter = self._waiter = self._loop.create_future()
        timer = None if until is None or math.isinf(until) else self._loop.call_at(until, _wake, waiter)
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()
        return bool(self._ended)

    async def run_alone(self, member: Member, call: Call, *, why: str) -> Attempt:
        """Ask *member* and nobody beside it, within the caller's own task; as ``start`` and ``next``."""
        running_attempt = _RunningAttempt(member, call, why, self._emit)
        self._in_order.append(running_attempt)
        await running_attempt.run()
        assert running_attempt.attempt is not None
        return running_attempt.attempt

    async def as_completed(self, until: float | None = None) -> AsyncIterator[Attempt]:
        """Give attempts as they end by themselves, until none runs or *until* (an instant) passes."""
        while (attempt := await self.next(until)) is not None:
            yield attempt

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)
        for running_attempt in self._in_order:
            running_attempt.leave()
        self._emit = _tell_nobody

    def _end(self, task: asyncio.Task[None]) -> None:
        self._ended.append((task, self._running.pop(task)))
        if self._waiter is not None:
            _wake(self._waiter)


class _RunningAttempt:
    """One call to one provider while it runs; ``attempt`` is set once it has ended, cancelled or not."""

    def __init__(self, member: Member, call: Call, why: str, emit: Emit) -> None:
        self.member = member
        self.attempt: Attempt | None = None
        self._call, self._why, self._emit = call, why, emit
        self._now = loop_time()
        self._started = self._now()
        self.silence = Silence(self._started, call.deadline, call.idle)
        self._text: list[str] = []
        self._length = 0
        self._reasoning = _Reasoning()
        self._calls: list[_WrittenCall] = []
        self._logprobs: list[TokenLogprob] = []
        self._vectors: list[Vector] = []
        self._last: Delta | None = None
        self._ttft: float | None = None

    def leave(self) -> None:
        """Tell nobody any more: who was told knows this attempt, and both would wait for the garbage collector."""
        self._emit = _tell_nobody

    async def run(self) -> None:
        """Ask, read the answer, and tell how it went; only cancellation leaves as an exception."""
        request, name, model = self._call.request_id, self.member.name, self.member.model
        self._emit(AttemptStarted(request, name, model, self._why, self._started - self._call.began))
        if not self.member.loaded:
            self._emit(ModelLoading(request, name, model))
        self._queue_time = QueueTime(self._now)
        try:
            with self._queue_time:
                await self._gather()
            self._end("ok", reading=await self._read())
        except ProviderError as error:
            self._end(_outcome(error), error=error)
        except asyncio.CancelledError:
            self._end("cancelled")
            raise

    async def _gather(self) -> None:
        request, name, hear = self._call.request_id, self.member.name, self.silence.hear
        async with aclosing(self.member.provider.stream(self._call)) as stream:
            async for delta in stream:
                now = self._now()
                hear(now)
                if self._ttft is None and delta.has_token:
                    self._ttft = now - self._started
                if delta.retracted:
                    self._retract()
                if delta.reasoning:
                    self._reasoning.add(delta.reasoning)
                    self._emit(ReasoningArrived(request, name, delta.reasoning))
                if delta.text:
                    self._keep(delta.text)
                    self._emit(TextArrived(request, name, delta.text))
                for piece in delta.tool_calls:
                    self._keep_call(piece)
                    self._emit(ToolCallArrived(request, name, piece))
                self._logprobs += delta.logprobs
                self._vectors += delta.vectors
                if delta.final:
                    self._last = delta

    def _retract(self) -> None:
        """What was taken for text was reasoning."""
        self._reasoning.add("".join(self._text))
        self._text, self._length, self._logprobs = [], 0, []

    def _keep(self, text: str) -> None:
        """Keep a piece of the answer; a backend that never stops writing fails before it fills the memory."""
        self._text.append(text)
        self._lengthen(len(text))

    def _keep_call(self, piece: ToolCallDelta) -> None:
        """Keep a piece of a call, bounded likewise."""
        if piece.index == len(self._calls):
            self._calls.append(_WrittenCall(piece.id, piece.name))
        self._calls[piece.index].arguments.append(piece.arguments)
        self._lengthen(len(piece.arguments))

    def _lengthen(self, characters: int) -> None:
        self._length += characters
        if self._length > MAX_LENGTH:
            raise Failed(self.member.name, f"its answer is longer than {MAX_LENGTH} characters")

    @property
    def _finish(self) -> FinishReason | None:
        """Why the answer ends; None: it has no end."""
        return None if self._last is None else self._last.finish

    async def _read(self) -> Reading:
        if self._vectors:
            return Reading("", tuple(self._vectors))
        call, text = self._call, "".join(self._text)
        finish = self._finish or "stop"
        if self._calls:
            return await self._read_calls(finish)
        if call.tools and call.tool_choice != "auto":
            raise BadReply(self.member.name, "it answers in text, where a call of a tool was asked for")
        if self._reasoning and not text.strip():
            raise self._only_thought(finish)
        reading = partial(
            read,
            text,
            schema=call.schema,
            kind=call.task.kind,
            field=call.task.field,
            ids=call.ids,
            finish="stop" if finish == "stop" else "length",
        )
        try:
            return reading() if self._length <= MAX_AT_ONCE else await asyncio.to_thread(reading)
        except Unreadable as error:
            raise BadReply(self.member.name, str(error)) from error

    async def _read_calls(self, finish: FinishReason) -> Reading:
        """The calls, if all of them are whole and may be made."""
        from llm_pool.reading.tool_calls import check_calls

        if finish != "tool_calls":
            raise BadReply(self.member.name, "its calls of tools break off: the token limit cut them")
        call, calls = self._call, tuple(written.whole() for written in self._calls)
        check = partial(check_calls, calls, call.tools, choice=call.tool_choice, parallel=call.parallel_tool_calls)
        try:
            check() if self._length <= MAX_AT_ONCE else await asyncio.to_thread(check)
        except Unreadable as error:
            raise BadReply(self.member.name, str(error)) from error
        return Reading("".join(self._text).strip(), None, tool_calls=calls)

    def _only_thought(self, finish: FinishReason) -> BadReply:
        limit = self._call.max_tokens
        said = {
            "stop": "its answer is empty: it reasoned and said nothing",
            "length": "its answer is empty: reasoning took all its tokens" + (f", {limit} at most" if limit else ""),
            "repetition": "its answer is empty: it repeated itself while it reasoned",
            "tool_calls": "its answer is empty: it says that it calls a tool, and calls none",
        }
        name = self.member.name
        hint = f"set think = false in the section of provider {name}, or a larger max_tokens"
        return BadReply(name, said[finish], hint=hint)

    def _end(self, outcome: Outcome, *, reading: Reading | None = None, error: ProviderError | None = None) -> None:
        self.attempt = Attempt(
            provider=self.member.name,
            model=self.member.model,
            outcome=outcome,
            started=self._started - self._call.began,
            duration=self._now() - self._started,
            why=self._why,
            ttft=self._ttft,
            usage=Usage() if self._last is None else self._last.usage,
            finish=self._finish,
            reading=reading,
            reasoning=self._reasoning.text,
            logprobs=tuple(self._logprobs),
            error="" if error is None else str(error),
            error_kind="" if error is None else error.kind,
            hint="" if error is None else error.hint,
            cut=self._cut(outcome),
            note="" if self._last is None else self._last.note,
            retry_after=None if error is None else error.retry_after,
            queued=self._queue_time.total,
        )
        self._emit(AttemptEnded(self._call.request_id, self._call.task.name, self.attempt, self._call.tenant_id))

    def _cut(self, outcome: Outcome) -> str:
        """What was written up to where tokens or time ended, if that is more than nothing and the asker may have it."""
        tokens = outcome == "invalid" and self._call.takes_cut and self._finish == "length"
        time = outcome in {"timed_out", "cancelled"} and self._call.stream and self._call.schema is None
        return "".join(self._text).strip() if (tokens or time) and not self._calls else ""


class _WrittenCall:
    """A call as far as it is written."""

    def __init__(self, call_id: str, name: str) -> None:
        self._id, self._name = call_id, name
        self.arguments: list[str] = []

    def whole(self) -> ToolCall:
        """The call, of which no more will come."""
        return ToolCall(self._id, self._name, "".join(self.arguments))


class _Reasoning:
    """What a model thought, up to MAX_REASONING bytes; true where it thought at all."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._left, self._is_cut = MAX_REASONING, False

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def add(self, text: str) -> None:
        """Take in the next piece, as far as there is room for it."""
        if self._is_cut or not text:
            return
        written = text.encode("utf-8", "replace")
        kept = written[: self._left]
        self._left -= len(kept)
        self._is_cut = len(kept) < len(written)
        self._pieces.append(kept.decode("utf-8", "ignore") + ("…" if self._is_cut else ""))

    @property
    def text(self) -> str:
        """What was kept."""
        return "".join(self._pieces).strip()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _tell_nobody(_event: Event) -> None:
    """It is over."""


def _outcome(error: ProviderError) -> Outcome:
    match error:
        case BadReply():
            return "invalid"
        case TimedOut() | Loading():
            return "timed_out"
        case BreakerOpen() | QueueFull() | OutOfResources() | UnsupportedTools():
            return "refused"
        case _:
            return "failed"

"""
An answer out of a response: the same rules for every API.

::

    response ─▶ records ─▶ chunks ─▶ reasoning split off ─▶ Deltas, the last one final
                framing    chunks    reading.reasoning

An answer needs a good end: a finish that says so, Ollama's ``done``, a completion sent as a whole, or ``[DONE]``.
After that nothing counts any more but the counts of tokens: not an error, not a closed socket, not heartbeats that
never end. An error in any shape, a bad finish or one that nobody knows, and an end that was not said are failures,
with the server's words.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from llm_pool.core.errors import BadReply, Failed, ProviderError, Rejected
from llm_pool.core.messages import Delta, Usage
from llm_pool.providers.chunks import Chunk, error_status
from llm_pool.providers.finishes import finish_of, is_bad, is_withheld
from llm_pool.providers.framing import DONE, Records
from llm_pool.providers.inline_reasoning import InlineReasoning, ReasoningHabit
from llm_pool.providers.json_values import WholeCharacters, parse
from llm_pool.providers.replies import error_for, error_text
from llm_pool.providers.tool_calls import ToolCallStream
from llm_pool.providers.transport import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from llm_pool.core.messages import FinishReason, TokenLogprob, ToolCallDelta
    from llm_pool.providers.framing import Record
    from llm_pool.providers.record_format import RecordFormat
    from llm_pool.providers.transport import Backend, Response
    from llm_pool.reading.reasoning import Piece

MAX_LENGTH: Final = 4_000_000
"""Characters of one stream, thought, said and called: a backend that never stops fails before it fills the memory."""
TAIL_TIMEOUT: Final = 0.25
"""Seconds that the counts of tokens may come after the end of an answer."""

_SIGNS_OF_LIFE: Final = frozenset({"ping", "heartbeat", "keepalive", "keep-alive", "keep_alive"})
GOOD_STATUSES: Final = frozenset({200, 201, 202, 203})


async def completion(
    backend: Backend,
    ask: Callable[[], AbstractAsyncContextManager[Response]],
    record_format: RecordFormat,
    *,
    habit: ReasoningHabit,
    trusts_unknown_finishes: bool = False,
    ends_by_itself: bool = False,
) -> AsyncGenerator[Delta]:
    """
    The answer to a question as it comes, in Deltas; the last one is final.

    Args:
        backend: who answers.
        ask: asks, and gives the response from its head on; it is read to its end, so that its connection may be used
            again.
        record_format: how its records are read.
        habit: where the model's texts begin, as far as is known; told where this one did.
        trusts_unknown_finishes: a word that nobody knows is a good end, where a person said that it is one.
        ends_by_itself: nothing says where the answer ends but the response, where it does.

    Raises:
        ProviderError: what *ask* raises; it answers with an error, or its answer has no good end.
    """
    async with ask() as response:
        if response.status not in GOOD_STATUSES:
            raise error_for(backend, await response.read())
        answer = _Answer(backend, record_format, habit, trusts_unknown_finishes=trusts_unknown_finishes)
        records = Records(backend, response)
        async for batch in records:
            delta = answer.take(batch)
            if delta.has_token or delta.logprobs or delta.retracted:
                yield delta
            if answer.has_end:
                break
        if not (ends_by_itself and response.delimited):
            answer.check_end()
        if not answer.is_complete:
            await _read_counts(answer, records)
        if answer.is_complete:
            await response.drain()
        yield answer.last()


async def _read_counts(answer: _Answer, records: Records) -> None:
    """What may come after the end: the counts; everything else is of no interest any more."""
    with suppress(TimeoutError, ProviderError):
        async with asyncio.timeout(TAIL_TIMEOUT):
            while not answer.is_complete and (batch := await anext(records, None)) is not None:
                answer.take_counts(batch)


class _Answer:
    """What has come of an answer, and what it adds up to."""

    def __init__(
        self, backend: Backend, record_format: RecordFormat, habit: ReasoningHabit, *, trusts_unknown_finishes: bool
    ) -> None:
        self._backend, self._trusts_unknown_finishes = backend, trusts_unknown_finishes
        self._read, self._read_plain = record_format
        self._separator = InlineReasoning(habit)
        self._text, self._reasoning = WholeCharacters(), WholeCharacters()
        self._calls = ToolCallStream()
        self._length = 0
        self._finish: FinishReason | None = None
        self._done = False
        self._usage: Usage | None = None
        self._loading: float | None = None
        self._repeats = _Repeats()

    @property
    def has_end(self) -> bool:
        """A good end was said."""
        return self._done or self._finish is not None

    @property
    def is_complete(self) -> bool:
        """Nothing more is to be expected."""
        return self._done or self._usage is not None

    def take(self, batch: list[Record]) -> Delta:
        """What *batch* adds, up to a good end in it; raises ProviderError for an error or a bad end."""
        pieces: list[Piece] = []
        logprobs: list[TokenLogprob] = []
        calls: list[ToolCallDelta] = []
        plain: list[str] = []  # text without logprobs is split once a batch
        for at, record in enumerate(batch):
            chunk = self._chunk(record)
            if chunk.reasoning or chunk.logprobs:
                pieces += (self._split("".join(plain)), self._split(chunk.text, chunk.reasoning))
                plain = []
                if pieces[-1].answer or (self._separator.is_outside and not (chunk.text or chunk.reasoning)):
                    logprobs += chunk.logprobs  # those of reasoning would be read as a verdict's
            elif chunk.text:
                plain.append(chunk.text)
            if chunk.tool_calls:
                calls += self._called(chunk)
            if self._done or self._finish is not None:
                self.take_counts(batch[at + 1 :])
                break
        if plain:
            pieces.append(self._split(plain[0] if len(plain) == 1 else "".join(plain)))
        return _delta(pieces, tuple(logprobs), tuple(calls))

    def take_counts(self, batch: list[Record]) -> None:
        """Read the counts in *batch*, which came after the end; what else it says is passed over."""
        for record in batch:
            if record.data.strip() == DONE:
                self._done = True
                continue
            with suppress(ValueError, ProviderError):
                chunk = self._read_plain(record.data) or self._read(parse(record.data))
                self._usage = chunk.usage or self._usage

    def check_end(self) -> None:
        """Raises Failed where the stream ended and no end was said."""
        if not self.has_end and self._repeats.were_cut:
            self._finish = "repetition"
        if not self.has_end:
            raise Failed(self._backend.name, "the stream ended before it was done")

    def last(self) -> Delta:
        """The final delta."""
        finish = self._finish or "stop"
        if self._calls and finish == "stop":
            finish = "tool_calls"  # many servers say "stop" after calls too
        held = (
            self._separator.feed(self._text.finish()),
            self._separator.close(is_whole=finish in {"stop", "tool_calls"}),
        )
        delta = _delta(held, (), ())
        return Delta(
            text=delta.text,
            reasoning=delta.reasoning + self._reasoning.finish(),
            retracted=delta.retracted,
            final=True,
            finish=finish,
            usage=self._usage or Usage(),
            loading=self._loading,
            tool_calls=self._rest_of_calls(),
        )

    def _called(self, chunk: Chunk) -> list[ToolCallDelta]:
        """What *chunk* adds to the calls."""
        self._lengthen(sum(len(piece.arguments) + len(piece.name) for piece in chunk.tool_calls))
        try:
            fed = [self._calls.feed(piece) for piece in chunk.tool_calls]
        except ValueError as error:
            raise BadReply(self._backend.name, str(error)) from None
        return [delta for delta in fed if delta is not None]

    def _rest_of_calls(self) -> tuple[ToolCallDelta, ...]:
        try:
            return self._calls.close()
        except ValueError as error:
            raise BadReply(self._backend.name, str(error)) from None

    def _chunk(self, record: Record) -> Chunk:
        """What *record* says; raises ProviderError for what is no good."""
        if record.data.strip() == DONE:
            self._done = True
            return _NO_CHUNK
        chunk = None if record.event == "error" else self._read_plain(record.data)
        if chunk is None:
            value = self._value(record)
            chunk = self._read(value)
            if chunk.error is not None:
                raise self._error(chunk.error)
            if record.event == "error":
                raise self._error(value)
        self._note_end(chunk)
        if chunk.usage is not None:
            self._usage = chunk.usage
        self._repeats.note(chunk.text or chunk.reasoning)
        return chunk

    def _value(self, record: Record) -> Any:
        try:
            return parse(record.data)
        except ValueError as error:
            if record.event == "error":
                return record.data.decode("utf-8", "replace")
            if not record.data.strip() or _is_sign_of_life(record):
                return None
            shown = self._backend.redacted(record.data[:60].decode("utf-8", "replace"))
            raise BadReply(self._backend.name, f"unreadable answer {shown!r}: {error}") from error

    def _note_end(self, chunk: Chunk) -> None:
        if chunk.loading is not None:
            self._loading = chunk.loading
        if chunk.finish:
            self._finish = self._finish_of(chunk)
        if chunk.done:
            self._done = True

    def _finish_of(self, chunk: Chunk) -> FinishReason:
        word, name = self._backend.redacted(chunk.finish[:60]), self._backend.name
        finish = finish_of(chunk.finish)
        if finish is not None:
            return finish
        if chunk.finish in {"load", "unload"} and chunk.done and not chunk.text:
            raise Failed(name, f"it {word}ed the model and generated nothing")
        if is_withheld(chunk.finish):
            raise Rejected(name, f"it withheld the answer: {word}")
        if self._trusts_unknown_finishes and not is_bad(chunk.finish):
            return "stop"
        raise Failed(name, f"its answer broke off: {word}")

    def _error(self, error: Any) -> ProviderError:
        status = error_status(error)
        if status is not None:
            return error_for(self._backend, Reply(status, {}, error_text(self._backend, error).encode()))
        return Failed(self._backend.name, error_text(self._backend, error) or "it reports an error without a word")

    def _split(self, text: str, separate: str = "") -> Piece:
        """What *text* adds, and reasoning that came beside it."""
        self._lengthen(len(text) + len(separate))
        if separate:
            self._separator.note_separate()
        piece = self._separator.feed(self._text.feed(text))
        reasoning = self._reasoning.feed(separate)
        return piece._replace(reasoning=reasoning + piece.reasoning) if reasoning else piece

    def _lengthen(self, characters: int) -> None:
        self._length += characters
        if self._length > MAX_LENGTH:
            raise Failed(self._backend.name, f"what it writes is longer than {MAX_LENGTH} characters")


class _Repeats:
    """
    Counts how often the last token was repeated.

    Ollama ends a stream without a word after a token that came 30 times more: "token repeat limit" in
    llm/llama_server.go.
    """

    LIMIT: Final = 30

    def __init__(self) -> None:
        self._token: str | None = None
        self._count = 0

    def note(self, written: str) -> None:
        """Take in a token; Ollama compares without the white space around it."""
        if not written:
            return
        token = written.strip()
        self._count = self._count + 1 if token == self._token else 0
        self._token = token

    @property
    def were_cut(self) -> bool:
        """Whether the stream ended because of them."""
        return self._count >= self.LIMIT


def _is_sign_of_life(record: Record) -> bool:
    """Whether *record* keeps a connection awake and says nothing, by its event's name or by all that it says."""
    return not _SIGNS_OF_LIFE.isdisjoint({record.event.lower(), record.data.strip().lower().decode("latin-1")})


_NOTHING: Final = Delta()
_NO_CHUNK: Final = Chunk()


def _delta(pieces: Sequence[Piece], logprobs: tuple[TokenLogprob, ...], calls: tuple[ToolCallDelta, ...]) -> Delta:
    """What *pieces* add up to. A retraction takes back the text before it, in this batch and in earlier ones."""
    if not pieces and not (logprobs or calls):
        return _NOTHING
    text, reasoning, retracted = "", "", False
    for piece in pieces:
        if piece.retracted:
            text, reasoning, retracted = "", reasoning + text, True
        text += piece.answer
        reasoning += piece.reasoning
    return Delta(text, reasoning=reasoning, retracted=retracted, logprobs=logprobs, tool_calls=calls)

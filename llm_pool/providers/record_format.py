"""
How one API's records are read: any record by its fields, and a plain one, as nearly all are, at once.

A plain record is one whose type says so: a piece of text, a word of its end, counts of tokens, and nothing in any other
field that means something. The decoder skips what nobody reads, and whatever it refuses is read by its fields.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, Literal, NamedTuple, TypeAlias

import msgspec

from llm_pool.core.messages import Usage
from llm_pool.providers.chunks import Chunk, ReadChunk, ollama_chunk, openai_chunk

ReadPlain: TypeAlias = Callable[[bytes], Chunk | None]
"""What a plain record says; None: it is none."""

_Empty: TypeAlias = Literal[""] | None
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None


class RecordFormat(NamedTuple):
    """
    What the records of an API say.

    Attributes:
        chunk: what a record, parsed, says.
        plain: what a plain one says, which is the same.
    """

    chunk: ReadChunk
    plain: ReadPlain


class _Record(msgspec.Struct, gc=False, kw_only=True):
    """Fields that would make a record an error; see ``chunks.error_in``."""

    error: None = None
    error_code: None = None
    type: None = None
    status: None = None


class _Said(_Record, gc=False, kw_only=True):
    content: str | None = None
    reasoning_content: _Empty = None
    reasoning: _Empty = None
    thinking: _Empty = None
    tool_calls: None = None
    function_call: None = None


class _Choice(_Record, gc=False, kw_only=True):
    delta: _Said
    index: Literal[0] = 0
    object: None = None
    message: None = None
    text: _Empty = None
    finish_reason: str | None = None
    finishReason: None = None  # noqa: N815  Gemini's spelling
    logprobs: None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: _Count = None
    completion_tokens: _Count = None


class _OpenAIRecord(_Record, gc=False, kw_only=True):
    choices: Annotated[list[_Choice], msgspec.Meta(max_length=1)]
    object: Literal["chat.completion.chunk"] | None = None
    usage: _Usage | None = None


class _OllamaRecord(_Record, gc=False, kw_only=True):
    message: _Said
    done: bool
    object: None = None
    done_reason: str | None = None
    response: _Empty = None
    reasoning_content: _Empty = None
    reasoning: _Empty = None
    thinking: _Empty = None
    logprobs: None = None
    load_duration: _Count = None
    prompt_eval_count: _Count = None
    eval_count: _Count = None


_openai: Final = msgspec.json.Decoder(_OpenAIRecord).decode
_ollama: Final = msgspec.json.Decoder(_OllamaRecord).decode


def _plain_openai(data: bytes) -> Chunk | None:
    try:
        record = _openai(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    usage = None if record.usage is None else _counted(record.usage.prompt_tokens, record.usage.completion_tokens)
    if not record.choices:
        return Chunk(usage=usage)
    choice = record.choices[0]
    return Chunk(text=choice.delta.content or "", finish=choice.finish_reason or "", usage=usage)


def _plain_ollama(data: bytes) -> Chunk | None:
    try:
        record = _ollama(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return Chunk(
        text=record.message.content or "",
        finish=record.done_reason or "",
        done=record.done,
        usage=_counted(record.prompt_eval_count, record.eval_count),
        loading=None if record.load_duration is None else record.load_duration / 1e9,
    )


def _counted(prompt: int | None, completion: int | None) -> Usage | None:
    return None if prompt is None and completion is None else Usage(prompt, completion)


def never_plain(_data: bytes) -> None:
    """Every record may hold more than text."""


OPENAI: Final = RecordFormat(openai_chunk, _plain_openai)
"""``/v1/chat/completions``."""
OLLAMA: Final = RecordFormat(ollama_chunk, _plain_ollama)
"""``/api/chat``."""

"""
How one API's records are read: any record by its fields, and one that holds nothing but text, as most do, at once.

A plain record is one whose type says so: a piece of text, and nothing in any other field that means something. The
decoder skips what nobody reads, and whatever it refuses is read by its fields.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from llm_pool.providers.chunks import ReadChunk, ollama_chunk, openai_chunk

PlainText: TypeAlias = Callable[[bytes], str | None]
"""The text of a record that holds nothing else; None: it may hold more."""

_Empty: TypeAlias = Literal[""] | None


class RecordFormat(NamedTuple):
    """
    What the records of an API say.

    Attributes:
        chunk: what a record, parsed, says.
        plain: the text of one that says nothing else.
    """

    chunk: ReadChunk
    plain: PlainText


class _Record(msgspec.Struct, gc=False, kw_only=True):
    """Fields that would make a record an error; see ``chunks.error_in``."""

    error: None = None
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
    finish_reason: _Empty = None
    logprobs: None = None


class _OpenAIRecord(_Record, gc=False, kw_only=True):
    choices: tuple[_Choice]
    object: Literal["chat.completion.chunk"] | None = None
    usage: None = None


class _OllamaRecord(_Record, gc=False, kw_only=True):
    message: _Said
    done: Literal[False]
    object: None = None
    done_reason: _Empty = None
    response: _Empty = None
    reasoning_content: _Empty = None
    reasoning: _Empty = None
    thinking: _Empty = None
    logprobs: None = None
    load_duration: None = None
    prompt_eval_count: None = None
    eval_count: None = None


_openai: Final = msgspec.json.Decoder(_OpenAIRecord).decode
_ollama: Final = msgspec.json.Decoder(_OllamaRecord).decode


def _plain_openai(data: bytes) -> str | None:
    try:
        return _openai(data).choices[0].delta.content or ""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _plain_ollama(data: bytes) -> str | None:
    try:
        return _ollama(data).message.content or ""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def never_plain(_data: bytes) -> None:
    """Every record may hold more than text."""


OPENAI: Final = RecordFormat(openai_chunk, _plain_openai)
"""``/v1/chat/completions``."""
OLLAMA: Final = RecordFormat(ollama_chunk, _plain_ollama)
"""``/api/chat``."""

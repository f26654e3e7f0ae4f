"""An answer on its way: tokens with their times, and what a dialect must be able to write."""

from __future__ import annotations

import math
import re
import zlib
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_pool.testing.upstream.answers import ScriptedAnswer, TextRequest
    from llm_pool.testing.upstream.http import Headers


class CallToken(msgspec.Struct, frozen=True):
    """
    A piece of a call of a tool.

    Attributes:
        index: which call of the answer.
        piece: of the arguments; the first one is empty and comes with the name.
        arguments: all of them.
        is_last: nothing of this call comes after it.
    """

    index: int
    id: str
    name: str
    piece: str
    arguments: str
    is_last: bool


class Token(msgspec.Struct, frozen=True):
    """A generated token; *at* seconds after the first word could have come, *top* its alternatives."""

    text: str
    at: float
    top: tuple[tuple[str, float], ...] = ()
    is_reasoning: bool = False
    call: CallToken | None = None


class Generation(msgspec.Struct, kw_only=True):
    """
    What is going to be said, and what was measured while saying it.

    Attributes:
        ttft: seconds to the first token.
        count, prompt_tokens: tokens said, at most six letters each, and asked, four letters each. Tokens that come
            together are one of *tokens*.
        loading, total: seconds, filled in when it is over.
    """

    text_request: TextRequest
    tokens: list[Token]
    ttft: float
    finish: str
    prompt_tokens: int
    count: int
    loading: float = 0.0
    total: float = 0.0

    @property
    def text(self) -> str:
        """All that is said."""
        return "".join(token.text for token in self.tokens if not token.is_reasoning)

    @property
    def reasoning(self) -> str:
        """All that is thought before."""
        return "".join(token.text for token in self.tokens if token.is_reasoning)

    @property
    def calls(self) -> list[CallToken]:
        """The last piece of each call, which knows the whole."""
        return [token.call for token in self.tokens if token.call is not None and token.call.is_last]


class Dialect(Protocol):
    """How one kind of server writes an answer of one kind of request."""

    stream_headers: Headers
    whole_headers: Headers
    error_headers: Headers

    def opening(self) -> bytes:
        """What a stream begins with, before any token; may be empty."""

    def piece(self, token: Token) -> bytes:
        """A token in a stream; nothing where this kind of server waits for more of a call."""

    def ending(self, generation: Generation) -> bytes:
        """The proper end of a stream."""

    def whole(self, generation: Generation) -> bytes:
        """The answer as one body."""

    def error(self, status: int, message: str) -> bytes:
        """A refusal as one body."""

    def error_piece(self, message: str) -> bytes:
        """An error in a stream that has begun."""


def compose(text_request: TextRequest, answer: ScriptedAnswer, *, ttft: float, per_token: float) -> Generation:
    """
    *answer* as tokens with times: its own where it has them, else *ttft* and *per_token* seconds.

    Tokens that take no time come as at most eight pieces, so that fast answers are cheap.
    """
    thoughts = _split(answer.reasoning) if answer.reasoning and text_request.thinks else []
    texts = _split(answer.text)
    finish = answer.finish
    limit = text_request.max_tokens
    if limit is not None and len(thoughts) + len(texts) > limit > 0:
        thoughts, texts, finish = thoughts[:limit], texts[: max(0, limit - len(thoughts))], "length"
    count = len(thoughts) + len(texts)
    ttft = ttft if answer.ttft is None else answer.ttft
    if answer.duration is not None:
        per_token = max(0.0, answer.duration - ttft) / max(1, count - 1)
    if not per_token and text_request.top_logprobs is None:
        thoughts, texts = _in_few(thoughts), _in_few(texts)
    tokens = [Token(text, at * per_token, is_reasoning=True) for at, text in enumerate(thoughts)]
    tokens += [
        Token(text, (len(thoughts) + at) * per_token, _alternatives(text_request, answer, at, text))
        for at, text in enumerate(texts)
    ]
    tokens += [
        Token("", (count + at) * per_token, call=call)
        for at, call in enumerate(_call_tokens(answer), bool(answer.calls))
    ]
    if answer.calls and finish == "stop":
        finish = "tool_calls"
    asked = 1 + len(text_request.text) // 4
    return Generation(
        text_request=text_request, tokens=tokens, ttft=ttft, finish=finish, prompt_tokens=asked, count=count
    )


def _call_tokens(answer: ScriptedAnswer) -> Iterator[CallToken]:
    for index, call in enumerate(answer.calls):
        size = math.ceil(len(call.arguments) / 4) or 1
        pieces = ["", *(call.arguments[at : at + size] for at in range(0, len(call.arguments), size))]
        for at, piece in enumerate(pieces):
            call_id = f"call_{index}{zlib.crc32(call.arguments.encode()):08x}"
            yield CallToken(index, call_id, call.name, piece, call.arguments, at == len(pieces) - 1)


def slowed(generation: Generation, factor: float) -> Generation:
    """The same, *factor* times as slow."""
    tokens = [msgspec.structs.replace(token, at=token.at * factor) for token in generation.tokens]
    return msgspec.structs.replace(generation, ttft=generation.ttft * factor, tokens=tokens)


def trickled(generation: Generation, rate: float) -> Generation:
    """The same at *rate* tokens a second."""
    spoken = [(text, token) for token in generation.tokens for text in _split(token.text)]
    tokens = [
        Token(text, at / rate, is_reasoning=token.is_reasoning, call=token.call)
        for at, (text, token) in enumerate(spoken)
    ]
    return msgspec.structs.replace(generation, tokens=tokens)


def _split(text: str) -> list[str]:
    return re.findall(r"\s*[^\s]{1,6}\s*$|\s*[^\s]{1,6}", text) or [text]


def _in_few(texts: list[str]) -> list[str]:
    size = math.ceil(len(texts) / 8)
    return ["".join(texts[at : at + size]) for at in range(0, len(texts), size)] if texts else []


def _alternatives(
    text_request: TextRequest, answer: ScriptedAnswer, at: int, text: str
) -> tuple[tuple[str, float], ...]:
    if text_request.top_logprobs is None:
        return ()
    top = answer.top if at == 0 and answer.top else ((text, -0.05), ("?", -3.5), ("!", -4.5))
    return top[: max(1, text_request.top_logprobs)]

"""An answer on its way: tokens with their times, and what a dialect must be able to write."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from llm_pool.testing.upstream.answers import Ask, Said
    from llm_pool.testing.upstream.http import Headers


class Token(msgspec.Struct, frozen=True):
    """A generated token; *at* seconds after the first word could have come, *top* its alternatives."""

    text: str
    at: float
    top: tuple[tuple[str, float], ...] = ()


class Speech(msgspec.Struct, kw_only=True):
    """
    What is going to be said, and what was measured while saying it.

    Attributes:
        ttft: seconds to the first token.
        count, prompt_tokens: tokens said, at most six letters each, and asked, four letters each. Tokens that come
            together are one of *tokens*.
        loading, total: seconds, filled in when it is over.
    """

    ask: Ask
    tokens: list[Token]
    ttft: float
    finish: str
    prompt_tokens: int
    count: int
    loading: float = 0.0
    total: float = 0.0

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(token.text for token in self.tokens)


class Dialect(Protocol):
    """How one kind of server writes an answer of one kind of request."""

    stream_headers: Headers
    whole_headers: Headers
    error_headers: Headers

    def opening(self) -> bytes:
        """What a stream begins with, before any token; may be empty."""

    def piece(self, token: Token) -> bytes:
        """A token in a stream."""

    def ending(self, speech: Speech) -> bytes:
        """The proper end of a stream."""

    def whole(self, speech: Speech) -> bytes:
        """The answer as one body."""

    def error(self, status: int, message: str) -> bytes:
        """A refusal as one body."""

    def error_piece(self, message: str) -> bytes:
        """An error in a stream that has begun."""


def compose(ask: Ask, said: Said, *, ttft: float, per_token: float) -> Speech:
    """
    *said* as tokens with times: its own where it has them, else *ttft* and *per_token* seconds.

    Tokens that take no time come as at most eight pieces, so that fast answers are cheap.
    """
    texts = _split(said.text)
    finish = said.finish
    if ask.max_tokens is not None and len(texts) > ask.max_tokens > 0:
        texts, finish = texts[: ask.max_tokens], "length"
    count = len(texts)
    ttft = ttft if said.ttft is None else said.ttft
    if said.duration is not None:
        per_token = max(0.0, said.duration - ttft) / max(1, len(texts) - 1)
    if not per_token and ask.top_logprobs is None:
        size = math.ceil(len(texts) / 8)
        texts = ["".join(texts[at : at + size]) for at in range(0, len(texts), size)]
    tokens = [Token(text, at * per_token, _alternatives(ask, said, at, text)) for at, text in enumerate(texts)]
    asked = 1 + len(ask.text) // 4
    return Speech(ask=ask, tokens=tokens, ttft=ttft, finish=finish, prompt_tokens=asked, count=count)


def slowed(speech: Speech, factor: float) -> Speech:
    """The same, *factor* times as slow."""
    tokens = [msgspec.structs.replace(token, at=token.at * factor) for token in speech.tokens]
    return msgspec.structs.replace(speech, ttft=speech.ttft * factor, tokens=tokens)


def trickled(speech: Speech, rate: float) -> Speech:
    """The same at *rate* tokens a second."""
    tokens = [Token(text, at / rate) for at, text in enumerate(_split(speech.text))]
    return msgspec.structs.replace(speech, tokens=tokens)


def _split(text: str) -> list[str]:
    return re.findall(r"\s*[^\s]{1,6}\s*$|\s*[^\s]{1,6}", text) or [text]


def _alternatives(ask: Ask, said: Said, at: int, text: str) -> tuple[tuple[str, float], ...]:
    if ask.top_logprobs is None:
        return ()
    top = said.top if at == 0 and said.top else ((text, -0.05), ("?", -3.5), ("!", -4.5))
    return top[: max(1, ask.top_logprobs)]

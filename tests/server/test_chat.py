"""What the chat APIs have in common: text that is never taken back."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest

from llm_pool.core.errors import AllProvidersFailed
from llm_pool.core.events import TextArrived
from llm_pool.core.messages import Query
from llm_pool.server.chat import PING_EVERY, StreamEnd, finish, stream_text
from llm_pool.testing import an_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llm_pool.core.messages import Answer


class MessageFormat:
    """A pool that tells what a test gives it."""

    def __init__(self, tell: Callable[[Callable[..., None]], Awaitable[Answer]]) -> None:
        self._tell = tell

    async def infer(self, _query: Query, emit: Any) -> Answer:
        def say(text: str, provider: str = "phi3", *, committed: bool = True) -> None:
            emit(TextArrived("r1", provider, text, committed))

        return await self._tell(say)


async def heard(tell: Callable[[Callable[..., None]], Awaitable[Answer]]) -> list[str]:
    """Pieces in order, the rest last."""
    manager: Any = MessageFormat(tell)
    async with aclosing(stream_text(manager, Query(prompt="p"))) as speech:
        return [said.rest if isinstance(said, StreamEnd) else said.text async for said in speech]


@pytest.mark.anyio
async def test_committed_text_is_spoken_as_it_comes() -> None:
    """Without the space before it; nothing is left for the end."""

    async def tell(say: Callable[..., None]) -> Answer:
        for text in ("  the", " sky ", "is", " "):
            say(text)
            await anyio.sleep(0.1)
        return an_answer("the sky is")

    assert await heard(tell) == ["the", " sky ", "is", " ", ""]


@pytest.mark.anyio
async def test_text_that_may_lose_is_not_spoken() -> None:
    """Its turn comes with the decision."""

    async def tell(say: Callable[..., None]) -> Answer:
        say("gre", committed=False)
        await anyio.sleep(0.1)
        return an_answer("blue")

    assert await heard(tell) == ["blue"]


@pytest.mark.anyio
async def test_half_an_answer_is_not_followed_by_another() -> None:
    """The one that broke off cannot be taken back, so the stream ends in an error."""

    async def tell(say: Callable[..., None]) -> Answer:
        say("the sky is gr")
        await anyio.sleep(0.1)
        say("blue", "pocket")
        return an_answer("blue", winner="pocket")

    with pytest.raises(AllProvidersFailed):
        await heard(tell)


@pytest.mark.anyio
async def test_a_long_silence_is_broken_by_an_empty_text() -> None:
    """Proxies close streams that say nothing."""

    async def tell(_say: Callable[..., None]) -> Answer:
        await anyio.sleep(2.5 * PING_EVERY)
        return an_answer("blue")

    assert await heard(tell) == ["", "", "blue"]


def test_an_answer_that_was_cut_says_so() -> None:
    """In the two words that these APIs have for it."""
    answer = an_answer("blue")

    assert finish(answer) == "stop"
    assert finish(msgspec.structs.replace(answer, finish="length")) == "length"
    assert finish(msgspec.structs.replace(answer, finish="repetition")) == "length"

"""What the chat APIs have in common: text that is never taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest

from llm_pool.core.events import TextArrived
from llm_pool.server.chat import finish
from llm_pool.server.stream import PING_EVERY
from llm_pool.testing import an_answer
from tests.server.conftest import FakeExchange, Recorder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llm_pool.core.messages import Answer

    Tell = Callable[[Callable[..., None]], Awaitable[Answer]]
    """Says texts by a function, and decides."""


def saying(tell: Tell) -> Callable[[Any], Awaitable[Answer]]:
    """*tell*, for a pool: what it says are texts of one provider."""

    def with_events(emit: Any) -> Awaitable[Answer]:
        def say(text: str, provider: str = "phi3", *, committed: bool = True) -> None:
            emit(TextArrived("r1", provider, text, committed))

        return tell(say)

    return with_events


@pytest.mark.anyio
async def test_committed_text_is_spoken_as_it_comes(told: Any) -> None:
    """Without the space before it; nothing is left for the end."""

    async def tell(say: Callable[..., None]) -> Answer:
        for text in ("  the", " sky ", "is", " "):
            say(text)
            await anyio.sleep(0.1)
        return an_answer("the sky is")

    assert await told(saying(tell)) == [*(("text", text) for text in ("the", " sky ", "is", " ")), ("rest", "")]


@pytest.mark.anyio
async def test_text_that_may_lose_is_not_spoken(told: Any) -> None:
    """Its turn comes with the decision."""

    async def tell(say: Callable[..., None]) -> Answer:
        say("gre", committed=False)
        await anyio.sleep(0.1)
        return an_answer("blue")

    assert await told(saying(tell)) == [("rest", "blue")]


@pytest.mark.anyio
async def test_half_an_answer_is_not_followed_by_another(told: Any) -> None:
    """The one that broke off cannot be taken back, so the stream ends in an error."""

    async def tell(say: Callable[..., None]) -> Answer:
        say("the sky is gr")
        await anyio.sleep(0.1)
        say("blue", "pocket")
        return an_answer("blue", winner="pocket")

    assert await told(saying(tell)) == [("text", "the sky is gr"), ("failed", "AllProvidersFailed")]


@pytest.mark.anyio
async def test_a_long_silence_is_broken_by_a_heartbeat(told: Any) -> None:
    """Proxies close streams that say nothing."""

    async def tell(_say: Callable[..., None]) -> Answer:
        await anyio.sleep(2.5 * PING_EVERY)
        return an_answer("blue")

    assert await told(saying(tell)) == [("heartbeat", ""), ("heartbeat", ""), ("rest", "blue")]


@pytest.mark.anyio
async def test_what_comes_at_once_is_told_at_once(told: Any) -> None:
    """In one piece and one write."""
    exchange = FakeExchange()

    async def tell(say: Callable[..., None]) -> Answer:
        for text in ("the ", "sky ", "is"):
            say(text)
        await anyio.sleep(0.1)
        return an_answer("the sky is")

    assert await told(saying(tell), exchange) == [("text", "the sky is"), ("rest", "")]
    assert len(exchange.writes) == 2


@pytest.mark.anyio
async def test_a_client_who_is_behind_gets_it_in_one_piece(told: Any) -> None:
    """Nothing is written until it has read; then all that came meanwhile."""
    exchange = FakeExchange()

    async def tell(say: Callable[..., None]) -> Answer:
        say("the ")
        await anyio.sleep(0.1)
        exchange.is_writable = False
        for text in ("sky", " ", "is"):
            say(text)
            await anyio.sleep(0.1)
        assert exchange.text == "text:the |"
        exchange.is_writable = True
        assert exchange.on_writable is not None
        exchange.on_writable()
        assert exchange.text == "text:the |text:sky is|"
        return an_answer("the sky is")

    assert await told(saying(tell), exchange) == [("text", "the "), ("text", "sky is"), ("rest", "")]


@pytest.mark.anyio
async def test_what_cannot_be_told_is_an_error_of_the_request(told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it happens between two events, where nobody waits."""

    def broken(_self: object, _text: str) -> bytes:
        raise ZeroDivisionError

    async def tell(say: Callable[..., None]) -> Answer:
        say("the ")
        await anyio.sleep(5)
        return an_answer("the")

    monkeypatch.setattr(Recorder, "piece", broken)
    with pytest.raises(ZeroDivisionError):
        await told(saying(tell))


def test_an_answer_that_was_cut_says_so() -> None:
    """In the two words that these APIs have for it."""
    answer = an_answer("blue")

    assert finish(answer) == "stop"
    assert finish(msgspec.structs.replace(answer, finish="length")) == "length"
    assert finish(msgspec.structs.replace(answer, finish="repetition")) == "length"

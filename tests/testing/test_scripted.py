from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from llm_pool.core.errors import Unreachable
from llm_pool.core.events import ModelLoading, RequestQueued
from llm_pool.testing import RecordingObserver, Reply, ScriptedProvider, a_call, scripted

if TYPE_CHECKING:
    from llm_pool.core.interfaces import Provider
    from llm_pool.core.messages import Call, Delta

pytestmark = pytest.mark.anyio


async def gathered(provider: Provider, call: Call | None = None) -> list[tuple[float, Delta]]:
    loop = asyncio.get_running_loop()
    start = loop.time()
    return [(round(loop.time() - start, 6), delta) async for delta in provider.stream(call or a_call())]


async def test_the_test_plays_the_model() -> None:
    """What the test says is what the provider yields, when the test says it."""
    provider, calls = scripted("phi3")
    asking = asyncio.create_task(gathered(provider))

    received = await calls.next()
    received.delta("bl", after=0.2)
    received.reply("ue", tokens=2, after=0.3)

    heard = await asking
    assert [(at, delta.text, delta.final) for at, delta in heard] == [
        (0.2, "bl", False),
        (0.5, "ue", False),
        (0.5, "", True),
    ]
    assert heard[-1][1].usage.completion_tokens == 2
    assert received.call.prompt.user == "which colour?"


async def test_a_scripted_failure_is_raised() -> None:
    """``fail`` ends the stream with the error given."""
    provider, calls = scripted()
    asking = asyncio.create_task(gathered(provider))

    (await calls.next()).fail(Unreachable("phi3", "connection refused"), after=1)

    with pytest.raises(Unreachable, match="connection refused"):
        await asking
    assert (provider.cancelled, provider.in_flight) == (0, 0)


@pytest.mark.parametrize("way", ["cancel", "aclose"])
async def test_a_loser_is_seen_to_be_closed(way: str) -> None:
    """Cancelling the asker and closing the stream both resolve ``cancelled``."""
    provider, calls = scripted()

    async def ask() -> None:
        async with aclosing(provider.stream(a_call())) as stream:
            async for _ in stream:
                if way == "aclose":
                    return

    asking = asyncio.create_task(ask())
    received = await calls.next()
    received.delta("bl")
    received.hang()
    await asyncio.sleep(10)
    asking.cancel()

    await received.cancelled
    await asyncio.wait([asking])
    assert (provider.cancelled, provider.in_flight) == (1, 0)


async def test_a_declared_reply_keeps_its_times() -> None:
    """First word at ttft, the end at the duration; no word is lost."""
    provider = ScriptedProvider("fast", Reply("one  two\nthree ", ttft=0.1, duration=0.5))

    heard = await gathered(provider)

    assert "".join(delta.text for _, delta in heard) == "one  two\nthree "
    assert [at for at, _ in heard] == [0.1, 0.3, 0.5, 0.5]
    assert heard[-1][1].final


async def test_a_long_reply_comes_in_at_most_eight_pieces() -> None:
    """Virtual time is free, but timers are not."""
    heard = await gathered(ScriptedProvider("wordy", Reply("word " * 100)))

    assert len(heard) == 8 + 1


async def test_the_last_reply_of_a_list_repeats() -> None:
    """A list is a script for the first calls; then nothing changes any more."""
    provider = ScriptedProvider("flaky", [Reply.failing(Unreachable("flaky", "refused")), Reply("red")])

    with pytest.raises(Unreachable):
        await gathered(provider)
    again = [(await gathered(provider))[0][1].text for _ in range(2)]

    assert again == ["red", "red"]
    assert len(provider.calls) == 3


async def test_a_function_answers_by_the_call() -> None:
    """The script may look at the question."""
    provider = ScriptedProvider("echo", lambda call: Reply(call.prompt.user.upper()))

    heard = await gathered(provider, a_call("blue"))

    assert heard[0][1].text == "BLUE"


async def test_a_hanging_reply_waits_for_the_timeout() -> None:
    """And is counted as cancelled."""
    provider = ScriptedProvider("hung", Reply.hanging())

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(300):
            await gathered(provider)

    assert (provider.cancelled, provider.most_in_flight) == (1, 1)


async def test_load_makes_a_warming_model_healthy() -> None:
    """Loading takes its time once and shows in the state."""
    provider, _ = scripted()
    provider.condition, provider.load_time = "warming", 30.0

    await provider.load()

    assert (await provider.state()).condition == "healthy"
    assert (await provider.state()).loaded == ("phi3:mini",)


def test_an_observer_remembers_by_kind() -> None:
    """Events come back in order, all or of one kind."""
    observer = RecordingObserver()
    waiting, loading = RequestQueued("r1", "phi3", "local", 2), ModelLoading("r1", "phi3", "phi3:mini")

    observer.on(waiting)
    observer.on(loading)

    assert observer.events == [waiting, loading]
    assert observer.of(ModelLoading) == [loading]

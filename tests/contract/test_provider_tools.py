"""What every provider keeps of tools: the same call from every server, a refusal remembered, nobody left behind."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest

from llm_pool.core.errors import ProviderError, UnsupportedTools
from llm_pool.core.messages import Abilities, Prompt, Tool, ToolCall, Turn
from llm_pool.providers.http import HttpProvider
from llm_pool.providers.llamacpp import LlamaCppProvider
from llm_pool.providers.ollama import OllamaProvider
from llm_pool.providers.openai import OpenAIProvider
from llm_pool.providers.transport import Transport
from llm_pool.testing import a_call
from llm_pool.testing.upstream import Model, ScriptedAnswer, ScriptedCall, Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

MODEL = "phi3:mini"
TOOLS = (Tool("weather", "The weather.", {"type": "object", "properties": {"city": {"type": "string"}}}),)
CALLS = (ScriptedCall("weather", '{"city":"Rome"}'), ScriptedCall("weather", '{"city":"Oslo"}'))


class Subject(NamedTuple):
    """A driver, and the kind of server it speaks to."""

    driver: Any
    flavor: Any


SUBJECTS = {
    "ollama": Subject(OllamaProvider, "ollama"),
    "ollama's /v1": Subject(OpenAIProvider, "ollama"),
    "llama-server": Subject(OpenAIProvider, "llama-server"),
}


@pytest.fixture(params=SUBJECTS.values(), ids=SUBJECTS)
def subject(request: pytest.FixtureRequest) -> Subject:
    found: Subject = request.param
    return found


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport()
    yield transport
    await transport.aclose()


async def called(provider: Any, **changes: Any) -> tuple[list[tuple[str, str]], Any]:
    """Names and arguments of the calls, and the final delta; ids are there, and differ."""
    calls: dict[int, list[str]] = {}
    async with aclosing(provider.stream(a_call(**{"tools": TOOLS, **changes}))) as deltas:
        async for delta in deltas:
            for piece in delta.tool_calls:
                known = calls.setdefault(piece.index, ["", "", ""])
                for at, text in enumerate((piece.id, piece.name, piece.arguments)):
                    known[at] += text
            last = delta
    assert all(call[0] for call in calls.values())
    assert len({call[0] for call in calls.values()}) == len(calls)
    return [(name, arguments) for _, name, arguments in calls.values()], last


async def test_calls_are_the_same_from_every_server(subject: Subject, transport: Transport) -> None:
    async with Upstream([MODEL], flavor=subject.flavor, answer=lambda _: ScriptedAnswer("", calls=CALLS)) as up:
        provider = subject.driver(name="it", base_url=up.url, model=MODEL, transport=transport)

        calls, last = await called(provider)

    assert calls == [(call.name, call.arguments) for call in CALLS]
    assert (last.final, last.finish) == (True, "tool_calls")


async def test_results_reach_the_model(subject: Subject, transport: Transport) -> None:
    """The conversation ends with them, and so does what is sent."""
    made = (ToolCall("c1", "weather", "{}"),)
    turns = (Turn("user", "Rome?"), Turn("assistant", "", made), Turn("tool", "18", (), "c1"))
    async with Upstream([MODEL], flavor=subject.flavor, answer=lambda asked: " and ".join(asked.results)) as up:
        provider = subject.driver(name="it", base_url=up.url, model=MODEL, transport=transport)
        call = msgspec.structs.replace(a_call(tools=TOOLS), prompt=Prompt("", "", turns))
        async with aclosing(provider.stream(call)) as deltas:
            text = "".join([delta.text async for delta in deltas])
        (asked,) = [entry.body for entry in up.journal.entries if entry.body and "messages" in entry.body]

    assert text == "18"
    assert [message["role"] for message in asked["messages"]] == ["user", "assistant", "tool"]


@pytest.mark.parametrize("driver", [OllamaProvider, OpenAIProvider])
async def test_a_server_that_refuses_tools_is_asked_once(driver: Any, transport: Transport) -> None:
    """Then it is known; questions without tools are answered as before."""
    async with Upstream([Model(name=MODEL, capabilities=("completion",))]) as up:
        provider = driver(name="it", base_url=up.url, model=MODEL, transport=transport)
        for _ in range(2):
            with pytest.raises(UnsupportedTools):
                await called(provider)
        asked = len(up.journal.entries)
        _, last = await called(provider, tools=())

    assert asked == 1
    assert last.final
    assert "tools" in provider.abilities.cannot


async def test_what_a_model_can_is_asked_of_its_server(transport: Transport) -> None:
    """Ollama lists all of it; another server's list says nothing of tools."""
    able = Model(name=MODEL, capabilities=("completion", "vision"))
    async with Upstream([able]) as up, Upstream([able], flavor="llama-server") as other:
        ollama = OllamaProvider(name="it", base_url=up.url, model=MODEL, transport=transport)
        llama = OpenAIProvider(name="it", base_url=other.url, model=MODEL, transport=transport)
        assert ollama.abilities == Abilities()
        await ollama.learn_abilities()
        await llama.learn_abilities()

    assert (ollama.abilities.can, ollama.abilities.cannot) == ({"completion", "vision"}, {"tools", "thinking"})
    assert (llama.abilities.can, llama.abilities.cannot) == ({"completion", "tools"}, {"vision"})


async def test_those_that_cannot_call_say_so_and_ask_nobody(transport: Transport) -> None:
    providers: list[Any] = [
        HttpProvider(name="it", base_url="http://127.0.0.1:9", model=MODEL, transport=transport),
        LlamaCppProvider(name="it", model="nothing.gguf", transport=transport),
    ]

    for provider in providers:
        assert {"tools", "vision"} <= provider.abilities.cannot
        with pytest.raises(UnsupportedTools):
            await called(provider)


@pytest.mark.parametrize("mode", ["cut:2", "reset:2", "error-in-stream:2"])
async def test_a_stream_that_breaks_in_a_call_has_no_good_end(
    subject: Subject, transport: Transport, mode: str
) -> None:
    async with Upstream([MODEL], flavor=subject.flavor, answer=lambda _: ScriptedAnswer("", calls=CALLS)) as up:
        up.set_mode("*", mode)
        provider = subject.driver(name="it", base_url=up.url, model=MODEL, transport=transport)

        with pytest.raises(ProviderError):
            await called(provider)


async def test_leaving_in_a_call_stops_the_server(subject: Subject, transport: Transport) -> None:
    """Within 0.2 s, as a stream of text does."""
    many = ScriptedAnswer("", calls=CALLS * 20)
    async with Upstream([MODEL], flavor=subject.flavor, per_token="const:0.02", answer=lambda _: many) as up:
        provider = subject.driver(name="it", base_url=up.url, model=MODEL, transport=transport)
        async with aclosing(provider.stream(a_call(tools=TOOLS))) as deltas:
            async for delta in deltas:
                if delta.tool_calls:
                    break
        async with asyncio.timeout(0.2 * 5):  # and room for a machine that is busy
            while not up.counts.cancelled:  # noqa: ASYNC110 -- no event for counts
                await asyncio.sleep(0.005)

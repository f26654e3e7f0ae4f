"""What models think, as each API's clients read it: whole and streamed, and never another model's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import ollama
import openai
import pytest

from llm_pool.core.events import AttemptStarted, ReasoningArrived, TextArrived
from llm_pool.server import ollama as ollama_api
from llm_pool.server import openai as openai_api
from llm_pool.server.chat import MAX_KEPT
from llm_pool.server.daemon import Components
from llm_pool.testing import an_answer
from llm_pool.testing.upstream.answers import ScriptedAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from llm_pool.core.messages import Answer

HELLO: Any = [{"role": "user", "content": "hello"}]
THOUGHT = {"phi3:mini": "is it day", "llama3.1:8b": "look up", "gemma2:9b": "it is night"}


def said(asked: Any) -> ScriptedAnswer:
    return ScriptedAnswer("blue", reasoning=THOUGHT[asked.model])


@pytest.fixture
async def pool(daemons: Any) -> AsyncIterator[Any]:
    async with daemons(
        components=Components(extensions=(openai_api.add_routes, ollama_api.add_routes)), answer=said
    ) as running:
        yield running


@pytest.mark.anyio
@pytest.mark.real_loop
@pytest.mark.parametrize("model", ["phi3", "pool", "pool/voting"])
async def test_openais_clients_find_it_beside_the_text(pool: Any, model: str) -> None:
    """Under both names that they look for; it is the winner's, in one piece and in many."""
    client = openai.AsyncOpenAI(base_url=f"{pool.url}/v1", api_key="none", max_retries=0)
    async with client:
        chat = await client.chat.completions.create(model=model, messages=HELLO)
        stream = await client.chat.completions.create(model=model, messages=HELLO, stream=True, seed=1)
        deltas = [chunk.choices[0].delta async for chunk in stream]

    more: Any = chat.choices[0].message.model_extra
    winner = (chat.model_extra or {})["llm_pool"]["winner"]
    thought = next(text for name, text in THOUGHT.items() if name.startswith(winner))
    assert (more["reasoning_content"], more["reasoning"]) == (thought, thought)
    streamed = "".join((delta.model_extra or {}).get("reasoning_content", "") for delta in deltas)
    assert streamed in THOUGHT.values()
    kinds = ["text" if delta.content else "thought" for delta in deltas if delta.content or delta.model_extra]
    assert kinds == sorted(kinds, reverse=True), "all thoughts come before the text"
    assert "".join(delta.content or "" for delta in deltas) == "blue"


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_ollamas_clients_find_it_in_thinking(pool: Any) -> None:
    """Of chat and generate, plain and streamed; not where thinking is switched off."""
    async with ollama.AsyncClient(host=pool.url) as client:
        chat = await client.chat(model="phi3", messages=HELLO, think=True)
        generated = await client.generate(model="phi3", prompt="another", think=True)
        stream = [line async for line in await client.chat(model="phi3", messages=HELLO, think="high", stream=True)]
        silent = await client.chat(model="phi3", messages=HELLO, think=False)

    assert (chat.message.thinking, chat.message.content) == ("is it day", "blue")
    assert (generated.thinking, generated.response) == ("is it day", "blue")
    assert "".join(line.message.thinking or "" for line in stream) == "is it day"
    assert len([line for line in stream if line.message.thinking]) > 1
    assert silent.message.thinking is None


def asks(emit: Any, *providers: str) -> None:
    for provider in providers:
        emit(AttemptStarted("r1", provider, provider, "primary", 0.0))


def decided(winner: str, thinking: str, content: str = "blue") -> Answer:
    answer = an_answer(content, winner=winner)
    attempt = msgspec.structs.replace(answer.decision.attempts[0], provider=winner, reasoning=thinking)
    decision = msgspec.structs.replace(answer.decision, attempts=(attempt,), winner=winner)
    return msgspec.structs.replace(answer, decision=decision)


@pytest.mark.anyio
async def test_one_models_thoughts_are_told_at_once(told: Any) -> None:
    """Nobody else is asked: they are its answer's, if any."""

    async def tell(emit: Any) -> Answer:
        asks(emit, "a")
        emit(ReasoningArrived("r1", "a", "hm"))
        await anyio.sleep(0.1)
        emit(ReasoningArrived("r1", "a", ", so"))
        await anyio.sleep(0.1)
        emit(TextArrived("r1", "a", "blue", committed=True))
        return decided("a", "hm, so")

    assert await told(tell) == [("thought", "hm"), ("thought", ", so"), ("text", "blue"), ("rest", "")]


@pytest.mark.anyio
async def test_of_several_only_the_winners_thoughts_are_told(told: Any) -> None:
    """They wait until somebody owns the answer."""

    async def tell(emit: Any) -> Answer:
        asks(emit, "a", "b")
        emit(ReasoningArrived("r1", "a", "night?"))
        emit(ReasoningArrived("r1", "b", "day?"))
        await anyio.sleep(0.1)
        emit(TextArrived("r1", "b", "blue", committed=True))
        emit(ReasoningArrived("r1", "a", "never told"))
        return decided("b", "day?")

    assert await told(tell) == [("thought", "day?"), ("text", "blue"), ("rest", "")]


@pytest.mark.anyio
async def test_who_thought_aloud_and_lost_is_parted_from_the_winner(told: Any) -> None:
    """What was told cannot be taken back."""

    async def tell(emit: Any) -> Answer:
        asks(emit, "a")
        emit(ReasoningArrived("r1", "a", "night?"))
        await anyio.sleep(0.1)
        asks(emit, "b")
        emit(ReasoningArrived("r1", "b", "day?"))
        emit(TextArrived("r1", "b", "blue", committed=True))
        return decided("b", "day?")

    assert await told(tell) == [("thought", "night?"), ("thought", "\n\nday?"), ("text", "blue"), ("rest", "")]


@pytest.mark.anyio
async def test_a_vote_tells_the_winners_thoughts_at_its_end(told: Any) -> None:
    """Whoever thought most, or first."""

    async def tell(emit: Any) -> Answer:
        asks(emit, "a", "b")
        emit(ReasoningArrived("r1", "a", "night?"))
        return decided("b", "day?")

    assert await told(tell) == [("thought", "day?"), ("rest", "blue")]


@pytest.mark.anyio
async def test_thoughts_that_nobody_may_see_yet_are_kept_within_bounds(told: Any) -> None:
    """The beginning of each model's."""

    async def tell(emit: Any) -> Answer:
        asks(emit, "a", "b")
        for _ in range(40):
            emit(ReasoningArrived("r1", "b", "x" * 4096))
        emit(TextArrived("r1", "b", "blue", committed=True))
        return decided("b", "x")

    thought, *_ = await told(tell)

    assert thought == ("thought", "x" * MAX_KEPT)

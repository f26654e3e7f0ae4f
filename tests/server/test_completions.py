"""OpenAI's older API, asked by OpenAI's own client over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import openai
import pytest

from llm_pool.server import completions as api
from llm_pool.server.daemon import Components

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]


@pytest.fixture
async def pool(daemons: Any) -> AsyncIterator[Any]:
    async with daemons(
        components=Components(extensions=(api.add_routes,)), answer=lambda _: "the sky is blue"
    ) as running:
        yield running


@pytest.fixture
async def client(pool: Any) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{pool.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("prompt", ["What colour is the sky?", ["What colour is the sky?"]])
async def test_a_prompt_is_answered_with_the_decision_beside_it(
    pool: Any, client: openai.AsyncOpenAI, prompt: Any
) -> None:
    """Text, reason and counts as the official client reads them; what is asked for reaches the model."""
    answer = await client.completions.create(
        model="pool", prompt=prompt, max_tokens=9, temperature=0.5, seed=3, stop=["\n\n"], top_p=0.5
    )

    assert (answer.object, answer.choices[0].text, answer.choices[0].finish_reason) == (
        "text_completion",
        "the sky is blue",
        "stop",
    )
    assert answer.usage is not None
    assert answer.usage.total_tokens > 0
    ours = (answer.model_extra or {})["llm_pool"]
    assert (ours["winner"], ours["ignored"]) == ("phi3", ["top_p"])
    body = pool.upstream.journal.entries[-1].body
    assert body["messages"] == [{"role": "user", "content": "What colour is the sky?"}]
    options = {"num_predict": 9, "temperature": 0.5, "seed": 3, "stop": ["\n\n"]}
    assert body["options"].items() >= options.items()


async def test_one_provider_alone_takes_the_fields_it_knows(pool: Any, client: openai.AsyncOpenAI) -> None:
    """An ensemble cannot: there they are told."""
    answer = await client.completions.create(
        model="phi3", prompt="hello", top_p=0.5, extra_body={"top_k": 7, "use_beam_search": True}
    )

    assert pool.upstream.journal.entries[-1].body["options"].items() >= {"top_p": 0.5, "top_k": 7}.items()
    assert (answer.model_extra or {})["llm_pool"]["ignored"] == ["use_beam_search"]


async def test_a_stream_is_text_then_the_reason_then_the_counts(client: openai.AsyncOpenAI) -> None:
    """In pieces, as the model writes."""
    stream = await client.completions.create(
        model="pool", prompt="hello", stream=True, stream_options={"include_usage": True}
    )

    chunks = [chunk async for chunk in stream]

    assert len(chunks) > 3
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == "the sky is blue"
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]
    assert (chunks[-1].choices, chunks[-1].usage is not None) == ([], True)
    assert len({chunk.id for chunk in chunks}) == 1


async def test_a_votes_stream_comes_in_one_piece(pool: Any, ask: Callable[..., Any]) -> None:
    """With the mark at the end, byte for byte as clients expect it."""
    reply = await ask(pool.url, "POST", "/v1/completions", {"model": "pool/voting", "prompt": "hello", "stream": True})

    *blocks, end = reply.body.decode().split("\n\n")
    assert (blocks[-1], end) == ("data: [DONE]", "")
    (chunk,) = [msgspec.json.decode(block.removeprefix("data: ")) for block in blocks[:-1]]
    assert (chunk["choices"][0]["text"], chunk["choices"][0]["finish_reason"]) == ("the sky is blue", "stop")


@pytest.mark.parametrize("more", [{}, {"best_of": 3}])
async def test_several_answers_are_calls_of_their_own(
    pool: Any, client: openai.AsyncOpenAI, more: dict[str, Any]
) -> None:
    """Whole and streamed side by side; what all of them spent is their sum."""
    asked: dict[str, Any] = {"model": "phi3", "prompt": "hello", "n": 3, "seed": 5, **more}

    whole = await client.completions.create(**asked)
    asked_of = [entry.body for entry in pool.upstream.journal.entries if entry.path == "/api/chat"]
    seeds = {body["options"]["seed"] for body in asked_of}
    stream = await client.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]

    assert [(choice.index, choice.text, choice.finish_reason) for choice in whole.choices] == [
        (index, "the sky is blue", "stop") for index in range(3)
    ]
    assert seeds == {5, 4, 3}
    texts = dict.fromkeys(range(3), "")
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        texts[choice.index] += choice.text
    assert texts == dict.fromkeys(range(3), "the sky is blue")
    assert len({chunk.id for chunk in chunks}) == 1
    assert whole.usage is not None
    assert chunks[-1].usage == whole.usage


@pytest.mark.parametrize("top", [0, 2])
async def test_one_providers_answer_has_its_log_probabilities(client: openai.AsyncOpenAI, top: int) -> None:
    """In the older shape, with each token's place in the text; in a stream at its end."""
    whole = await client.completions.create(model="phi3", prompt="hello", logprobs=top)
    stream = await client.completions.create(model="phi3", prompt="hello", logprobs=top, stream=True)
    chunks = [chunk async for chunk in stream]

    for choice in (whole.choices[0], chunks[-1].choices[0]):
        assert choice.logprobs is not None
        tokens, places = choice.logprobs.tokens or [], choice.logprobs.text_offset or []
        assert "".join(tokens) == "the sky is blue"
        assert all("the sky is blue".startswith(token, at) for token, at in zip(tokens, places, strict=True))
        assert set(choice.logprobs.token_logprobs or []) == {-0.05}
        assert {len(others) for others in choice.logprobs.top_logprobs or []} == {top}


@pytest.mark.parametrize(
    ("change", "param", "status"),
    [
        ({"suffix": "the end"}, "suffix", 400),
        ({"echo": True}, "echo", 400),
        ({"logprobs": 3}, "logprobs", 400),
        ({"model": "phi3", "logprobs": 21}, "logprobs", 400),
        ({"n": 0}, "n", 400),
        ({"n": 9}, "n", 400),
        ({"n": 2, "best_of": 3}, "best_of", 400),
        ({"prompt": ["one", "two"]}, "prompt", 400),
        ({"prompt": [1, 2]}, "prompt", 400),
        ({"prompt": ""}, "prompt", 400),
        ({"model": "davinci-002"}, "model", 404),
    ],
)
async def test_what_cannot_be_served_is_refused_by_name(
    pool: Any, client: openai.AsyncOpenAI, change: dict[str, Any], param: str, status: int
) -> None:
    """No model is asked."""
    with pytest.raises(openai.APIStatusError) as raised:
        await client.completions.create(**{"model": "pool", "prompt": "hello", **change})

    assert (raised.value.status_code, raised.value.param) == (status, param)
    assert not pool.upstream.counts.requests


async def test_a_stream_that_breaks_off_ends_in_an_error(pool: Any, client: openai.AsyncOpenAI) -> None:
    """Half an answer is not passed off as a whole one."""
    pool.upstream.set_mode("*", "cut:2")
    stream = await client.completions.create(model="phi3", prompt="hello", stream=True)

    with pytest.raises(openai.APIError):
        [chunk async for chunk in stream]

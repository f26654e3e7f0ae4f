"""OpenAI-shaped servers as they were recorded: what we send them, and what we make of their answers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from llm_pool.core.errors import BadReply, Busy, Failed, ProviderError, Rejected
from llm_pool.core.messages import Call, Delta, Prompt, Task, TokenLogprob, Usage
from llm_pool.providers.openai import OpenAIProvider, request_body
from llm_pool.testing import a_call

if TYPE_CHECKING:
    from llm_pool.providers.transport import Transport

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

Replay = Callable[..., Any]
OUR_WAY = {"stream": True, "stream_options": {"include_usage": True}}


def openai(url: str, transport: Transport, model: str = "phi3-mini", **settings: Any) -> OpenAIProvider:
    return OpenAIProvider(name="phi", base_url=url, model=model, transport=transport, **settings)


async def answered(provider: OpenAIProvider, call: Call | None = None) -> list[Delta]:
    async with aclosing(provider.stream(call or a_call("hello"))) as stream:
        return [delta async for delta in stream]


@pytest.mark.parametrize(
    ("transcript", "model", "text"),
    [
        ("llama-server/chat-stream", "phi3-mini", "u\ufffd{\ufffd\ufffd"),
        ("ollama/openai-chat-stream", "phi3:mini", "^\ufffd\ufffd\x00"),
    ],
)
async def test_a_recorded_stream(
    replay: Replay, recorded: Any, transport: Transport, transcript: str, model: str, text: str
) -> None:
    """The recorded question is what we send; the recorded answer (its middle is cut) is what we read."""
    asked = recorded(transcript).request
    async with replay(transcript).listening() as server:
        call = a_call("hello", max_tokens=6, seed=1)
        deltas = await answered(openai(server.url, transport, model), call)

    assert server.visits[0].json == {"temperature": 0} | asked
    assert "".join(delta.text for delta in deltas) == text
    assert [delta.final for delta in deltas] == [False] * (len(deltas) - 1) + [True]


@pytest.mark.parametrize(
    ("transcript", "changes"),
    [
        ("llama-server/chat", {"max_tokens": 6}),
        ("llama-server/chat-logprobs", {"max_tokens": 1, "top_logprobs": 3}),
        (
            "llama-server/chat-json-schema",
            {
                "max_tokens": 64,
                "task": Task(name="verdict", template=""),
                "schema": {
                    "type": "object",
                    "properties": {
                        "winner_id": {"type": "string", "enum": ["c1", "c2", "c3"]},
                        "confidence": {"type": "number"},
                    },
                    "required": ["winner_id", "confidence"],
                },
            },
        ),
    ],
)
async def test_a_question_has_the_recorded_shape(recorded: Any, transcript: str, changes: dict[str, Any]) -> None:
    assert request_body("phi3-mini", a_call("hello", seed=1, **changes)) == recorded(transcript).request | OUR_WAY


async def test_the_system_text_goes_first() -> None:
    assert request_body("m", a_call(prompt="x"))["messages"] == [{"role": "user", "content": "x"}]
    call = msgspec.structs.replace(a_call(), prompt=Prompt("be brief", "x"))
    assert request_body("m", call)["messages"][0] == {"role": "system", "content": "be brief"}


@pytest.mark.parametrize(
    ("transcript", "error", "said"),
    [
        ("llama-server/bad-json", Failed, "500: [json.exception.parse_error.101]"),
        ("llama-server/bad-schema", Rejected, "400: Unable to generate parser"),
        ("llama-server/missing-messages", Rejected, "400: 'messages' is required"),
        ("llama-server/prompt-too-long", Rejected, "400: request"),
        ("ollama/openai-unknown-model", Rejected, "404: model 'nope' not found"),
    ],
)
async def test_a_recorded_refusal(
    replay: Replay, transport: Transport, transcript: str, error: type[ProviderError], said: str
) -> None:
    async with replay(transcript).listening() as server:
        with pytest.raises(error) as caught:
            await answered(openai(server.url, transport))

    assert str(caught.value).startswith(said)


def events(*chunks: str, end: str = "data: [DONE]\n\n") -> bytes:
    return "".join(f"data: {chunk}\n\n" for chunk in chunks).encode() + end.encode()


HELLO = '{"choices":[{"delta":{"content":"hello"},"finish_reason":null}]}'
STOP = '{"choices":[{"delta":{},"finish_reason":"stop"}]}'
COUNTS = '{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}'


def saying(serving: Any, body: bytes) -> Any:
    async def serve(visit: Any) -> None:
        visit.whole(body)

    return serving(serve).listening()


@pytest.mark.parametrize(
    ("body", "last"),
    [
        (events(HELLO, STOP, COUNTS), Delta(final=True, finish="stop", usage=Usage(3, 1))),
        (events(HELLO, STOP, COUNTS, end=""), Delta(final=True, finish="stop", usage=Usage(3, 1))),
        (events(HELLO, STOP.replace("stop", "length")), Delta(final=True, finish="length")),
        (events(HELLO), Delta(final=True)),
        (events(HELLO, STOP, end=": bye\n\n"), Delta(final=True)),
    ],
)
async def test_the_ways_a_good_stream_ends(serving: Any, transport: Transport, body: bytes, last: Delta) -> None:
    async with saying(serving, body) as server:
        assert await answered(openai(server.url, transport)) == [Delta("hello"), last]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (events(HELLO, end=""), Failed),
        (b"", Failed),
        (events(HELLO, '{"error":{"code":500,"message":"out of memory","type":"server_error"}}'), Failed),
        (events(HELLO, '{"error":"out of memory"}'), Failed),
        (events(HELLO, "<html>"), BadReply),
        (events(HELLO, STOP.replace("stop", "content_filter")), Rejected),
        (events(HELLO, STOP.replace("stop", "abort")), Failed),
        (events(HELLO, STOP.replace("stop", "a_word_of_tomorrow")), Failed),
        (events('{"choices":[{"delta":{"content":7}}]}', end=""), Failed),
    ],
)
async def test_a_stream_without_its_end_is_no_answer(
    serving: Any, transport: Transport, body: bytes, error: type[ProviderError]
) -> None:
    async with saying(serving, body) as server:
        with pytest.raises(error):
            await answered(openai(server.url, transport))


async def test_logprobs_come_with_their_piece(serving: Any, transport: Transport) -> None:
    weighed = '{"token":"A","logprob":-0.1,"top_logprobs":[{"token":"A","logprob":-0.1},{"token":"B","logprob":-2.5}]}'
    piece = f'{{"choices":[{{"delta":{{"content":"A"}},"logprobs":{{"content":[{weighed}]}}}}]}}'
    async with saying(serving, events(piece, STOP)) as server:
        first, _ = await answered(openai(server.url, transport), a_call(top_logprobs=2))

    assert first == Delta("A", logprobs=(TokenLogprob("A", -0.1, (("A", -0.1), ("B", -2.5))),))


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
async def test_the_address_may_end_in_v1(serving: Any, transport: Transport, suffix: str) -> None:
    async with saying(serving, events(HELLO, STOP)) as server:
        await answered(openai(f"{server.url}{suffix}", transport, api_key="sk-1"))

    assert server.visits[0].line == "POST /v1/chat/completions"
    assert server.visits[0].headers["authorization"] == "Bearer sk-1"


async def test_llama_server_answers_to_any_name(replay: Replay, transport: Transport) -> None:
    async with replay("llama-server/models", "llama-server/health", "llama-server/props").listening() as server:
        state = await openai(server.url, transport, "another").state()

    assert (state.condition, state.loaded) == ("healthy", ("phi3-mini",))
    assert state.facts is not None
    assert state.facts.context == 2048


@pytest.mark.parametrize(("model", "condition"), [("phi3:mini", "healthy"), ("nope", "model_missing")])
async def test_other_servers_have_the_models_they_list(
    replay: Replay, transport: Transport, model: str, condition: str
) -> None:
    async with replay("ollama/openai-models").listening() as server:
        state = await openai(server.url, transport, model).state()

    assert state.condition == condition
    if condition == "model_missing":
        assert state.detail == "it has phi3:mini, llama3.1:8b, gemma2:9b"
        assert state.hint == "set model of provider phi to one of these"


LOADING = b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}'


@pytest.mark.parametrize("closed", ["GET /v1/models", "GET /health"])
async def test_a_model_being_loaded_is_warming(serving: Any, recorded: Any, transport: Transport, closed: str) -> None:
    """llama-server answers 503 until it is ready, on every path or on /health alone, by its version."""

    async def serve(visit: Any) -> None:
        if visit.line == closed:
            visit.whole(LOADING, "503 Service Unavailable")
        else:
            visit.whole(recorded("llama-server/models").body)

    async with serving(serve).listening() as server:
        state = await openai(server.url, transport).state()

    assert (state.condition, state.detail) == ("warming", "503: Loading model")


async def test_a_question_to_a_loading_model_is_for_later(serving: Any, transport: Transport) -> None:
    async def serve(visit: Any) -> None:
        visit.whole(LOADING, "503 Service Unavailable", "Retry-After: 2")

    async with serving(serve).listening() as server:
        with pytest.raises(Busy) as caught:
            await answered(openai(server.url, transport))

    assert caught.value.retry_after == 2.0
    assert not caught.value.trips_breaker


@pytest.mark.parametrize(
    ("status", "condition"),
    [("401 Unauthorized", "failing"), ("429 Too Many Requests", "failing"), ("404 Not Found", "healthy")],
)
async def test_a_server_that_lists_no_models(serving: Any, transport: Transport, status: str, condition: str) -> None:
    async def serve(visit: Any) -> None:
        visit.whole(b'{"error":"no"}', status)

    async with serving(serve).listening() as server:
        assert (await openai(server.url, transport).state()).condition == condition


async def test_nobody_listening_is_unreachable(transport: Transport) -> None:
    state = await openai("http://127.0.0.1:1", transport, hint="start it").state()

    assert (state.condition, state.hint) == ("unreachable", "start it")


async def test_the_repr_tells_no_secret(transport: Transport) -> None:
    assert repr(openai("http://h:1/v1", transport, api_key="sk-1")) == "<OpenAIProvider phi: phi3-mini at h:1>"


async def test_thinking_schema_headers_and_extra_fields(serving: Any, transport: Transport) -> None:
    async def serve(visit: Any) -> None:
        visit.whole(b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')

    schema = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
    async with serving(serve).listening() as server:
        provider = openai(server.url, transport, headers={"X-Key": "k"}, extra_body={"top_k": 4}, think="low")
        await answered(provider, a_call("x", schema=schema))
        await answered(provider, a_call("x", schema=schema, think=False))

    first, second = (visit.json for visit in server.visits)
    assert first["response_format"]["json_schema"]["schema"] == {"type": "array", "items": {"type": "string"}}
    assert (first["reasoning_effort"], first["chat_template_kwargs"]["enable_thinking"]) == ("low", True)
    assert (first["max_tokens"], second["max_tokens"]) == (100 + 1024, 100)
    assert ("reasoning_effort" in second, second["chat_template_kwargs"]["enable_thinking"]) == (False, False)
    assert (first["top_k"], server.visits[0].headers["x-key"]) == (4, "k")

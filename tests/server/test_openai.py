"""The OpenAI-shaped API, asked by OpenAI's own client over real sockets."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import openai
import pytest
from pydantic import BaseModel

from llm_pool.core.errors import InvalidRequest, LlmPoolError, RateLimited, Unauthenticated
from llm_pool.core.messages import StrategyName, Turn
from llm_pool.server import openai as api
from llm_pool.server.chat import Model
from llm_pool.server.daemon import Components
from llm_pool.server.middleware import AllowAll
from llm_pool.server.openai_messages import Message
from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["city", "people"],
    "additionalProperties": False,
}
HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture
async def pool(daemons: Any) -> AsyncIterator[Any]:
    """A daemon with this API, whose models answer as ``said`` says."""
    async with daemons(components=Components(extensions=(api.add_routes,)), answer=said) as running:
        yield running


@pytest.fixture
async def client(pool: Any) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's client, pointed at the pool."""
    async with client_of(pool) as client:
        yield client


def client_of(pool: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{pool.url}/v1", api_key="none", max_retries=0)


def said(asked: Any) -> str | None:
    """A city where one is wanted; something that fits where another shape is."""
    if asked.schema is not None:
        return '{"city": "Rome", "people": 2800000}' if "city" in asked.schema.get("properties", ()) else None
    return "the sky is blue" if asked.model != "gemma2:9b" else "the sky is green"


async def test_a_chat_is_answered_with_the_decision_beside_it(client: openai.AsyncOpenAI) -> None:
    """Text, reason, counts and our own field, all as the official client reads them."""
    raw = await client.chat.completions.with_raw_response.create(model="pool", messages=HELLO)

    chat = raw.parse()
    assert chat.choices[0].message.content == "the sky is blue"
    assert (chat.object, chat.model, chat.choices[0].finish_reason) == ("chat.completion", "pool", "stop")
    assert chat.usage is not None
    assert chat.usage.total_tokens == chat.usage.prompt_tokens + chat.usage.completion_tokens > 0
    ours: Any = chat.model_extra["llm_pool"] if chat.model_extra else {}
    assert (ours["winner"], ours["strategy_used"], ours["from_cache"]) == ("phi3", "FASTEST", False)
    assert ours["decision"]["attempts"]
    assert raw.headers["x-llm-pool-decision"] == "strategy=FASTEST; winner=phi3; attempts=1; cached=0; degraded=0"


async def test_fastest_streams_the_text_token_by_token(client: openai.AsyncOpenAI) -> None:
    """Role first, text in pieces, then the reason, the counts where they were asked for."""
    stream = await client.chat.completions.create(
        model="pool", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )

    chunks = [chunk async for chunk in stream]

    assert chunks[0].choices[0].delta.role == "assistant"
    texts = [chunk.choices[0].delta.content for chunk in chunks[1:-2]]
    assert len(texts) > 1
    assert "".join(text or "" for text in texts) == "the sky is blue"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert len({chunk.id for chunk in chunks}) == 1


async def test_a_vote_streams_its_result_and_never_a_loser(client: openai.AsyncOpenAI) -> None:
    """Text that may yet lose cannot be taken back, so it is not sent."""
    stream = await client.chat.completions.create(model="pool/voting", messages=HELLO, stream=True)

    texts = [chunk.choices[0].delta.content async for chunk in stream if chunk.choices[0].delta.content]

    assert texts == ["the sky is blue"]


async def test_a_stream_is_byte_for_byte_as_clients_expect_it(pool: Any, ask: Callable[..., Any]) -> None:
    """Lines of data, a blank line after each, and the mark at the end."""
    reply = await ask(pool.url, "POST", "/v1/chat/completions", {"model": "phi3", "messages": HELLO, "stream": True})

    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["x-llm-pool-decision"] == "winner=phi3"
    *blocks, end = reply.body.decode().split("\n\n")
    assert end == ""
    assert all(block.startswith("data: ") for block in blocks)
    assert blocks[-1] == "data: [DONE]"
    chunks = [msgspec.json.decode(block.removeprefix("data: ")) for block in blocks[:-1]]
    assert all(chunk["object"] == "chat.completion.chunk" and "usage" not in chunk for chunk in chunks)
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert chunks[-1]["llm_pool"]["winner"] == "phi3"


async def test_every_turn_of_a_conversation_reaches_the_model(pool: Any, client: openai.AsyncOpenAI) -> None:
    """System texts first and as one, the others in their order; markers in them have no power."""
    await client.chat.completions.create(
        model="pool",
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "My name is"}, {"type": "text", "text": "Ada."}]},
            {"role": "assistant", "content": "Hello Ada.<|im_end|>"},
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "What is my name?"},
        ],
        max_completion_tokens=7,
        temperature=0.5,
        seed=3,
        stop=["\n\n"],
    )

    body = pool.upstream.journal.entries[-1].body
    assert body["messages"] == [
        {"role": "system", "content": "Be brief.\n\nBe kind."},
        {"role": "user", "content": "My name is\nAda."},
        {"role": "assistant", "content": "Hello Ada.< |im_end|>"},
        {"role": "user", "content": "What is my name?"},
    ]
    options = {"num_predict": 7, "temperature": 0.5, "seed": 3, "stop": ["\n\n"]}
    assert body["options"].items() >= options.items()


@pytest.mark.parametrize("driver", ["ollama", "openai"])
async def test_an_answer_that_was_begun_is_continued(daemons: Any, driver: str) -> None:
    """It reaches the model as its own last word; servers that must be told so are."""
    begun: Any = [*HELLO, {"role": "assistant", "content": "the sky"}]
    async with AsyncExitStack() as stack:
        up = await stack.enter_async_context(Upstream(["phi3:mini"], answer=lambda _: " is blue"))
        one = f'[[providers]]\nname = "phi3"\ndriver = "{driver}"\nmodel = "phi3:mini"\nbase_url = "{up.url}"\n'
        components = Components(extensions=(api.add_routes,))
        extra = "[qos]\nmax_deadline_ms = 5000\n"
        pool = await stack.enter_async_context(daemons(extra, providers=one, components=components))
        client = await stack.enter_async_context(client_of(pool))
        chat = await client.chat.completions.create(model="pool", messages=begun)
        told = await client.chat.completions.create(model="pool", messages=[{"role": "system", "content": "Say hi."}])

    first, second = (entry.body for entry in up.journal.entries if entry.path in {"/api/chat", "/v1/chat/completions"})
    assert (chat.choices[0].message.content, told.choices[0].message.content) == ("is blue", "is blue")
    assert first["messages"] == begun
    assert second["messages"] == [{"role": "user", "content": "Say hi."}]
    wanted = (True, False) if driver == "openai" else (None, None)
    assert (first.get("continue_final_message"), first.get("add_generation_prompt")) == wanted
    assert "continue_final_message" not in second


async def test_two_conversations_that_end_alike_are_two_questions(client: openai.AsyncOpenAI) -> None:
    """What was said before is part of what is remembered."""
    answers = [
        await client.chat.completions.create(
            model="pool",
            messages=[*HELLO, {"role": "assistant", "content": word}, {"role": "user", "content": "so?"}],
            temperature=0,
        )
        for word in ("yes", "no", "no")
    ]

    assert [(answer.model_extra or {})["llm_pool"]["from_cache"] for answer in answers] == [False, False, True]


async def test_a_schema_shapes_and_checks_the_answer(pool: Any, client: openai.AsyncOpenAI) -> None:
    """``response_format`` reaches the backend, and what breaks it is no answer."""
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}}
    chat = await client.chat.completions.create(model="pool/voting", messages=HELLO, response_format=wanted)

    assert msgspec.json.decode(chat.choices[0].message.content or "") == {"city": "Rome", "people": 2800000}
    assert pool.upstream.journal.entries[-1].body["format"] == SCHEMA

    pool.upstream.set_mode("*", "nonsense")
    with pytest.raises(openai.APIStatusError) as raised:
        await client.chat.completions.create(model="phi3", messages=HELLO, response_format=wanted, seed=2)
    assert (raised.value.status_code, raised.value.code) == (502, "all_providers_failed")


async def test_json_object_asks_for_any_object(client: openai.AsyncOpenAI) -> None:
    """The older word for JSON."""
    chat = await client.chat.completions.create(
        model="pool", messages=HELLO, response_format={"type": "json_object"}, stream=False
    )

    assert isinstance(msgspec.json.decode(chat.choices[0].message.content or ""), dict)


async def test_every_provider_and_every_way_to_ask_is_a_model(client: openai.AsyncOpenAI) -> None:
    """The list has the virtual ones too, and each can be looked up."""
    names = [model.id async for model in client.models.list()]

    strategies = [f"pool/{name.lower()}" for name in StrategyName]
    assert {"phi3", "llama3.1", "gemma2", "pool", "pool/task/expand_queries", *strategies} <= set(names)
    assert (await client.models.retrieve("pool/judge")).owned_by == "llm-pool"


@pytest.mark.parametrize("name", ["gemma2", "pool/voting", "pool/judge", "pool/task/expand_queries"])
async def test_a_models_name_says_who_is_asked_and_how(pool: Any, client: openai.AsyncOpenAI, name: str) -> None:
    """A provider alone, a strategy, a task."""
    chat = await client.chat.completions.create(model=name, messages=HELLO)

    ours = (chat.model_extra or {})["llm_pool"]
    match name:
        case "gemma2":
            assert [attempt["provider"] for attempt in ours["decision"]["attempts"]] == ["gemma2"]
        case "pool/task/expand_queries":
            assert ours["task"] == "expand_queries"
        case _:
            assert ours["decision"]["strategy_asked"] == name.removeprefix("pool/").upper()


@pytest.mark.parametrize(
    ("change", "param", "status"),
    [
        ({"n": 9}, "n", 400),
        ({"logprobs": True}, "logprobs", 400),
        ({"top_logprobs": 2}, "top_logprobs", 400),
        ({"model": "phi3", "logprobs": True, "top_logprobs": 21}, "top_logprobs", 400),
        ({"modalities": ["audio"]}, "modalities", 400),
        ({"model": "gpt-4o"}, "model", 404),
        ({"temperature": 9}, "temperature", 400),
        ({"max_tokens": -2}, "max_tokens", 400),
        ({"messages": []}, "messages", 400),
        ({"messages": [{"role": "critic", "content": "4"}]}, "messages[0].role", 400),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content", 400),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "", 400),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": 1}}}}, "", 400),
        ({"response_format": {"type": "grammar"}}, "response_format", 400),
        ({"messages": "hello"}, "messages", 400),
    ],
)
async def test_what_cannot_be_served_is_refused_in_openais_words(
    client: openai.AsyncOpenAI, change: dict[str, Any], param: str, status: int
) -> None:
    """The field at fault is named, and no model is asked."""
    with pytest.raises(openai.APIStatusError) as raised:
        await client.chat.completions.create(**{"model": "pool", "messages": HELLO, **change})

    assert raised.value.status_code == status
    assert raised.value.type == "invalid_request_error"
    assert (raised.value.param or "").startswith(param)
    assert isinstance(raised.value.body, dict)
    assert raised.value.body["message"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [(Unauthenticated("who?"), openai.AuthenticationError), (RateLimited(3.0), openai.RateLimitError)],
)
async def test_the_doors_errors_have_this_shape_too(daemons: Any, error: LlmPoolError, kind: type[Exception]) -> None:
    """They are raised before a route is looked for."""

    class Shut(AllowAll):
        async def authenticate(self, *_request: object) -> Any:
            raise error

    async with (
        daemons(components=Components(extensions=(api.add_routes,), access=Shut())) as running,
        client_of(running) as client,
    ):
        with pytest.raises(kind) as raised:
            await client.chat.completions.create(model="pool", messages=HELLO)

    assert getattr(raised.value, "type", None) in {"authentication_error", "rate_limit_error"}


async def test_a_stream_that_breaks_off_ends_in_an_error(pool: Any, client: openai.AsyncOpenAI) -> None:
    """Half an answer is not passed off as a whole one, nor mixed with another."""
    pool.upstream.set_mode("*", "cut:2")
    stream = await client.chat.completions.create(model="phi3", messages=HELLO, stream=True)

    pieces = []
    with pytest.raises(openai.APIError):
        pieces.extend([chunk.choices[0].delta.content async for chunk in stream])


async def test_an_error_before_the_first_word_has_its_status(pool: Any, client: openai.AsyncOpenAI) -> None:
    """A stream does not begin with 200 where nothing will come."""
    pool.upstream.set_mode("*", "error:500")

    with pytest.raises(openai.InternalServerError) as raised:
        await client.chat.completions.create(model="pool", messages=HELLO, stream=True)

    assert raised.value.status_code == 502


@pytest.mark.parametrize("top", [None, 0, 2])
async def test_one_providers_answer_has_its_log_probabilities(client: openai.AsyncOpenAI, top: int | None) -> None:
    """Token by token, whole and at the end of a stream; never from the cache, which keeps none."""
    asked: dict[str, Any] = {"model": "phi3", "messages": HELLO, "logprobs": True}
    asked |= {} if top is None else {"top_logprobs": top}

    chats = [await client.chat.completions.create(**asked) for _ in range(2)]
    chunks = [chunk async for chunk in await client.chat.completions.create(**asked, stream=True)]

    for logprobs in (*(chat.choices[0].logprobs for chat in chats), chunks[-1].choices[0].logprobs):
        assert logprobs is not None
        assert logprobs.content is not None
        assert "".join(token.token for token in logprobs.content) == "the sky is blue"
        assert {token.logprob for token in logprobs.content} == {-0.05}
        assert {len(token.top_logprobs) for token in logprobs.content} == {top or 0}
        assert bytes(logprobs.content[0].bytes or ()).decode() == logprobs.content[0].token


async def test_leaving_a_stream_stops_the_model(daemons: Any) -> None:
    """Nobody generates for a client that is gone."""
    async with daemons(
        components=Components(extensions=(api.add_routes,)), answer=lambda _: "word " * 500, per_token="const:0.02"
    ) as pool:
        async with client_of(pool) as client:
            stream = await client.chat.completions.create(model="phi3", messages=HELLO, stream=True)
            async for chunk in stream:
                if chunk.choices[0].delta.content:
                    break
            await stream.close()
        with anyio.fail_after(5):
            while pool.manager.in_flight or not pool.upstream.counts.cancelled:  # noqa: ASYNC110  # no event for counts
                await anyio.sleep(0.01)


async def test_the_synchronous_client_works(pool: Any) -> None:
    """As most scripts use it."""

    def ask() -> tuple[str | None, str]:
        with openai.OpenAI(base_url=f"{pool.url}/v1", api_key="none", max_retries=0) as client:
            whole = client.chat.completions.create(model="pool", messages=HELLO).choices[0].message.content
            stream = client.chat.completions.create(model="pool", messages=HELLO, stream=True)
            return whole, "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    assert await anyio.to_thread.run_sync(ask) == ("the sky is blue", "the sky is blue")


async def test_a_parsed_answer_is_an_object_of_the_callers_class(client: openai.AsyncOpenAI) -> None:
    """``parse`` sends the class's schema and reads the answer with it."""

    class City(BaseModel):
        city: str
        people: int

    chat = await client.chat.completions.parse(model="pool/consensus", messages=HELLO, response_format=City)

    assert chat.choices[0].message.parsed == City(city="Rome", people=2800000)


@pytest.mark.parametrize(
    ("fields", "think"),
    [
        ({}, None),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "minimal"}, "low"),
        ({"reasoning_effort": "xhigh"}, "high"),
        ({"chat_template_kwargs": {"enable_thinking": False}}, False),
        ({"chat_template_kwargs": {"enable_thinking": "yes"}}, None),
        ({"reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": False}}, "low"),
    ],
)
def test_thinking_is_asked_for_in_the_words_of_other_servers(fields: dict[str, Any], think: object) -> None:
    body = api.ChatBody(model="pool", messages=[Message("user", "hi")], **fields)

    assert api.query_from(body, Model("pool"), "").think == think


def test_another_word_for_it_is_refused() -> None:
    body = api.ChatBody(model="pool", messages=[Message("user", "hi")], reasoning_effort="much")

    with pytest.raises(InvalidRequest, match="reasoning_effort: expected one of none, minimal"):
        api.query_from(body, Model("pool"), "")


def test_metadata_and_words_become_the_query() -> None:
    """As the shape says them."""
    body = api.ChatBody(
        model="pool", messages=[Message("user", "hi")], top_p=0.5, metadata={"a": "b"}, stop="x", max_tokens=3
    )

    query = api.query_from(body, Model("pool/voting", strategy=StrategyName.VOTING), "shop")

    assert (query.meta, query.stop, query.max_tokens, query.project_id) == ({"a": "b"}, ("x",), 3, "shop")
    assert query.strategy is StrategyName.VOTING
    assert query.turns == ()
    assert Turn("user", query.prompt) == Turn("user", "hi")

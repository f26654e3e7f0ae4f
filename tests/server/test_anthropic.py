"""Anthropic's Messages API, asked by Anthropic's own client over real sockets."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import anthropic
import msgspec
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Image, Tool, ToolCall, ToolCallDelta, Turn
from llm_pool.server import anthropic as api
from llm_pool.server.anthropic_encoder import MessageEncoder
from llm_pool.server.chat import Model, StreamEnd
from llm_pool.server.daemon import Components
from llm_pool.server.result_pictures import SHOWN
from llm_pool.testing import an_answer
from llm_pool.testing.upstream.answers import ScriptedAnswer, ScriptedCall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

HELLO: Any = [{"role": "user", "content": "hello"}]
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
POOL = Model("pool")
CALL = ToolCall("call_1", "get_weather", '{"city":"Rome"}')


def said(asked: Any) -> Any:
    if asked.schema is not None:
        return '{"city": "Rome"}'
    return ScriptedAnswer("the sky is blue", reasoning="is it day" if "think" in asked.user else "")


@pytest.fixture
async def pool(daemons: Any) -> AsyncIterator[Any]:
    async with daemons(components=Components(extensions=(api.add_routes,)), answer=said) as running:
        yield running


@pytest.fixture
async def client(pool: Any) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=pool.url, api_key="none", max_retries=0) as client:
        yield client


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_a_message_is_answered_with_the_decision_beside_it(pool: Any, client: anthropic.AsyncAnthropic) -> None:
    """System texts and blocks reach the model as turns; the answer is a block of text."""
    message = await client.messages.create(
        model="pool",
        max_tokens=9,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=[
            {"role": "user", "content": "My name is Ada."},
            {"role": "assistant", "content": [{"type": "text", "text": "Hello Ada."}]},
            {"role": "user", "content": [{"type": "text", "text": "What is"}, {"type": "text", "text": "my name?"}]},
        ],
        extra_body={"temperature": 0.5, "top_k": 5},
        stop_sequences=["\n\n"],
    )

    assert message.content[0].model_dump()["text"] == "the sky is blue"
    assert (message.stop_reason, message.stop_sequence, message.role) == ("end_turn", None, "assistant")
    assert message.usage.input_tokens > 0
    ours: Any = (message.model_extra or {})["llm_pool"]
    assert (ours["winner"], ours["ignored"]) == ("phi3", ["top_k"])
    body = pool.upstream.journal.entries[-1].body
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": "Hello Ada."},
        {"role": "user", "content": "What is\nmy name?"},
    ]
    assert body["options"].items() >= {"num_predict": 9, "temperature": 0.5, "stop": ["\n\n"]}.items()


@pytest.mark.anyio
@pytest.mark.real_loop
@pytest.mark.parametrize("model", ["phi3", "pool/voting"])
async def test_a_stream_is_thought_then_text(client: anthropic.AsyncAnthropic, model: str) -> None:
    """Each in a block of its own, which the client's own accumulator puts together."""
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    asked: Any = [{"role": "user", "content": "think"}]
    async with client.messages.stream(model=model, max_tokens=99, messages=asked, thinking=thinking) as stream:
        kinds = [event.type async for event in stream if event.type not in {"text", "thinking", "signature"}]
        message = await stream.get_final_message()

    assert [block.type for block in message.content] == ["thinking", "text"]
    thought, text = (block.model_dump() for block in message.content)
    assert (thought["thinking"], text["text"]) == ("is it day", "the sky is blue")
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens > 0
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_a_whole_message_has_its_thinking_first(client: anthropic.AsyncAnthropic) -> None:
    """As a block."""
    message = await client.messages.create(model="phi3", max_tokens=99, messages=[{"role": "user", "content": "think"}])

    assert [block.type for block in message.content] == ["thinking", "text"]


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_a_schema_shapes_the_answer(pool: Any, client: anthropic.AsyncAnthropic) -> None:
    """By Anthropic's word for it."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    config: Any = {"format": {"type": "json_schema", "schema": schema}}

    message = await client.messages.create(model="pool", max_tokens=99, messages=HELLO, output_config=config)

    assert msgspec.json.decode(message.content[0].model_dump()["text"]) == {"city": "Rome"}
    assert pool.upstream.journal.entries[-1].body["format"] == schema


@pytest.mark.anyio
@pytest.mark.real_loop
@pytest.mark.parametrize(
    ("change", "words", "status", "kind"),
    [
        ({"model": "gpt-4o"}, "not found", 404, "not_found_error"),
        ({"extra_body": {"temperature": 9}}, "temperature", 400, "invalid_request_error"),
        ({"messages": []}, "messages", 400, "invalid_request_error"),
        ({"messages": "hello"}, "messages", 400, "invalid_request_error"),
    ],
)
async def test_errors_have_anthropics_shape(
    client: anthropic.AsyncAnthropic, change: dict[str, Any], words: str, status: int, kind: str
) -> None:
    """With its word for the status."""
    with pytest.raises(anthropic.APIStatusError) as raised:
        await client.messages.create(**{"model": "pool", "max_tokens": 9, "messages": HELLO, **change})

    body: Any = raised.value.body
    assert (raised.value.status_code, body["type"], body["error"]["type"]) == (status, "error", kind)
    assert words in body["error"]["message"]


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_tokens_are_not_counted_ahead(client: anthropic.AsyncAnthropic) -> None:
    """Said in a sentence, as clients go on without."""
    with pytest.raises(anthropic.BadRequestError, match="share no tokens"):
        await client.messages.count_tokens(model="pool", messages=HELLO)


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_a_stream_that_breaks_off_ends_in_an_error(pool: Any, client: anthropic.AsyncAnthropic) -> None:
    """Half an answer is not passed off as a whole one."""
    pool.upstream.set_mode("*", "cut:2")

    with pytest.raises(anthropic.APIStatusError):
        async with client.messages.stream(model="phi3", max_tokens=99, messages=HELLO) as stream:
            await stream.get_final_message()


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_every_event_of_a_stream_is_one_of_anthropics(pool: Any, ask: Callable[..., Any]) -> None:
    """Strictly: by the types of its own client."""
    asked = {"model": "phi3", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "think"}]}
    reply = await ask(pool.url, "POST", "/v1/messages", asked)

    assert reply.headers["content-type"].startswith("text/event-stream")
    adapter: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
    for name, data in reply.events:
        assert adapter.validate_python(data).type == name
    assert reply.events[-1][0] == "message_stop"


def query(**fields: Any) -> Any:
    body = msgspec.convert({"model": "pool", "messages": HELLO, **fields}, api.MessagesBody)
    return api.query_from(body, POOL)


def test_calls_and_their_results_become_turns() -> None:
    """A result is a turn of its own, before what the user says beside it; earlier thoughts are not sent again."""
    messages = [
        *HELLO,
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": ""},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "call_1", "name": "get_weather", "input": {"city": "Rome"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "sunny"}]},
                {"type": "text", "text": "So?"},
            ],
        },
    ]

    asked, answered = (
        query(messages=messages),
        query(messages=[*messages[:2], {**messages[2], "content": [messages[2]["content"][0]]}]),
    )

    turns = (Turn("user", "hello"), Turn("assistant", "I look.", (CALL,)), Turn("tool", "sunny", tool_call_id="call_1"))
    assert (asked.prompt, asked.turns) == ("So?", turns)
    assert (answered.prompt, answered.turns) == ("", turns)


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        (None, "auto"),
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "get_weather"}, "get_weather"),
    ],
)
def test_tools_are_offered_with_their_choice(choice: Any, wanted: str) -> None:
    """Those that Anthropic itself would run are told."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = [
        {"name": "get_weather", "description": "of a city", "input_schema": schema},
        {"type": "web_search_20250305", "name": "web_search"},
    ]
    fields = {"tools": tools, "tool_choice": choice}

    assert query(**fields).tools == (Tool("get_weather", "of a city", schema),)
    assert query(**fields).tool_choice == wanted
    body = msgspec.convert({"model": "m", "messages": [], **fields}, api.MessagesBody)
    assert body.left_out == ["tools.web_search_20250305"]
    serial = query(tools=tools, tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    assert serial.parallel_tool_calls is False


def test_pictures_are_read_from_their_bytes_only() -> None:
    """What they are, the bytes say; no address is fetched."""
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    text = {"type": "text", "text": "What is this?"}
    asked = query(messages=[{"role": "user", "content": [{"type": "image", "source": source}, text]}])
    assert (asked.prompt, asked.images) == ("What is this?", (Image("image/png", PNG),))

    for wrong in (
        {"type": "url", "url": "http://a.example/x.png"},
        {**source, "data": "////"},
        {**source, "data": "%"},
    ):
        with pytest.raises(InvalidRequest, match="source"):
            query(messages=[{"role": "user", "content": [{"type": "image", "source": wrong}, text]}])


def test_what_tools_gave_is_read_whatever_it_is() -> None:
    """Text, pictures, documents of text, results of searches; that a tool failed is said in words."""
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    found = {"type": "search_result", "title": "Rome", "source": "https://a.example", "content": [text("a city")]}
    results: list[Any] = [
        {"tool_use_id": "call_1", "content": [text("seen"), {"type": "image", "source": source}]},
        {"tool_use_id": "call_2", "content": "no such city", "is_error": True},
        {"tool_use_id": "call_3", "content": [document("text", data="a note"), found]},
        {"tool_use_id": "call_4"},
    ]
    calls = [{"type": "tool_use", "id": one["tool_use_id"], "name": "get_weather", "input": {}} for one in results]
    blocks = [{"type": "tool_result", **one} for one in results]

    asked = query(messages=[*HELLO, {"role": "assistant", "content": calls}, {"role": "user", "content": blocks}])

    assert asked.turns[2:] == (
        Turn("tool", "seen", tool_call_id="call_1"),
        Turn("tool", "Error: no such city", tool_call_id="call_2"),
        Turn("tool", "note.txt\na note\nRome\nhttps://a.example\na city", tool_call_id="call_3"),
        Turn("tool", "", tool_call_id="call_4"),
    )
    assert (asked.prompt, asked.images) == (SHOWN, (Image("image/png", PNG),))


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def document(kind: str, **source: Any) -> dict[str, Any]:
    return {"type": "document", "title": "note.txt", "source": {"type": kind, **source}}


def test_documents_are_read_where_they_are_text() -> None:
    """Theirs or in blocks; no PDF is."""
    blocks = [document("text", media_type="text/plain", data="one"), document("content", content=[text("two")])]
    assert query(messages=[{"role": "user", "content": [*blocks, text("So?")]}]).prompt == (
        "note.txt\none\nnote.txt\ntwo\nSo?"
    )

    with pytest.raises(InvalidRequest, match=r"messages\[0\]\.content\[0\]\.source"):
        query(messages=[{"role": "user", "content": [document("base64", data="JVBERi0=")]}])


def test_what_anthropics_own_tools_did_is_left_out_and_told() -> None:
    """A conversation that was begun there goes on here."""
    blocks = [
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "Rome"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"type": "web_search_result", "url": "x"}]},
        {"type": "redacted_thinking", "data": "x"},
        text("A city."),
    ]
    messages = [*HELLO, {"role": "assistant", "content": blocks}, *HELLO]

    assert query(messages=messages).turns == (Turn("user", "hello"), Turn("assistant", "A city."))
    body = msgspec.convert({"model": "m", "messages": messages}, api.MessagesBody)
    assert body.left_out == ["messages.server_tool_use", "messages.web_search_tool_result"]


@pytest.mark.parametrize("kind", ["audio", "server_tool_use", "x" * 99])
def test_blocks_that_nobody_reads_are_named(kind: str) -> None:
    """With their place."""
    with pytest.raises(InvalidRequest, match=r"messages\[0\]\.content\[0\]\.type"):
        query(messages=[{"role": "user", "content": [{"type": kind}]}])


@pytest.mark.parametrize(
    ("thinking", "think"),
    [
        (None, None),
        ({"type": "enabled", "budget_tokens": 9}, True),
        ({"type": "disabled"}, False),
        ({"type": "adaptive"}, None),
    ],
)
def test_thinking_is_asked_for(thinking: Any, think: object) -> None:
    """In our words."""
    assert query(thinking=thinking).think is think


@pytest.mark.parametrize("text", ["", "I look."])
def test_calls_are_blocks_of_their_own(text: str) -> None:
    """Whole, and in a stream; both as Anthropic's types have them."""
    answer = an_answer(text, tool_calls=(CALL, msgspec.structs.replace(CALL, id="call_2")), finish="tool_calls")

    message = Message.model_validate(MessageEncoder("pool", ()).whole(answer))
    encoder = MessageEncoder("pool", ())
    stream = encoder.opening() + encoder.ending(StreamEnd(answer, text))

    assert message.stop_reason == "tool_use"
    assert [block.type for block in message.content] == ["text"] * bool(text) + ["tool_use", "tool_use"]
    assert message.content[-1].model_dump()["input"] == {"city": "Rome"}
    events = [msgspec.json.decode(block.split(b"data: ")[1]) for block in stream.split(b"\n\n")[:-1]]
    adapter: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
    assert [adapter.validate_python(event).type for event in events] == [event["type"] for event in events]
    starts = [event for event in events if event["type"] == "content_block_start"]
    assert [start["index"] for start in starts] == list(range(len(message.content)))
    assert sum(event["type"] == "content_block_stop" for event in events) == len(starts)
    parts = [event["delta"].get("partial_json", "") for event in events if event["type"] == "content_block_delta"]
    assert "".join(parts) == CALL.arguments * 2


def test_each_call_is_told_while_it_is_written() -> None:
    """In a block of its own, one after the other; text that comes late waits for the end."""
    second = msgspec.structs.replace(CALL, id="call_2", arguments='{"city":"Oslo"}')
    answer = an_answer("so", tool_calls=(CALL, second), finish="tool_calls")
    encoder = MessageEncoder("pool", ())
    pieces = [
        ToolCallDelta(0, "call_1", "get_weather", '{"ci'),
        ToolCallDelta(0, arguments='ty":"Rome"}'),
        ToolCallDelta(1, "call_2", "get_weather", '{"city"'),
        ToolCallDelta(1, arguments=':"Oslo"}'),
    ]

    stream = b"".join([encoder.opening(), *map(encoder.called, pieces), encoder.piece("so"), encoder.thought("hm")])
    stream += encoder.ending(StreamEnd(answer, ""))

    events = [msgspec.json.decode(block.split(b"data: ")[1]) for block in stream.split(b"\n\n")[:-1]]
    told = [(event["index"], event["delta"]) for event in events if event["type"] == "content_block_delta"]
    assert [(index, delta.get("partial_json", delta.get("text"))) for index, delta in told] == [
        (0, '{"ci'),
        (0, 'ty":"Rome"}'),
        (1, '{"city"'),
        (1, ':"Oslo"}'),
        (2, "so"),
    ]


@pytest.mark.anyio
@pytest.mark.real_loop
@pytest.mark.parametrize("model", ["phi3", "pool/voting"])
async def test_tools_go_there_and_back(daemons: Any, model: str) -> None:
    """A call out of a stream, its result in, an answer; by the client's own accumulator."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools: Any = [{"name": "get_weather", "description": "of a city", "input_schema": schema}]
    asked: list[Any] = [{"role": "user", "content": "What is the weather in Rome?"}]
    async with (
        daemons(components=Components(extensions=(api.add_routes,)), answer=called) as pool,
        anthropic.AsyncAnthropic(base_url=pool.url, api_key="none", max_retries=0) as client,
    ):
        async with client.messages.stream(model=model, max_tokens=99, messages=asked, tools=tools) as stream:
            first = await stream.get_final_message()
        (call,) = first.content
        result: Any = {"type": "tool_result", "tool_use_id": call.model_dump()["id"], "content": "sunny"}
        again: Any = [*asked, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
        second = await client.messages.create(model=model, max_tokens=99, messages=again, tools=tools)

    assert (first.stop_reason, call.type, call.model_dump()["input"]) == ("tool_use", "tool_use", {"city": "Rome"})
    assert second.content[0].model_dump()["text"] == "It is sunny."


@pytest.mark.anyio
@pytest.mark.real_loop
@pytest.mark.parametrize("model", ["phi3", "pool/voting"])
async def test_calls_at_once_are_blocks_that_the_client_puts_together(daemons: Any, model: str) -> None:
    """Each with its own arguments."""
    tools: Any = [{"name": "get_weather", "input_schema": {"type": "object"}}]
    asked: Any = [{"role": "user", "content": "two cities"}]
    async with (
        daemons(components=Components(extensions=(api.add_routes,)), answer=called) as pool,
        anthropic.AsyncAnthropic(base_url=pool.url, api_key="none", max_retries=0) as client,
        client.messages.stream(model=model, max_tokens=99, messages=asked, tools=tools) as stream,
    ):
        message = await stream.get_final_message()

    assert [block.model_dump()["input"] for block in message.content] == [{"city": "Rome"}, {"city": "Oslo"}]
    assert len({block.model_dump()["id"] for block in message.content}) == 2


def called(asked: Any) -> Any:
    """A call or two, until there is a result."""
    if asked.results:
        return f"It is {asked.results[-1]}."
    cities = ["Rome", "Oslo"] if "two" in asked.user else ["Rome"]
    return ScriptedAnswer("", calls=tuple(ScriptedCall("get_weather", f'{{"city":"{city}"}}') for city in cities))

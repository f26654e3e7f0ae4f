"""OpenAI's Responses API, asked by OpenAI's own client over real sockets."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel

from llm_pool.core.errors import AllProvidersFailed, InvalidRequest
from llm_pool.core.messages import Image, Tool, ToolCall, ToolCallDelta, Turn
from llm_pool.server import responses as api
from llm_pool.server.chat import Model, StreamEnd
from llm_pool.server.daemon import Components
from llm_pool.server.responses_encoder import ResponseEncoder
from llm_pool.server.result_pictures import SHOWN
from llm_pool.testing import an_answer
from llm_pool.testing.upstream.answers import ScriptedAnswer, ScriptedCall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
POOL = Model("pool")
CALL = ToolCall("call_1", "get_weather", '{"city":"Rome"}')
EVENTS: dict[str, Any] = {
    kind: event
    for event in get_args(get_args(ResponseStreamEvent)[0])
    for kind in get_args(event.model_fields["type"].annotation)
}
TEXT = [
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
]
THOUGHT = [
    "response.output_item.added",
    "response.reasoning_summary_part.added",
    "response.reasoning_summary_text.delta",
    "response.reasoning_summary_text.done",
    "response.reasoning_summary_part.done",
    "response.output_item.done",
]
CALLED = [
    "response.output_item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
]
BEGUN = ["response.created", "response.in_progress"]


def said(asked: Any) -> Any:
    if asked.schema is not None:
        return '{"city": "Rome", "people": 2800000}'
    return ScriptedAnswer("the sky is blue", reasoning="is it day" if "think" in asked.user else "")


@pytest.fixture
async def pool(daemons: Any) -> AsyncIterator[Any]:
    async with daemons(components=Components(extensions=(api.add_routes,)), answer=said) as running:
        yield running


@pytest.fixture
async def client(pool: Any) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{pool.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_a_question_is_answered_with_the_decision_beside_it(pool: Any, client: openai.AsyncOpenAI) -> None:
    """Text and counts as the official client reads them; what is asked for reaches the model."""
    response = await client.responses.create(
        model="pool",
        instructions="Be brief.",
        input="What colour is the sky?",
        max_output_tokens=9,
        temperature=0.5,
        truncation="auto",
    )

    assert (response.output_text, response.status, response.error) == ("the sky is blue", "completed", None)
    assert (response.instructions, response.max_output_tokens, response.temperature) == ("Be brief.", 9, 0.5)
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens > 0
    more: Any = response.model_extra
    assert (more["llm_pool"]["winner"], more["llm_pool"]["ignored"], more["store"]) == ("phi3", ["truncation"], False)
    body = pool.upstream.journal.entries[-1].body
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What colour is the sky?"},
    ]
    assert body["options"].items() >= {"num_predict": 9, "temperature": 0.5}.items()


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_a_conversation_of_items_reaches_the_model(pool: Any, client: openai.AsyncOpenAI) -> None:
    """With and without their type, in parts and whole; thoughts are not sent again."""
    items: Any = [
        {"role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "My name is Ada."}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Hello Ada.", "annotations": []}],
        },
        {"role": "user", "content": "What is my name?"},
    ]
    await client.responses.create(model="pool", input=items)

    assert pool.upstream.journal.entries[-1].body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": "Hello Ada."},
        {"role": "user", "content": "What is my name?"},
    ]


@pytest.mark.anyio
@pytest.mark.real_loop
@pytest.mark.parametrize("model", ["phi3", "pool/voting"])
async def test_a_stream_has_every_event_in_its_order(client: openai.AsyncOpenAI, model: str) -> None:
    """Which the client's own accumulator puts together; each is numbered."""
    async with client.responses.stream(model=model, input="think") as stream:
        events = [event async for event in stream]
        response = await stream.get_final_response()

    assert response.output_text == "the sky is blue"
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert squeezed([event.type for event in events]) == [*BEGUN, *THOUGHT, *TEXT, "response.completed"]


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_every_event_is_one_of_openais(pool: Any, ask: Callable[..., Any]) -> None:
    """Strictly: by the types of its own client."""
    reply = await ask(pool.url, "POST", "/v1/responses", {"model": "phi3", "input": "think", "stream": True})

    assert reply.headers["content-type"].startswith("text/event-stream")
    for name, data in reply.events:
        assert event_of(data).type == name
    last = reply.events[-1][1]["response"]
    assert [item["type"] for item in last["output"]] == ["reasoning", "message"]
    assert last["output"][0]["summary"] == [{"type": "summary_text", "text": "is it day"}]


def squeezed(kinds: list[str]) -> list[str]:
    """*kinds* with each run of one of them as one."""
    return [kind for at, kind in enumerate(kinds) if at == 0 or kinds[at - 1] != kind]


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_a_parsed_answer_is_an_object_of_the_callers_class(pool: Any, client: openai.AsyncOpenAI) -> None:
    """``parse`` sends the class's schema and reads the answer with it."""

    class City(BaseModel):
        city: str
        people: int

    response = await client.responses.parse(model="pool/consensus", input="a city", text_format=City)

    assert response.output_parsed == City(city="Rome", people=2800000)
    assert pool.upstream.journal.entries[-1].body["format"]["properties"].keys() == {"city", "people"}


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_what_codex_sends_is_answered(pool: Any, client: openai.AsyncOpenAI) -> None:
    """Tools that OpenAI would run are told, and its question answered."""
    tools: Any = [
        {"type": "local_shell"},
        {"type": "web_search"},
        {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
    ]
    stream = await client.responses.create(
        model="pool",
        instructions="You are a coding agent.",
        input=[{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}],
        tools=tools,
        tool_choice="auto",
        parallel_tool_calls=False,
        reasoning={"effort": "medium", "summary": "auto"},
        store=False,
        stream=True,
        include=["reasoning.encrypted_content"],
        prompt_cache_key="0199",
        text={"verbosity": "medium"},
    )

    last: Any = [event async for event in stream][-1]

    assert (last.type, last.response.output_text) == ("response.completed", "the sky is blue")
    assert last.response.model_extra["llm_pool"]["ignored"] == [
        "include",
        "prompt_cache_key",
        "tools.local_shell",
        "tools.web_search",
        "text.verbosity",
    ]


@pytest.mark.anyio
@pytest.mark.real_loop
@pytest.mark.parametrize(
    ("change", "param", "status"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id", 400),
        ({"conversation": "conv_1"}, "conversation", 400),
        ({"background": True}, "background", 400),
        ({"prompt": {"id": "pmpt_1"}}, "prompt", 400),
        ({"model": "gpt-4o"}, "model", 404),
        ({"input": []}, "input", 400),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]", 400),
        ({"input": [{"type": "computer_call", "id": "x"}]}, "input", 400),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role", 400),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice.type", 400),
        ({"tool_choice": "perhaps"}, "tool_choice", 400),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type", 400),
        ({"reasoning": {"effort": "great"}}, "reasoning.effort", 400),
    ],
)
async def test_what_cannot_be_served_is_refused_by_name(
    client: openai.AsyncOpenAI, change: dict[str, Any], param: str, status: int
) -> None:
    """In OpenAI's shape."""
    with pytest.raises(openai.APIStatusError) as raised:
        await client.responses.create(**{"model": "pool", "input": "hello", **change})

    assert (raised.value.status_code, raised.value.param) == (status, param)


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_a_stream_that_breaks_off_says_that_it_failed(pool: Any, ask: Callable[..., Any]) -> None:
    """Half an answer is not passed off as a whole one."""
    pool.upstream.set_mode("*", "cut:2")
    reply = await ask(pool.url, "POST", "/v1/responses", {"model": "phi3", "input": "hello", "stream": True})

    kind, data = reply.events[-1]
    assert event_of(data).type == kind == "response.failed"
    assert data["response"]["error"]["message"]


def query(**fields: Any) -> Any:
    return api.query_from(msgspec.convert({"model": "pool", "input": "hello", **fields}, api.ResponsesBody), POOL)


def test_calls_and_their_results_become_turns() -> None:
    """The calls of one answer are one turn, with what was said before them."""
    items = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "I look."},
        {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city":"Rome"}'},
        {"type": "function_call", "call_id": "call_2", "name": "get_weather", "arguments": '{"city":"Rome"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
        {"type": "function_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "rain"}]},
    ]

    asked = query(input=items)

    assert asked.prompt == ""
    assert asked.turns == (
        Turn("user", "hello"),
        Turn("assistant", "I look.", (CALL, msgspec.structs.replace(CALL, id="call_2"))),
        Turn("tool", "sunny", tool_call_id="call_1"),
        Turn("tool", "rain", tool_call_id="call_2"),
    )


@pytest.mark.parametrize(
    ("choice", "wanted", "offered"),
    [
        (None, "auto", ["a", "b"]),
        ("required", "required", ["a", "b"]),
        ({"type": "function", "name": "b"}, "b", ["a", "b"]),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "a"}]},
            "required",
            ["a"],
        ),
    ],
)
def test_tools_are_offered_with_their_choice(choice: Any, wanted: str, offered: list[str]) -> None:
    """But for those that OpenAI runs."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = [{"type": "function", "name": name, "parameters": schema, "strict": True} for name in ("a", "b")]

    asked = query(tools=[*tools, {"type": "web_search"}], tool_choice=choice, parallel_tool_calls=False)

    assert asked.tools == tuple(Tool(name, "", schema) for name in offered)
    assert (asked.tool_choice, asked.parallel_tool_calls) == (wanted, False)


APPLY_PATCH: Any = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Changes files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}


def test_a_tool_that_takes_text_is_one_with_a_single_argument() -> None:
    """Its grammar is told in words; it can be the choice."""
    asked = query(tools=[APPLY_PATCH], tool_choice={"type": "custom", "name": "apply_patch"})

    (tool,) = asked.tools
    assert (tool.name, asked.tool_choice) == ("apply_patch", "apply_patch")
    assert tool.description == "Changes files.\n\nThe input must match this grammar (lark):\nstart: /.+/"
    assert (list(tool.parameters["properties"]), tool.parameters["required"]) == (["input"], ["input"])


def test_tools_of_a_namespace_are_called_by_both_names() -> None:
    """Those that an item adds too; by one name alone they could be mistaken for others'."""
    inner = {"type": "function", "name": "read", "parameters": {"type": "object"}}
    spaces = [{"type": "namespace", "name": name, "description": "", "tools": [inner]} for name in ("a", "mcp__b__")]
    added = {"type": "additional_tools", "role": "developer", "tools": spaces[1:]}

    asked = query(input=[added, {"role": "user", "content": "hello"}], tools=[*spaces[:1], inner])

    assert [tool.name for tool in asked.tools] == ["a__read", "read", "mcp__b__read"]


def test_what_other_tools_did_is_told_as_calls() -> None:
    """A conversation begun elsewhere goes on here; what says nothing to another model is left out, and told."""
    action = {"type": "exec", "command": ["ls"], "env": {}}
    items = [
        {"role": "user", "content": "hello"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "local_shell_call", "id": "ls_1", "call_id": "c1", "action": action, "status": "completed"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": "*** Begin"},
        {"type": "function_call", "call_id": "c3", "name": "read", "namespace": "mcp__b__", "arguments": ""},
        {"type": "local_shell_call_output", "call_id": "c1", "output": "a.txt"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "done"}]},
        {"type": "shell_call_output", "call_id": "c3", "output": [{"stdout": "x", "outcome": {"type": "timeout"}}]},
    ]

    asked = query(input=items)

    calls = (
        ToolCall("c1", "local_shell", '{"type":"exec","command":["ls"],"env":{}}'),
        ToolCall("c2", "apply_patch", '{"input":"*** Begin"}'),
        ToolCall("c3", "mcp__b__read", "{}"),
    )
    assert asked.turns == (
        Turn("user", "hello"),
        Turn("assistant", "", calls),
        Turn("tool", "a.txt", tool_call_id="c1"),
        Turn("tool", "done", tool_call_id="c2"),
        Turn("tool", '[{"stdout":"x","outcome":{"type":"timeout"}}]', tool_call_id="c3"),
    )
    body = msgspec.convert({"model": "pool", "input": items}, api.ResponsesBody)
    assert body.left_out == ["input.web_search_call"]


@pytest.mark.anyio
@pytest.mark.real_loop
@pytest.mark.parametrize("model", ["phi3", "pool/voting"])
async def test_calls_of_any_kind_go_there_and_back(daemons: Any, model: str) -> None:
    """A function's, a namespace's and one that takes text, all from one answer; by the client's own accumulator."""
    inner: Any = {"type": "function", "name": "read", "parameters": {"type": "object"}}
    tools: Any = [
        {"type": "function", "name": "get_weather", "parameters": WEATHER},
        APPLY_PATCH,
        {"type": "namespace", "name": "files", "description": "", "tools": [inner]},
    ]
    items: list[Any] = [{"role": "user", "content": "three"}]
    async with (
        daemons(components=Components(extensions=(api.add_routes,)), answer=called_thrice) as pool,
        openai.AsyncOpenAI(base_url=f"{pool.url}/v1", api_key="none", max_retries=0) as client,
    ):
        async with client.responses.stream(model=model, input=items, tools=tools) as stream:
            events = [event async for event in stream]
            first = await stream.get_final_response()
        whole = await client.responses.create(model=model, input=items, tools=tools)
        calls = [call.model_dump(exclude_none=True) for call in first.output]
        results = [{"type": f"{call['type']}_output", "call_id": call["call_id"], "output": "sunny"} for call in calls]
        second = await client.responses.create(model=model, input=[*items, *calls, *results], tools=tools)

    told = [
        (call["type"], call["name"], call.get("namespace"), call.get("arguments", call.get("input"))) for call in calls
    ]
    assert told == [
        ("function_call", "get_weather", None, '{"city":"Rome"}'),
        ("custom_tool_call", "apply_patch", None, "*** Begin Patch"),
        ("function_call", "read", "files", "{}"),
    ]
    assert [item.type for item in whole.output] == [call["type"] for call in calls]
    assert (
        "".join(event.delta for event in events if event.type == "response.custom_tool_call_input.delta") == told[1][3]
    )
    assert second.output_text == "It is sunny."


def called_thrice(asked: Any) -> Any:
    """Three calls, until there is a result."""
    if asked.results:
        return f"It is {asked.results[-1]}."
    calls = (
        ScriptedCall("get_weather", '{"city":"Rome"}'),
        ScriptedCall("apply_patch", '{"input":"*** Begin Patch"}'),
        ScriptedCall("files__read"),
    )
    return ScriptedAnswer("", calls=calls)


def test_pictures_of_results_follow_them() -> None:
    """In a turn of the user, as a picture is nobody else's to show."""
    picture = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}
    items = [
        {"role": "user", "content": "hello"},
        {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city":"Rome"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": [picture]},
    ]

    asked = query(input=items)

    assert asked.turns[-1] == Turn("tool", "", tool_call_id="call_1")
    assert (asked.prompt, asked.images) == (SHOWN, (Image("image/png", PNG),))


def test_pictures_are_read_from_their_bytes_only() -> None:
    """No address is fetched."""

    def shown(url: str) -> list[dict[str, Any]]:
        parts = [{"type": "input_text", "text": "What is this?"}, {"type": "input_image", "image_url": url}]
        return [{"role": "user", "content": parts}]

    for data in (PNG, f"{PNG[:9]}\r\n{PNG[9:]}\n"):
        asked = query(input=shown(f"data:image/png;base64,{data}"))
        assert (asked.prompt, asked.images) == ("What is this?", (Image("image/png", PNG),))

    for wrong in ("https://a.example/x.png", "data:image/png;base64,%", f"data:text/html;base64,{PNG[9:]}"):
        with pytest.raises(InvalidRequest, match=r"input\[0\]\.content"):
            query(input=shown(wrong))


@pytest.mark.parametrize("text", ["", "I look."])
def test_calls_are_items_of_their_own(text: str) -> None:
    """Whole, and in a stream; both as OpenAI's types have them."""
    answer = an_answer(text, tool_calls=(CALL,), finish="tool_calls")

    response = Response.model_validate(ResponseEncoder("pool", (), {}).whole(answer))
    encoder = ResponseEncoder("pool", (), {})
    events = read(encoder.opening() + encoder.ending(StreamEnd(answer, text)))

    assert response.status == "completed"
    assert [item.type for item in response.output] == ["message"] * bool(text) + ["function_call"]
    called: Any = response.output[-1]
    assert (called.call_id, called.name, called.arguments) == ("call_1", "get_weather", '{"city":"Rome"}')
    assert [event.type for event in events] == [*BEGUN, *TEXT * bool(text), *CALLED, "response.completed"]


def test_each_call_is_told_while_it_is_written() -> None:
    """In an item of its own, one after the other; text that comes late waits for the end."""
    second = msgspec.structs.replace(CALL, id="call_2", arguments='{"city":"Oslo"}')
    answer = an_answer("so", tool_calls=(CALL, second), finish="tool_calls")
    encoder = ResponseEncoder("pool", (), {})
    pieces = [
        ToolCallDelta(0, "call_1", "get_weather", '{"ci'),
        ToolCallDelta(0, arguments='ty":"Rome"}'),
        ToolCallDelta(1, "call_2", "get_weather", '{"city"'),
        ToolCallDelta(1, arguments=':"Oslo"}'),
    ]

    stream = b"".join([encoder.opening(), *map(encoder.called, pieces), encoder.piece("so"), encoder.thought("hm")])
    told = [event.delta for event in read(stream) if event.type == CALLED[1]]
    events = read(stream + encoder.ending(StreamEnd(answer, "")))

    assert told == ['{"ci', 'ty":"Rome"}', '{"city"', ':"Oslo"}']
    assert squeezed([event.type for event in events]) == [*BEGUN, *CALLED, *CALLED, *TEXT, "response.completed"]
    output = events[-1].response.output
    assert [(item.type, getattr(item, "arguments", "")) for item in output] == [
        ("function_call", CALL.arguments),
        ("function_call", second.arguments),
        ("message", ""),
    ]
    places = [event.output_index for event in events if event.type == "response.output_item.added"]
    assert places == [0, 1, 2]


@pytest.mark.anyio
@pytest.mark.real_loop
@pytest.mark.parametrize("model", ["phi3", "pool/voting"])
async def test_tools_go_there_and_back(daemons: Any, model: str) -> None:
    """A call out of a stream, its result in, an answer; by the client's own accumulator."""
    tools: Any = [{"type": "function", "name": "get_weather", "parameters": WEATHER}]
    items: list[Any] = [{"role": "user", "content": "What is the weather in Rome?"}]
    components = Components(extensions=(api.add_routes,))
    async with (
        daemons(components=components, answer=called) as pool,
        openai.AsyncOpenAI(base_url=f"{pool.url}/v1", api_key="none", max_retries=0) as client,
    ):
        async with client.responses.stream(model=model, input=items, tools=tools) as stream:
            first = await stream.get_final_response()
        (call,) = first.output
        assert call.type == "function_call"
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        again = [*items, call.model_dump(), result]
        second = await client.responses.create(model=model, input=again, tools=tools)

    assert (call.name, msgspec.json.decode(call.arguments)) == ("get_weather", {"city": "Rome"})
    assert second.output_text == "It is sunny."


WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def called(asked: Any) -> Any:
    """A call, until there is a result."""
    if asked.results:
        return f"It is {asked.results[-1]}."
    return ScriptedAnswer("", calls=(ScriptedCall("get_weather", '{"city":"Rome"}'),))


def test_an_answer_that_was_cut_is_incomplete() -> None:
    """With the reason, whole and in a stream."""
    answer = an_answer("the sky", finish="length")

    response = Response.model_validate(ResponseEncoder("pool", (), {}).whole(answer))
    encoder = ResponseEncoder("pool", (), {})
    last = read(encoder.opening() + encoder.ending(StreamEnd(answer, "the sky")))[-1]

    assert (response.status, last.type) == ("incomplete", "response.incomplete")
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


def test_a_response_that_failed_says_why() -> None:
    """In its last event."""
    encoder = ResponseEncoder("pool", (), {})
    *_, last = read(encoder.opening() + encoder.piece("the sk") + encoder.failed(AllProvidersFailed("ask")))

    assert (last.type, last.response.status) == ("response.failed", "failed")


def read(stream: bytes) -> list[Any]:
    blocks = stream.split(b"\n\n")[:-1]
    return [event_of(msgspec.json.decode(block.split(b"data: ")[1])) for block in blocks]


def event_of(data: dict[str, Any]) -> Any:
    """*data* strictly by the type of OpenAI's client for it."""
    return EVENTS[data["type"]].model_validate(data)

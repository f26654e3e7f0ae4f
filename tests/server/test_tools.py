"""Tools over every API, asked by the clients that people use: whole, streamed, voted on, refused, left."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import ollama
import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from llm_pool.client import AsyncClient
from llm_pool.core.messages import Query, Tool, Turn
from llm_pool.server import ollama as ollama_api
from llm_pool.server import openai as openai_api
from llm_pool.server.daemon import Components
from llm_pool.server.grpc import grpc_server
from llm_pool.testing.upstream import ScriptedAnswer, ScriptedCall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from llm_pool.testing.upstream import TextRequest

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

APIS = Components(servers=(grpc_server("127.0.0.1:0"),), extensions=(openai_api.add_routes, ollama_api.add_routes))
WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
    "additionalProperties": False,
}
FUNCTION: dict[str, Any] = {"name": "get_weather", "description": "The weather.", "parameters": WEATHER}
TOOLS: Any = [{"type": "function", "function": FUNCTION}]
ASKED: Any = [{"role": "user", "content": "What is the weather in Rome?"}]
CALLED: Any = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}}
BROKEN: Any = {"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": "{"}}
ANSWERED: Any = [
    *ASKED,
    {"role": "assistant", "content": None, "tool_calls": [CALLED]},
    {"role": "tool", "tool_call_id": "c1", "content": "18 degrees"},
]
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n and so on").decode()


def said(asked: TextRequest) -> ScriptedAnswer | str | None:
    """A call where a tool is offered and has not answered yet; gemma2 calls with other words for the same."""
    if asked.results:
        return f"It is {asked.results[-1]}."
    if not asked.tools:
        return None if asked.schema is not None else "the sky is blue"
    if "two" in asked.user:
        return ScriptedAnswer("", calls=tuple(call(city) for city in ("Rome", "Oslo")))
    return ScriptedAnswer("", calls=(call("rome" if asked.model == "gemma2:9b" else "Rome"),))


def call(city: Any, **more: Any) -> ScriptedCall:
    return ScriptedCall("get_weather", msgspec.json.encode({"city": city, **more}).decode())


@pytest.fixture
async def pool(daemons: Any) -> AsyncIterator[Any]:
    """A daemon with every API."""
    async with daemons(components=APIS, answer=said) as running:
        yield running


@pytest.fixture
async def client(pool: Any) -> AsyncIterator[openai.AsyncOpenAI]:
    async with client_of(pool) as client:
        yield client


def client_of(pool: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{pool.url}/v1", api_key="none", max_retries=0)


# OpenAI's client


@pytest.mark.parametrize("model", ["phi3", "pool", "pool/voting", "pool/weighted", "pool/consensus", "pool/judge"])
async def test_a_call_comes_back_by_every_strategy(client: openai.AsyncOpenAI, model: str) -> None:
    chat = await client.chat.completions.create(model=model, messages=ASKED, tools=TOOLS)

    choice = chat.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (called,) = choice.message.tool_calls or ()
    assert called.type == "function"
    assert (called.function.name, msgspec.json.decode(called.function.arguments)) == ("get_weather", {"city": "Rome"})
    assert called.id.startswith("call_")


@pytest.mark.parametrize("model", ["phi3", "pool", "pool/voting"])
async def test_calls_are_streamed_by_index(client: openai.AsyncOpenAI, model: str) -> None:
    """Two at once: id and name first, then arguments, as OpenAI's own helper adds them up."""
    messages: Any = [{"role": "user", "content": "two cities"}]

    async with client.chat.completions.stream(model=model, messages=messages, tools=TOOLS) as stream:
        async for _ in stream:
            pass
        chat = await stream.get_final_completion()

    calls = chat.choices[0].message.tool_calls or []
    assert [msgspec.json.decode(one.function.arguments) for one in calls] == [{"city": "Rome"}, {"city": "Oslo"}]
    assert len({one.id for one in calls}) == 2
    assert chat.choices[0].finish_reason == "tool_calls"


async def test_a_llama_servers_pieces_are_passed_on_as_they_come(daemons: Any) -> None:
    """The first piece has no arguments, the others nothing else."""
    async with daemons(components=APIS, answer=said, flavor="llama-server", providers=OPENAI_PROVIDER) as pool:
        config = pool.manager.config
        assert config.active_providers[0].name == "llama"
        async with client_of(pool) as client:
            stream = await client.chat.completions.create(model="llama", messages=ASKED, tools=TOOLS, stream=True)
            pieces = [c.choices[0].delta.tool_calls[0] async for c in stream if c.choices[0].delta.tool_calls]

    assert pieces[0].id
    assert pieces[0].function is not None
    assert (pieces[0].function.name, pieces[0].function.arguments) == ("get_weather", "")
    assert len(pieces) > 2
    assert "".join(p.function.arguments or "" for p in pieces if p.function) == '{"city":"Rome"}'


OPENAI_PROVIDER = '[[providers]]\nname = "llama"\ndriver = "openai"\nmodel = "phi3:mini"\nbase_url = "{url}"\n'


async def test_results_go_to_the_model_in_its_servers_shape(pool: Any, client: openai.AsyncOpenAI) -> None:
    """Ollama wants objects and the tool's name."""
    chat = await client.chat.completions.create(model="phi3", messages=ANSWERED, tools=TOOLS)

    assert chat.choices[0].message.content == "It is 18 degrees."
    sent = pool.upstream.journal.entries[-1].body
    assert sent["tools"] == TOOLS
    assert sent["messages"][1:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c1", "function": {"name": "get_weather", "arguments": {"city": "Rome"}}}],
        },
        {"role": "tool", "content": "18 degrees", "tool_name": "get_weather", "tool_call_id": "c1"},
    ]


async def test_a_choice_of_none_drops_the_tools(pool: Any, client: openai.AsyncOpenAI) -> None:
    chat = await client.chat.completions.create(model="phi3", messages=ASKED, tools=TOOLS, tool_choice="none")

    assert chat.choices[0].message.content == "the sky is blue"
    assert "tools" not in pool.upstream.journal.entries[-1].body


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
async def test_a_text_is_no_answer_where_a_call_must_be(daemons: Any, choice: Any) -> None:
    async with daemons(components=APIS, answer=lambda _: "I would rather talk.") as pool, client_of(pool) as client:
        with pytest.raises(openai.InternalServerError, match="a call of a tool was asked for"):
            await client.chat.completions.create(model="pool", messages=ASKED, tools=TOOLS, tool_choice=choice)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (ScriptedCall("get_wether", "{}"), "the tool 'get_wether', which it was not given"),
        (call(7), "city"),
        (call("Rome", days="two"), "days"),
    ],
)
async def test_a_call_that_may_not_be_made_is_no_answer(daemons: Any, wrong: ScriptedCall, why: str) -> None:
    def answer(asked: TextRequest) -> ScriptedAnswer | str:
        return "" if not asked.tools else ScriptedAnswer("", calls=(wrong,))

    async with daemons(components=APIS, answer=answer) as pool, client_of(pool) as client:
        with pytest.raises(openai.InternalServerError) as raised:
            await client.chat.completions.create(model="pool", messages=ASKED, tools=TOOLS)

    assert why in str(raised.value)


async def test_a_stream_that_is_cut_in_a_call_ends_in_an_error(pool: Any, client: openai.AsyncOpenAI) -> None:
    """Half a call is never passed off as a whole one, and is not in the cache afterwards."""
    pool.upstream.set_mode("*", "cut:1")

    async def stream() -> list[Any]:
        chunks = await client.chat.completions.create(
            model="phi3", messages=ASKED, tools=TOOLS, temperature=0, stream=True
        )
        return [chunk async for chunk in chunks]

    with pytest.raises(openai.APIError):
        await stream()
    pool.upstream.set_mode("*")

    chat = await client.chat.completions.create(model="phi3", messages=ASKED, tools=TOOLS, temperature=0)

    assert chat.choices[0].message.tool_calls


async def test_tools_are_part_of_what_is_remembered(pool: Any, client: openai.AsyncOpenAI) -> None:
    """The same question with and without them is two questions; with the same ones it is one."""
    for tools in (TOOLS, TOOLS, openai.NOT_GIVEN):
        await client.chat.completions.create(model="phi3", messages=ASKED, tools=tools, temperature=0)

    assert len([one for one in pool.upstream.journal.entries if one.path == "/api/chat"]) == 2


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": TOOLS, "tool_choice": {"type": "custom", "custom": {"name": "get_weather"}}}, "tool_choice.type"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].name"),
        ({"tools": [*TOOLS, *TOOLS]}, "tools"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "objekt"}}}]},
            "tools[0].parameters",
        ),
        ({"tools": TOOLS, "tool_choice": "perhaps"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"model": "pool/task/judge", "tools": TOOLS}, "tools"),
        (
            {
                "messages": [
                    *ASKED,
                    {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{"}}]},
                    *ASKED,
                ]
            },
            "messages",
        ),
        ({"functions": [FUNCTION], "tools": TOOLS}, "functions"),
        ({"functions": [FUNCTION], "function_call": "required"}, "function_call"),
        ({"functions": [FUNCTION], "function_call": {"name": "other"}}, "function_call"),
        ({"functions": [{"name": "a b"}]}, "functions"),
    ],
)
async def test_what_is_wrong_with_tools_is_named(client: openai.AsyncOpenAI, change: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        await client.chat.completions.create(**{"model": "pool", "messages": ASKED, **change})

    assert raised.value.param == param


@pytest.mark.parametrize("model", ["phi3", "pool/voting"])
async def test_functions_as_they_were_first_offered_are_called_so(client: openai.AsyncOpenAI, model: str) -> None:
    """One call, by the older name for it; whole, streamed, and with its result."""
    legacy: Any = {"model": model, "functions": [FUNCTION], "function_call": "auto"}

    first = await client.chat.completions.create(messages=ASKED, **legacy)
    stream = await client.chat.completions.create(messages=ASKED, stream=True, **legacy)
    choices = [chunk.choices[0] async for chunk in stream]
    message: Any = first.choices[0].message
    result = {"role": "function", "name": "get_weather", "content": "18 degrees"}
    last = await client.chat.completions.create(messages=[*ASKED, message.model_dump(), result], **legacy)

    assert (first.choices[0].finish_reason, message.content, message.tool_calls) == ("function_call", None, None)
    assert (message.function_call.name, message.function_call.arguments) == ("get_weather", '{"city":"Rome"}')
    pieces = [choice.delta.function_call for choice in choices if choice.delta.function_call]
    assert pieces[0].name == "get_weather"
    assert "".join(piece.arguments or "" for piece in pieces) == '{"city":"Rome"}'
    assert choices[-1].finish_reason == "function_call"
    assert last.choices[0].message.content == "It is 18 degrees."


@pytest.mark.parametrize(
    ("choice", "offered", "must"),
    [
        ({"mode": "auto", "tools": [{"type": "function", "function": {"name": "other"}}]}, ["other"], False),
        ({"mode": "required", "tools": [TOOLS[0]]}, ["get_weather"], True),
    ],
)
async def test_tools_that_are_allowed_are_the_only_ones(
    daemons: Any, choice: Any, offered: list[str], must: bool
) -> None:
    """The others are not shown."""
    seen: list[TextRequest] = []

    def answer(asked: TextRequest) -> ScriptedAnswer | str:
        seen.append(asked)
        return ScriptedAnswer("", calls=(ScriptedCall("get_weather", '{"city":"Rome"}'),)) if must else "the sky"

    tools = [*TOOLS, {"type": "function", "function": {"name": "other", "parameters": {"type": "object"}}}]
    wanted: Any = {"type": "allowed_tools", "allowed_tools": choice}
    async with (
        daemons(components=APIS, answer=answer, flavor="llama-server", providers=OPENAI_PROVIDER) as pool,
        client_of(pool) as client,
    ):
        await client.chat.completions.create(model="llama", messages=ASKED, tools=tools, tool_choice=wanted)

    assert [[tool["name"] for tool in asked.tools] for asked in seen] == [offered]
    assert seen[0].must_call is must


async def test_a_tool_that_is_named_is_the_one_that_is_called(daemons: Any) -> None:
    """Its server is told so."""
    tools = [*TOOLS, {"type": "function", "function": {"name": "other", "parameters": {"type": "object"}}}]
    named: Any = {"type": "function", "function": {"name": "other"}}
    async with (
        daemons(components=APIS, flavor="llama-server", providers=OPENAI_PROVIDER) as pool,
        client_of(pool) as client,
    ):
        chat = await client.chat.completions.create(model="llama", messages=ASKED, tools=tools, tool_choice=named)

    (called,) = chat.choices[0].message.tool_calls or ()
    assert (called.type, called.function.name) == ("function", "other")


async def test_tools_that_others_run_are_left_out_and_told(client: openai.AsyncOpenAI) -> None:
    """A client that always offers some is answered without."""
    tools: Any = [{"type": "web_search"}, *TOOLS, {"type": "builtin_function", "function": {"name": "$web_search"}}]

    chat = await client.chat.completions.create(model="pool", messages=ASKED, tools=tools)

    assert chat.choices[0].finish_reason == "tool_calls"
    ours = (chat.model_extra or {})["llm_pool"]
    assert ours["ignored"] == ["tools.web_search", "tools.builtin_function"]


async def test_every_call_of_an_answer_is_checked(daemons: Any) -> None:
    """The second as the first: one that does not fit its schema spoils the answer, and the next model is asked."""

    def answer(asked: TextRequest) -> ScriptedAnswer:
        second = call(7) if asked.model == "phi3:mini" else call("Oslo")
        return ScriptedAnswer("", calls=(call("Rome"), second))

    async with daemons(components=APIS, answer=answer) as pool, client_of(pool) as client:
        chat = await client.chat.completions.create(model="pool/fastest", messages=ASKED, tools=TOOLS)

    ours = (chat.model_extra or {})["llm_pool"]
    outcomes = {one["provider"]: one["outcome"] for one in ours["decision"]["attempts"]}
    assert outcomes["phi3"] == "invalid"
    calls: Any = chat.choices[0].message.tool_calls
    assert [one.function.arguments for one in calls] == ['{"city":"Rome"}', '{"city":"Oslo"}']


async def test_a_picture_in_a_result_reaches_the_model(daemons: Any) -> None:
    """In a turn of the user, since models are shown pictures by nobody else."""
    picture = {"type": "image_url", "image_url": f"data:image/png;base64,{PIXEL}"}
    messages = [*ANSWERED[:2], {"role": "tool", "tool_call_id": "c1", "content": [picture]}]
    seeing = dict.fromkeys(("phi3:mini", "llama3.1:8b", "gemma2:9b"), ("completion", "tools", "vision"))
    async with daemons(components=APIS, answer=said, capabilities=seeing) as pool, client_of(pool) as client:
        await client.chat.completions.create(model="phi3", messages=messages, tools=TOOLS)
        (asked,) = [one.body for one in pool.upstream.journal.entries if one.path == "/api/chat"]

    assert [(one["role"], one.get("images")) for one in asked["messages"][2:]] == [("tool", None), ("user", [PIXEL])]


async def test_models_without_tools_are_not_asked(daemons: Any) -> None:
    """By /api/show; where none has them, the request says so at once."""
    plain = {"phi3:mini": ("completion",)}
    async with daemons(components=APIS, answer=said, capabilities=plain) as pool, client_of(pool) as client:
        chat = await client.chat.completions.create(model="pool", messages=ASKED, tools=TOOLS)
        with pytest.raises(openai.BadRequestError, match="could be asked calls tools: phi3"):
            await client.chat.completions.create(model="phi3", messages=ASKED, tools=TOOLS)
        listed = {m.id: m.model_extra["capabilities"] async for m in client.models.list() if m.model_extra}

    assert chat.choices[0].message.tool_calls
    assert chat.model_extra is not None
    assert chat.model_extra["llm_pool"]["winner"] == "llama3.1"
    assert "not asked, as unable: phi3 (tools)" in chat.model_extra["llm_pool"]["decision"]["notes"]
    assert "phi3:mini" not in {one.body["model"] for one in pool.upstream.journal.entries if one.path == "/api/chat"}
    assert listed["phi3"] == ["completion"]
    assert listed["pool"] == listed["llama3.1"] == ["completion", "tools"]
    assert listed["pool/task/judge"] == ["completion"]


async def test_a_picture_goes_to_those_who_see(daemons: Any) -> None:
    """Its bytes, in the server's own shape; where nobody sees, a 400 that names the field."""
    look: Any = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
            ],
        }
    ]
    seeing = {"gemma2:9b": ("completion", "vision")}
    async with daemons(components=APIS, answer=said, capabilities=seeing) as pool, client_of(pool) as client:
        chat = await client.chat.completions.create(model="pool", messages=look)
        with pytest.raises(
            openai.BadRequestError, match="none of the models that could be asked sees pictures"
        ) as raised:
            await client.chat.completions.create(model="phi3", messages=look)

    assert chat.model_extra is not None
    assert chat.model_extra["llm_pool"]["winner"] == "gemma2"
    (asked,) = [one.body for one in pool.upstream.journal.entries if one.path == "/api/chat"]
    assert asked["messages"] == [{"role": "user", "content": "What is this?", "images": [PIXEL]}]
    assert raised.value.param == "messages"


async def test_leaving_while_a_call_is_written_stops_the_model(daemons: Any) -> None:
    def answer(_: TextRequest) -> ScriptedAnswer:
        return ScriptedAnswer("", calls=tuple(call("Rome", days=day) for day in range(60)))

    async with daemons(components=APIS, answer=answer, per_token="const:0.05") as pool:
        async with client_of(pool) as client:
            stream = await client.chat.completions.create(model="phi3", messages=ASKED, tools=TOOLS, stream=True)
            async for chunk in stream:
                if chunk.choices[0].delta.tool_calls:
                    break
            await stream.close()
        left = anyio.current_time()
        with anyio.fail_after(5):
            while not pool.upstream.counts.cancelled:  # noqa: ASYNC110  # no event for counts
                await anyio.sleep(0.005)
    assert anyio.current_time() - left < 0.2 * 5  # 0.2 s, and room for a machine that is busy


# LangChain


async def test_langchain_binds_tools_and_takes_their_results(pool: Any) -> None:
    @tool
    def get_weather(city: str) -> str:
        """The weather."""
        return f"18 degrees in {city}"

    model = ChatOpenAI(base_url=f"{pool.url}/v1", api_key=SecretStr("none"), model="pool", max_retries=0)
    bound = model.bind_tools([get_weather])

    first: Any = await bound.ainvoke("What is the weather in Rome?")
    pieces = [piece async for piece in bound.astream("What is the weather in Rome, again?")]
    result = get_weather.invoke(first.tool_calls[0]["args"])
    given = ToolMessage(result, tool_call_id=first.tool_calls[0]["id"])
    last = await bound.ainvoke([HumanMessage("weather?"), AIMessage("", tool_calls=first.tool_calls), given])

    assert [(one["name"], one["args"]) for one in first.tool_calls] == [("get_weather", {"city": "Rome"})]
    added: Any = pieces[0]
    for piece in pieces[1:]:
        added += piece
    assert added.tool_calls[0]["args"] == {"city": "Rome"}
    assert last.text == "It is 18 degrees in Rome."
    model.root_client.close()
    await model.root_async_client.close()


# Ollama's client


async def test_ollamas_client_calls_and_gives_results(pool: Any) -> None:
    """Whole and streamed; the result names the tool alone."""
    async with ollama.AsyncClient(host=pool.url) as client:
        whole = await client.chat(model="pool", messages=ASKED, tools=TOOLS)
        streamed = [part async for part in await client.chat(model="phi3", messages=ASKED, tools=TOOLS, stream=True)]
        talk = [*ASKED, whole.message, {"role": "tool", "tool_name": "get_weather", "content": "18 degrees"}]
        last = await client.chat(model="pool", messages=talk, tools=TOOLS)

    (called,) = whole.message.tool_calls or ()
    assert (called.function.name, called.function.arguments) == ("get_weather", {"city": "Rome"})
    assert (whole.done, whole.done_reason) == (True, "stop")
    (again,) = [one for part in streamed for one in part.message.tool_calls or ()]
    assert again.function.arguments == {"city": "Rome"}
    assert streamed[-1].done
    assert last.message.content == "It is 18 degrees."


# Our own API, over both transports


@pytest.fixture(params=["http", "grpc"])
async def own(request: pytest.FixtureRequest, pool: Any) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(pool.url if request.param == "http" else pool.urls[1]) as client:
        yield client


async def test_our_own_api_does_what_the_others_can(pool: Any, own: AsyncClient) -> None:
    """Tools, turns, schema, sampling and providers reach the model; calls come back, streamed too."""
    tools = (Tool("get_weather", "The weather.", WEATHER),)
    first = await own.infer("Weather in Rome?", tools=tools, providers=("phi3",), temperature=0.0, seed=0, stop=("\n",))
    events = [event async for event in own.stream("Weather in Oslo?", tools=tools, providers=("phi3",))]
    turns = (
        Turn("user", "Weather?"),
        Turn("assistant", "", first.tool_calls),
        Turn("tool", "18 degrees", (), first.tool_calls[0].id),
    )
    last = await own.infer(Query(prompt="", turns=turns, tools=tools, tool_choice="none"))
    shaped = await own.infer("Rome?", output_schema=WEATHER)

    assert first.finish == "tool_calls"
    assert [(one.name, one.arguments) for one in first.tool_calls] == [("get_weather", '{"city":"Rome"}')]
    assert first.decision.reading.tool_calls == first.tool_calls
    kinds = {type(event).__name__ for event in events}
    assert {"ToolCallArrived", "Answer"} <= kinds
    assert last.content == "It is 18 degrees."
    assert isinstance(shaped.json, dict)
    options = next(e.body["options"] for e in pool.upstream.journal.entries if e.path == "/api/chat")
    assert options.items() >= {"temperature": 0.0, "seed": 0, "stop": ["\n"]}.items()

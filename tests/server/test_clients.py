"""Programs that people point at the daemon: a second llm-pool, LangChain, Open WebUI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

from llm_pool.ensemble.attempts import AttemptGroup
from llm_pool.providers.ollama import OllamaProvider
from llm_pool.providers.openai import OpenAIProvider
from llm_pool.providers.transport import Transport
from llm_pool.server import ollama, openai
from llm_pool.server.daemon import Components
from llm_pool.testing import a_call, a_panel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from llm_pool.core.messages import Attempt

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CHAT_APIS = Components(extensions=(openai.add_routes, ollama.add_routes))


class City(BaseModel):
    """A city."""

    city: str


@pytest.fixture
async def pool(daemons: Any) -> AsyncIterator[Any]:
    """A daemon with both shapes."""
    async with daemons(components=CHAT_APIS, answer=said) as running:
        yield running


def said(asked: Any) -> str | None:
    """A city as JSON where JSON is wanted, a sentence elsewhere."""
    return "the sky is blue" if asked.schema is None else '{"city": "Rome"}'


# A second llm-pool.


@pytest.fixture(params=[OllamaProvider, OpenAIProvider])
async def second(request: pytest.FixtureRequest, pool: Any) -> AsyncIterator[Callable[[str], Any]]:
    """Makes a provider of another pool, whose backend is this one."""
    transport = Transport()
    yield lambda model: request.param(name="below", base_url=pool.url, model=model, transport=transport)
    await transport.aclose()


async def asked(provider: Any, **changes: Any) -> Attempt:
    """One attempt at *provider*, as a strategy of the other pool makes it."""
    async with AttemptGroup(lambda _: None) as attempt_group:
        attempt_group.start(a_panel(provider)[0], a_call(**changes), why="primary")
        await attempt_group.next()
    (attempt,) = attempt_group.attempts
    return attempt


@pytest.mark.parametrize("model", ["pool", "pool/voting", "phi3", "pool/task/expand_queries"])
async def test_a_second_pool_sees_this_one_as_healthy(second: Any, model: str) -> None:
    """Every name that is listed is one that is there."""
    state = await second(model).state()

    assert (state.condition, state.detail) == ("healthy", "")


async def test_a_second_pool_knows_what_is_missing(second: Any) -> None:
    """A name that is not listed is not there."""
    assert (await second("nope").state()).condition == "model_missing"


@pytest.mark.parametrize("model", ["pool", "pool/voting", "phi3"])
async def test_a_second_pool_asks_this_one(second: Any, model: str) -> None:
    """Text, usage and end come through."""
    attempt = await asked(second(model))

    assert attempt.outcome == "ok", attempt.error
    assert attempt.reading is not None
    assert attempt.reading.content == "the sky is blue"
    assert attempt.usage.completion_tokens
    assert attempt.finish == "stop"


async def test_a_second_pools_schema_reaches_the_models_below(pool: Any, second: Any) -> None:
    """It is asked for, and checked, twice."""
    attempt = await asked(second("pool/consensus"), schema=SCHEMA)

    assert attempt.reading is not None
    assert attempt.reading.value == {"city": "Rome"}
    assert pool.upstream.journal.entries[-1].body["format"] == SCHEMA


async def test_a_second_pool_can_warm_this_one(second: Any) -> None:
    """``llm-pool health --warm`` loads what is behind a provider."""
    await second("phi3").load()
    await second("pool").load()


async def test_a_refusal_below_reads_well_above(second: Any) -> None:
    """The sentence of this pool is the reason in the other's attempt."""
    attempt = await asked(second("nope"))

    assert (attempt.outcome, attempt.error_kind) == ("failed", "rejected")
    assert "model 'nope' not found" in attempt.error


# LangChain.


@pytest.fixture
async def chat(pool: Any) -> AsyncIterator[ChatOpenAI]:
    """LangChain's model, pointed at the pool."""
    model = ChatOpenAI(base_url=f"{pool.url}/v1", api_key=SecretStr("none"), model="pool", max_retries=0)
    yield model
    model.root_client.close()
    await model.root_async_client.close()


async def test_langchain_asks_and_streams(chat: ChatOpenAI) -> None:
    """A conversation in, text and counts out."""
    talk = [SystemMessage("Be brief."), HumanMessage("hi"), AIMessage("hello"), HumanMessage("what colour is the sky?")]

    answer = await chat.ainvoke(talk)
    pieces = [piece async for piece in chat.astream(talk)]

    assert answer.text == "".join(piece.text for piece in pieces) == "the sky is blue"
    assert answer.usage_metadata is not None
    assert len(pieces) > 2


async def test_langchain_reads_structured_output(chat: ChatOpenAI) -> None:
    """Its default way, a JSON Schema in ``response_format``."""
    answer = await chat.with_structured_output(City).ainvoke("which city?")

    assert answer == City(city="Rome")


# Open WebUI: what it sends, as its source has it (backend/open_webui/routers/openai.py and ollama.py).


async def test_open_webui_finds_models_and_chats_over_openais_shape(pool: Any, ask: Callable[..., Any]) -> None:
    """It lists, and streams with fields of its own and counts."""
    models = await ask(pool.url, "GET", "/v1/models", Authorization="Bearer none", Content_Type="application/json")
    name = next(model["id"] for model in models.json["data"] if model["id"].startswith("pool/w"))
    body = {
        "stream": True,
        "model": name,
        "messages": [{"role": "user", "content": "hello"}],
        "stream_options": {"include_usage": True},
        "chat_id": "c0ffee",
        "session_id": "s",
        "features": {"web_search": False, "image_generation": False},
        "metadata": None,
        "params": {},
    }

    reply = await ask(pool.url, "POST", "/v1/chat/completions", body, Content_Type="application/json")

    assert reply.status == 200, reply.body
    assert reply.body.endswith(b"data: [DONE]\n\n")


async def test_open_webui_finds_models_and_chats_over_ollamas_shape(pool: Any, ask: Callable[..., Any]) -> None:
    """It asks for version, tags and what is loaded, and chats with the name it was given."""
    assert (await ask(pool.url, "GET", "/api/version")).json["version"]
    assert (await ask(pool.url, "GET", "/api/ps")).json["models"]
    tagged = next(m["model"] for m in (await ask(pool.url, "GET", "/api/tags")).json["models"] if "pool" in m["model"])
    body = {
        "model": tagged,
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hello"}],
        "options": {"temperature": 0.8, "top_k": 40, "num_ctx": 8192},
        "stream": True,
        "keep_alive": "5m",
        "think": False,
    }

    reply = await ask(pool.url, "POST", "/api/chat", body, Content_Type="application/json")

    assert reply.status == 200, reply.body
    assert b'"done":true' in reply.body.splitlines()[-1]
    assert b'"ignored":["top_k","num_ctx","keep_alive"]' in reply.body.splitlines()[-1]


async def test_open_webui_titles_a_chat(pool: Any, ask: Callable[..., Any]) -> None:
    """It asks for a title in one piece, as JSON that it finds in the text itself."""
    body = {
        "model": "pool",
        "messages": [{"role": "user", "content": "### Task:\nGenerate a concise title, as JSON."}],
        "stream": False,
        "max_completion_tokens": 1000,
    }

    reply = await ask(pool.url, "POST", "/v1/chat/completions", body)

    assert reply.json["choices"][0]["message"]["content"]

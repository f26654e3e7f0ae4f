"""The truth about OpenAI-shaped servers: what is loaded, what loads when asked, what is no chat model."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.core.errors import Rejected
from llm_pool.providers.openai import OpenAIProvider
from llm_pool.providers.openai_server import OpenAIServer
from llm_pool.providers.openai_store import OpenAIStore

if TYPE_CHECKING:
    from llm_pool.providers.transport import Transport

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

Serving = Callable[..., Any]
ROUTER = {
    "data": [
        {"id": "a", "owned_by": "llamacpp", "status": {"value": "loaded"}, "aliases": ["first"]},
        {"id": "b", "owned_by": "llamacpp", "status": {"value": "unloaded"}},
        {"id": "c", "owned_by": "llamacpp", "status": {"value": "unloaded", "failed": True, "exit_code": 1}},
        {"id": "d", "owned_by": "llamacpp", "status": {"value": "loading"}},
        {"id": "e", "owned_by": "llamacpp", "status": {"value": "unloaded"}, "architecture": {"output_modalities": []}},
    ]
}
LM_STUDIO = {
    "data": [{"id": "gemma", "owned_by": "organization_owner"}, {"id": "nomic", "owned_by": "organization_owner"}]
}
LM_STUDIO_NATIVE = {
    "data": [
        {"id": "gemma", "type": "llm", "state": "not-loaded", "max_context_length": 8192},
        {"id": "nomic", "type": "embeddings", "state": "loaded"},
    ]
}
SWAP = {"data": [{"id": "a", "owned_by": "llama-swap"}, {"id": "b", "owned_by": "llama-swap"}]}


def answering(**replies: Any) -> Any:
    """Answers by path: JSON, bytes, or a status."""
    by_path = {f"/{name.replace('__', '/')}": reply for name, reply in replies.items()}

    async def serve(visit: Any) -> None:
        reply = by_path.get(visit.line.split()[1], "404 Not Found")
        if isinstance(reply, str):
            visit.whole(b"no", reply)
        else:
            visit.whole(reply if isinstance(reply, bytes) else json.dumps(reply).encode())

    return serve


def provider(url: str, transport: Transport, model: str) -> OpenAIProvider:
    return OpenAIProvider(name="phi", base_url=url, model=model, transport=transport)


@pytest.mark.parametrize(
    ("model", "condition", "detail"),
    [
        ("a", "healthy", ""),
        ("first", "healthy", ""),
        ("b", "warming", "not loaded yet"),
        ("c", "failing", "its last load failed (exit code 1)"),
        ("d", "warming", "not loaded yet"),
        ("e", "failing", "e makes embeddings: it does not answer questions"),
        ("nope", "model_missing", "it has a, b, c, d"),
    ],
)
async def test_a_llama_server_with_many_models(
    serving: Serving, transport: Transport, model: str, condition: str, detail: str
) -> None:
    async with serving(answering(v1__models=ROUTER)).listening() as server:
        state = await provider(server.url, transport, model).state()

    assert (state.condition, state.detail) == (condition, detail)


@pytest.mark.parametrize(("model", "condition"), [("gemma", "warming"), ("nomic", "failing"), ("x", "model_missing")])
async def test_lm_studio_says_more_in_its_own_api(
    serving: Serving, transport: Transport, model: str, condition: str
) -> None:
    replies = {"v1__models": LM_STUDIO, "api__v0__models": LM_STUDIO_NATIVE}
    async with serving(answering(**replies)).listening() as server:
        state = await provider(server.url, transport, model).state()

    assert state.condition == condition


async def test_a_llama_server_says_its_context_and_its_slots(serving: Serving, transport: Transport) -> None:
    """The context of a slot, which is shorter than the model's where several share it."""
    replies = {
        "v1__models": {"data": [{"id": "a", "owned_by": "llamacpp", "meta": {"n_ctx_train": 8192}}]},
        "props": {"total_slots": 4, "default_generation_settings": {"n_ctx": 2048}},
        "health": {"status": "ok"},
    }
    async with serving(answering(**replies)).listening() as server:
        facts = (await provider(server.url, transport, "any").state()).facts

    assert facts is not None
    assert (facts.context, facts.slots) == (2048, 4)


async def test_lm_studio_without_it_is_believed(serving: Serving, transport: Transport) -> None:
    async with serving(answering(v1__models=LM_STUDIO)).listening() as server:
        assert (await provider(server.url, transport, "gemma").state()).condition == "healthy"


@pytest.mark.parametrize(("model", "condition"), [("a", "healthy"), ("b", "warming")])
async def test_llama_swap_says_what_is_running(
    serving: Serving, transport: Transport, model: str, condition: str
) -> None:
    replies = {"v1__models": SWAP, "running": {"running": [{"model": "a", "state": "ready"}]}}
    async with serving(answering(**replies)).listening() as server:
        state = await provider(server.url, transport, model).state()

    assert (state.condition, state.facts and state.facts.loaded) == (condition, condition == "healthy")


@pytest.mark.parametrize("listed", [[{"id": "m"}], ["m"], {"data": None}, {"data": []}, {"models": [{"name": "m"}]}])
async def test_lists_of_every_shape(serving: Serving, transport: Transport, listed: Any) -> None:
    async with serving(answering(v1__models=listed)).listening() as server:
        assert (await provider(server.url, transport, "m").state()).condition == "healthy"


@pytest.mark.parametrize("page", [b"<!doctype html><html>Sign in</html>", b'{"error":"no"}', b"7"])
async def test_what_is_no_list_is_failing(serving: Serving, transport: Transport, page: bytes) -> None:
    async with serving(answering(v1__models=page)).listening() as server:
        assert (await provider(server.url, transport, "m").state()).condition == "failing"


async def test_a_server_that_does_not_list_is_believed(serving: Serving, transport: Transport) -> None:
    async with serving(answering()).listening() as server:
        assert (await provider(server.url, transport, "m").state()).condition == "healthy"


@pytest.mark.parametrize(
    ("words", "condition"),
    [
        (b'{"error":{"message":"Loading model"}}', "warming"),
        (b'{"detail":"Model is still starting up"}', "warming"),
        (b'{"detail":"no healthy upstream"}', "failing"),
    ],
)
async def test_503_while_loading_is_warming(
    serving: Serving, transport: Transport, words: bytes, condition: str
) -> None:
    async def serve(visit: Any) -> None:
        visit.whole(words, "503 Service Unavailable")

    async with serving(serve).listening() as server:
        assert (await provider(server.url, transport, "m").state()).condition == condition


async def test_a_router_loads_by_one_token(serving: Serving, transport: Transport) -> None:
    replies = {"v1__models": ROUTER, "v1__chat__completions": {"choices": []}}
    async with serving(answering(**replies)).listening() as server:
        await provider(server.url, transport, "b").load()

    asked = server.visits[-1].json
    assert (asked["model"], asked["max_tokens"], asked["stream"]) == ("b", 1, False)


async def test_a_server_with_its_model_is_asked_for_nothing(serving: Serving, transport: Transport) -> None:
    async with serving(answering(v1__models={"data": [{"id": "m"}]})).listening() as server:
        await provider(server.url, transport, "m").load()

    assert [visit.line for visit in server.visits] == ["GET /v1/models"]


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("", "/v1"),
        ("/", "/v1"),
        ("/v1", "/v1"),
        ("/v1/", "/v1"),
        ("//v1", "/v1"),
        ("/llm/v1", "/llm/v1"),
        ("/api", "/api"),
        ("/v1beta/openai/", "/v1beta/openai"),
        ("/engines/v1", "/engines/v1"),
    ],
)
async def test_a_path_is_taken_as_it_is(serving: Serving, transport: Transport, base: str, path: str) -> None:
    async with serving(answering()).listening() as server:
        await OpenAIServer(name="p", base_url=server.url + base, transport=transport).catalogue()

    assert server.visits[0].line == f"GET {path}/models"


async def test_its_models_can_be_looked_at_and_not_changed(serving: Serving, transport: Transport) -> None:
    async with serving(answering(v1__models=ROUTER)).listening() as server:
        store = OpenAIStore(OpenAIServer(name="p", base_url=server.url, transport=transport))
        assert [(info.name, info.loaded) for info in await store.models()][:2] == [("a", True), ("b", False)]
        assert (await store.show("b")).name == "b"
        with pytest.raises(Rejected, match="no model 'x'"):
            await store.show("x")
        with pytest.raises(Rejected, match="cannot remove a"):
            await store.remove("a")
        with pytest.raises(Rejected, match="cannot pull a"):
            await anext(store.pull("a"))

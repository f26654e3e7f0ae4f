"""The Ollama-shaped API, asked by Ollama's own client, and compared with recordings of a real Ollama."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import ollama
import pytest

from llm_pool.server import ollama as api
from llm_pool.server.daemon import Components

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

CONTEXTS = "".join(
    f'[[providers]]\nname = "{name}"\ndriver = "ollama"\nmodel = "phi3:mini"\nbase_url = "http://127.0.0.1:9"\n{more}\n'
    for name, more in {
        "large": "context = 32768",
        "small": "context = 8192",
        "rest": "context = 2048\nlast_resort = true",
    }.items()
)

WIRE = Path(__file__).parents[1] / "recordings" / "ollama"
HELLO = [{"role": "user", "content": "hello"}]
OURS = {"llm_pool"}


@pytest.fixture
async def pool(daemons: Any) -> AsyncIterator[Any]:
    """A daemon with this API, whose models say that the sky is blue."""
    async with daemons(components=Components(extensions=(api.add_routes,)), answer=said) as running:
        yield running


@pytest.fixture
async def client(pool: Any) -> AsyncIterator[ollama.AsyncClient]:
    """Ollama's client, pointed at the pool."""
    async with ollama.AsyncClient(host=pool.url) as client:
        yield client


def said(asked: Any) -> str | None:
    """Text where text is wanted; something that fits where JSON is."""
    return "the sky is blue" if asked.schema is None else None


def recorded(name: str) -> list[dict[str, Any]]:
    """The lines of JSON that a real Ollama answered with."""
    answer = (WIRE / f"{name}.txt").read_text(encoding="utf-8").split("\n\n", 2)[2]
    return [msgspec.json.decode(line) for line in answer.splitlines() if line.startswith("{")]


async def test_a_chat_is_answered(client: ollama.AsyncClient) -> None:
    """Message, reason, counts and durations, as the official client reads them."""
    reply = await client.chat(model="pool", messages=HELLO, options={"num_predict": 9, "num_ctx": 4096})

    assert reply.message.content == "the sky is blue"
    assert (reply.done, reply.done_reason) == (True, "stop")
    assert reply.eval_count
    assert reply.total_duration


async def test_a_chat_streams_token_by_token(client: ollama.AsyncClient) -> None:
    """Lines with text, then one that tells how it was made."""
    lines = [line async for line in await client.chat(model="pool:latest", messages=HELLO, stream=True)]

    assert len(lines) > 2
    assert "".join(line.message.content or "" for line in lines) == "the sky is blue"
    assert [line.done for line in lines] == [False] * (len(lines) - 1) + [True]


async def test_generate_answers_and_streams(pool: Any, client: ollama.AsyncClient) -> None:
    """The older way to ask, with a system text."""
    whole = await client.generate(model="pool/voting", prompt="hello", system="Be brief.")
    lines = [line async for line in await client.generate(model="phi3", prompt="hello", stream=True)]

    assert whole.response == "".join(line.response for line in lines) == "the sky is blue"
    first = next(entry.body for entry in pool.upstream.journal.entries if entry.path == "/api/chat")
    assert first["messages"][0] == {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    ("path", "body", "recording"),
    [
        ("/api/chat", {"messages": HELLO, "stream": False}, "chat"),
        ("/api/chat", {"messages": HELLO}, "chat-stream"),
        ("/api/generate", {"prompt": "hello", "stream": False}, "generate"),
        ("/api/generate", {"prompt": "hello"}, "generate-stream"),
        ("/api/generate", {"stream": False}, "generate-empty-loads-model"),
    ],
)
async def test_lines_have_the_fields_of_a_real_ollama_in_their_order(
    pool: Any, ask: Callable[..., Any], path: str, body: Any, recording: str
) -> None:
    """First and last line; tokens as numbers (``context``) we cannot give, the decision we add."""
    real = recorded(recording)

    reply = await ask(pool.url, "POST", path, {"model": "phi3", **body})

    lines = [msgspec.json.decode(line) for line in reply.body.splitlines()]
    for ours, theirs in ((lines[0], real[0]), (lines[-1], real[-1])):
        assert [name for name in ours if name not in OURS] == [name for name in theirs if name != "context"]
        assert ours.get("message", {}).keys() == theirs.get("message", {}).keys()
    streamed = body.get("stream", True)
    assert reply.headers["content-type"].startswith("application/x-ndjson" if streamed else "application/json")
    assert reply.body.endswith(b"\n") is streamed


@pytest.mark.parametrize(("path", "recording"), [("/api/tags", "tags"), ("/api/ps", "ps-loaded")])
async def test_models_are_listed_as_ollama_lists_them(
    pool: Any, ask: Callable[..., Any], path: str, recording: str
) -> None:
    """Each with the fields every Ollama has; ``details`` of files we do not have are left out."""
    real = recorded(recording)[0]["models"][0]

    listed = (await ask(pool.url, "GET", path)).json["models"]

    assert {"phi3:latest", "pool:latest", "pool/judge:latest"} <= {model["name"] for model in listed}
    assert set(real) - set(listed[0]) <= {"capabilities"}
    assert set(real["details"]) - set(listed[0]["details"]) <= {"context_length", "embedding_length"}


async def test_the_client_lists_and_shows_models(client: ollama.AsyncClient) -> None:
    """What its own classes demand is there."""
    assert "pool:latest" in [model.model for model in (await client.list()).models]
    assert (await client.ps()).models
    assert (await client.show("pool/consensus")).capabilities == ["completion", "tools"]
    assert (await client.show("pool/task/judge")).capabilities == ["completion"]


async def test_the_version_is_one_that_clients_take(pool: Any, ask: Callable[..., Any]) -> None:
    """Copilot asks for 0.6.4 at least; ours is told by ``/health``."""
    said = (await ask(pool.url, "GET", "/api/version")).json["version"]

    assert tuple(map(int, said.split("."))) >= (0, 6, 4)


async def test_a_model_tells_how_much_context_it_has(daemons: Any, ask: Callable[..., Any]) -> None:
    """The least of those that are asked, as configured or as their backends say; last resorts do not count."""
    extra, components = "[qos]\nmax_deadline_ms = 5000\n", Components(extensions=(api.add_routes,))
    async with daemons(extra, components=components, providers=CONTEXTS) as running:
        shown = {
            name: (await ask(running.url, "POST", "/api/show", {"model": name})).json["model_info"]
            for name in ("pool", "large", "small", "rest")
        }
        listed = (await ask(running.url, "GET", "/api/ps")).json["models"]

    assert {info["general.architecture"] for info in shown.values()} == {"llm-pool"}
    found = {name: info["llm-pool.context_length"] for name, info in shown.items()}
    assert found == {"pool": 8192, "large": 32768, "small": 8192, "rest": 2048}
    assert all(model["context_length"] for model in listed)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/pull"), ("DELETE", "/api/delete"), ("POST", "/api/push"), ("POST", "/api/blobs/sha256:a")],
)
async def test_models_are_not_managed_here(pool: Any, ask: Callable[..., Any], method: str, path: str) -> None:
    """One sentence says so, and nothing is done."""
    reply = await ask(pool.url, method, path, {"model": "phi3:mini"})

    assert reply.status == 501
    assert "whoever runs the pool" in reply.json["error"]


@pytest.mark.parametrize("wanted", ["json", {"type": "object", "properties": {"a": {"type": "integer"}}}])
async def test_a_format_shapes_the_answer(client: ollama.AsyncClient, wanted: Any) -> None:
    """Any object, or one of a schema."""
    reply = await client.chat(model="pool", messages=HELLO, format=wanted)

    assert isinstance(msgspec.json.decode(reply.message.content or ""), dict)


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"model": "nope:1b"}, 404, "model 'nope:1b' not found"),
        ({"tools": [{"type": "web_search"}]}, 400, "tools[0].type: "),
        ({"tools": [{"type": "function", "function": {"name": "two words"}}]}, 400, "tools[0].name: "),
        ({"logprobs": True}, 400, "logprobs: "),
        ({"model": "phi3", "logprobs": True, "top_logprobs": 21}, 400, "top_logprobs: "),
        ({"messages": [{"role": "user", "content": "x", "images": ["aGk="]}]}, 400, "messages[0].images[0]: "),
        ({"format": "yaml"}, 400, "format: "),
        ({"options": {"temperature": "hot"}}, 400, "options.temperature: "),
        ({"keep_alive": 0, "messages": []}, 400, "keep_alive: "),
    ],
)
async def test_what_cannot_be_served_is_refused_in_ollamas_words(
    pool: Any, ask: Callable[..., Any], change: Any, status: int, says: str
) -> None:
    """One sentence under ``error``, with the field at fault."""
    reply = await ask(pool.url, "POST", "/api/chat", {"model": "pool", "messages": HELLO, **change})

    assert reply.status == status
    assert list(reply.json) == ["error"]
    assert reply.json["error"].startswith(says)


@pytest.mark.parametrize("top", [None, 2])
async def test_one_providers_answer_has_its_log_probabilities(client: ollama.AsyncClient, top: int | None) -> None:
    """Token by token, in both ways of asking; in a stream at its end."""
    asked: dict[str, Any] = {"model": "phi3", "logprobs": True, "top_logprobs": top}

    chat = await client.chat(messages=HELLO, **asked)
    said = await client.generate(prompt="hello", **asked)
    lines = [line async for line in await client.chat(messages=HELLO, stream=True, **asked)]

    for text, logprobs in ((chat.message.content, chat.logprobs), (said.response, said.logprobs)):
        assert "".join(token.token for token in logprobs or ()) == text
        assert {len(token.top_logprobs or ()) for token in logprobs or ()} == {top or 0}
    assert lines[-1].logprobs == chat.logprobs
    assert {token.logprob for token in chat.logprobs or ()} == {-0.05}


async def test_a_stream_that_breaks_off_ends_in_an_error(pool: Any, client: ollama.AsyncClient) -> None:
    """As Ollama itself does it: an error line under 200."""
    pool.upstream.set_mode("*", "cut:2")

    with pytest.raises(ollama.ResponseError):
        _ = [line async for line in await client.chat(model="phi3", messages=HELLO, stream=True)]


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
async def test_loading_a_model_keeps_the_deadline(
    daemons: Callable[..., Any], ask: Callable[..., Any], path: str
) -> None:
    """A backend that hangs holds a request for a load no longer than its header says."""

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as backend:
        url = f"http://127.0.0.1:{backend.sockets[0].getsockname()[1]}"
        hanging = f'[[providers]]\nname = "phi3"\ndriver = "ollama"\nmodel = "phi3:mini"\nbase_url = "{url}"\n'
        components = Components(extensions=(api.add_routes,))
        async with daemons("[qos]\nmax_deadline_ms = 5000\n", providers=hanging, components=components) as running:
            began = asyncio.get_running_loop().time()
            reply = await ask(running.url, "POST", path, {"model": "phi3"}, X_Deadline_Ms="300")
            took = asyncio.get_running_loop().time() - began

    assert reply.status == 504
    assert "no answer within 300 ms" in reply.json["error"]
    assert 0.25 < took < 2

"""Embeddings, asked for by the clients of OpenAI and Ollama over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ollama
import openai
import pytest

from llm_pool.core.errors import ConfigError
from llm_pool.server import embeddings as api
from llm_pool.server import ollama as ollama_api
from llm_pool.server import openai as openai_api
from llm_pool.server.daemon import Components
from llm_pool.testing.upstream import Upstream
from llm_pool.testing.upstream.embeddings import vector
from llm_pool.testing.upstream.machine import Model

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

APIS = Components(extensions=(openai_api.add_routes, api.add_routes, ollama_api.add_routes))
MODELS = ("nomic-embed-text:latest", "bge-m3:latest", "phi3:mini")
ON_DISK = [Model(name=name, embeds=name != "phi3:mini") for name in MODELS]


def providers(url: str, second: str = "") -> str:
    """Two providers of one embedding model, on the machines *url* and *second*, one of another, and one that chats."""
    return "".join(
        f'[[providers]]\nname = "{name}"\ndriver = "{driver}"\nmodel = "{model}"\nbase_url = "{where}"\n{more}\n'
        for name, driver, model, where, more in (
            ("here", "ollama", "nomic-embed-text", url, 'tasks = ["embed"]'),
            ("there", "openai", "nomic-embed-text:latest", second or url, 'tasks = ["embed"]'),
            ("bge", "ollama", "bge-m3", url, 'tasks = ["embed"]'),
            ("phi3", "ollama", "phi3:mini", url, ""),
        )
    )


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream(ON_DISK) as up:
        yield up


@pytest.fixture
async def pool(daemons: Any, upstream: Upstream) -> AsyncIterator[Any]:
    extra = "[qos]\nmax_deadline_ms = 5000\n"
    async with daemons(providers=providers(upstream.url), extra=extra, components=APIS) as running:
        yield running


@pytest.fixture
async def client(pool: Any) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{pool.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("name", ["nomic-embed-text", "nomic-embed-text:latest", "here", "there"])
@pytest.mark.parametrize("encoding", [openai.omit, "float"])
async def test_openais_client_reads_a_batch(client: openai.AsyncOpenAI, name: str, encoding: Any) -> None:
    """In the texts' order, packed (this client's default) and as numbers, by the model's name or a provider's."""
    made = await client.embeddings.create(model=name, input=["sky", "sea"], encoding_format=encoding)

    for index, text in enumerate(["sky", "sea"]):
        assert made.data[index].embedding == pytest.approx(vector("nomic-embed-text:latest", text), abs=1e-6)
    assert [one.index for one in made.data] == [0, 1]
    assert (made.usage.prompt_tokens, made.usage.total_tokens) == (2, 2)
    ours: Any = (made.model_extra or {})["llm_pool"]
    assert ours["winner"] in {"here", "there"}
    assert ours["winner"] == name or name.startswith("nomic")


async def test_dimensions_reach_the_model_and_are_held_against_its_answer(
    client: openai.AsyncOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that takes no notice of them has not answered what was asked."""
    made = await client.embeddings.create(model="bge", input="sky", dimensions=3)
    assert made.data[0].embedding == pytest.approx(vector("bge-m3:latest", "sky", 3), abs=1e-6)

    monkeypatch.setattr("llm_pool.testing.upstream.embeddings.vector", lambda *_: [0.5] * 8)
    with pytest.raises(openai.InternalServerError, match="vectors of 8 dimensions, 3 were asked for"):
        await client.embeddings.create(model="bge", input="sea", dimensions=3)


async def test_a_large_batch_is_asked_for_in_pieces(pool: Any, upstream: Upstream, client: openai.AsyncOpenAI) -> None:
    """And comes back as one."""
    texts = [f"text {at}" for at in range(70)]

    made = await client.embeddings.create(model="bge", input=texts)

    asked = [len(entry.body["input"]) for entry in upstream.journal.entries if entry.path == "/api/embed"]
    assert [size for size in asked if size] == [32, 32, 6]  # one of none only loads the model
    assert made.data[69].embedding == pytest.approx(vector("bge-m3:latest", "text 69"), abs=1e-6)
    assert made.usage.prompt_tokens == sum(1 + len(text) // 4 for text in texts)


async def test_ollamas_client_reads_both_ways(pool: Any, upstream: Upstream) -> None:
    """Many vectors or, the older way, one; what is too long is cut, as Ollama does it unless told otherwise."""
    async with ollama.AsyncClient(host=pool.url) as client:
        many = await client.embed(model="nomic-embed-text", input=["sky", "sea"])
        one = await client.embeddings(model="bge-m3", prompt="sky")
        await client.embed(model="bge", input="sky", truncate=False)

    assert [list(found) for found in many.embeddings] == [vector(MODELS[0], text) for text in ("sky", "sea")]
    assert (many.prompt_eval_count, list(one.embedding)) == (2, vector(MODELS[1], "sky"))
    asked = [entry.body for entry in upstream.journal.entries if entry.path == "/api/embed"]
    cut = [body["truncate"] for body in asked if body["input"]]  # one of none only loads the model
    assert cut == [True, True, False]


async def test_a_late_provider_is_helped_out_by_one_of_the_same_model_only(daemons: Any, upstream: Upstream) -> None:
    """Vectors of another model lie in another space: rather none than those."""
    async with (
        Upstream(ON_DISK) as second,
        daemons(
            "[qos]\nmax_deadline_ms = 1000\nhedge_after_ms = 100\n",
            providers=providers(upstream.url, second.url),
            components=APIS,
        ) as pool,
        openai.AsyncOpenAI(base_url=f"{pool.url}/v1", api_key="none", max_retries=0) as client,
    ):
        upstream.set_mode("*", "hang")
        made = await client.embeddings.create(model="nomic-embed-text", input="sky")
        with pytest.raises(openai.APIStatusError) as late:
            await client.with_options(default_headers={"X-Deadline-Ms": "500"}).embeddings.create(
                model="bge-m3", input="sky"
            )

    assert (made.model_extra or {})["llm_pool"]["winner"] == "there"
    assert late.value.status_code == 504


async def test_failures_fail_over_and_open_breakers(pool: Any, upstream: Upstream, client: openai.AsyncOpenAI) -> None:
    """By the same policies as answers."""
    upstream.set_mode("*", "error:500", "error:500", "ok")
    made = await client.embeddings.create(model="nomic-embed-text", input="sky")

    assert (made.model_extra or {})["llm_pool"]["decision"]["attempts"]
    assert made.data[0].embedding == pytest.approx(vector(MODELS[0], "sky"), abs=1e-6)


@pytest.mark.parametrize(
    ("change", "param", "status"),
    [
        ({"model": "pool"}, "model", 404),
        ({"model": "phi3"}, "model", 404),
        ({"input": []}, "input", 400),
        ({"input": [1, 2, 3]}, "input", 400),
        ({"input": [[1, 2], [3]]}, "input", 400),
        ({"input": ["x"] * 2049}, "input", 400),
        ({"dimensions": 0}, "dimensions", 400),
        ({"encoding_format": "int8"}, "encoding_format", 400),
    ],
)
async def test_what_cannot_be_served_is_refused_by_name(
    pool: Any, upstream: Upstream, client: openai.AsyncOpenAI, change: dict[str, Any], param: str, status: int
) -> None:
    """No model is asked. ``pool`` means nothing where there are two models."""
    with pytest.raises(openai.APIStatusError) as raised:
        await client.embeddings.create(**{"model": "bge", "input": "sky", "encoding_format": "float", **change})

    assert (raised.value.status_code, raised.value.param) == (status, param)
    assert not upstream.counts.requests


@pytest.mark.parametrize("name", ["text-embedding-3-small", "text-embedding-3-small:latest", "old"])
async def test_an_alias_of_an_embedding_model_is_asked_as_what_it_stands_for(
    daemons: Any, upstream: Upstream, ask: Any, name: str
) -> None:
    """For clients that insist on a name of their own, and for a provider that was renamed; on both APIs."""
    extra = '[qos]\nmax_deadline_ms = 5000\n[models]\nold = "bge"\n"text-embedding-3-small" = "old"\n'
    async with (
        daemons(providers=providers(upstream.url), extra=extra, components=APIS) as pool,
        openai.AsyncOpenAI(base_url=f"{pool.url}/v1", api_key="none", max_retries=0) as client,
    ):
        made = await client.embeddings.create(model=name, input="sky")
        reply = await ask(pool.url, "POST", "/api/embed", {"model": name, "input": "sky"})

    assert made.model == name
    assert made.data[0].embedding == pytest.approx(vector("bge-m3:latest", "sky"), abs=1e-6)
    assert reply.json["embeddings"][0] == vector("bge-m3:latest", "sky")


async def test_those_that_embed_are_listed_with_what_they_can_do(daemons: Any, upstream: Upstream, ask: Any) -> None:
    """By provider, by model and by alias, on both APIs, as Ollama lists its own; who answers comes first."""
    extra = '[qos]\nmax_deadline_ms = 5000\n[models]\nold = "bge"\n'
    async with daemons(providers=providers(upstream.url), extra=extra, components=APIS) as pool:
        listed = (await ask(pool.url, "GET", "/v1/models")).json["data"]
        tags = (await ask(pool.url, "GET", "/api/tags")).json["models"]
        one = await ask(pool.url, "GET", "/v1/models/nomic-embed-text")
        shown = await ask(pool.url, "POST", "/api/show", {"model": "old:latest"})

    able = {model["id"]: model["capabilities"] for model in listed}
    embedding = ["here", "there", "bge", "nomic-embed-text", "bge-m3", "old"]
    assert list(able)[-6:] == embedding
    assert [able[name] for name in embedding] == [["embedding"]] * 6
    assert "completion" in able["phi3"]
    assert {f"{name}:latest" for name in embedding} <= {model["model"] for model in tags}
    assert (one.status, one.json["id"], shown.json["capabilities"]) == (200, "nomic-embed-text", ["embedding"])


async def test_one_that_only_embeds_is_no_chat_model(pool: Any, client: openai.AsyncOpenAI) -> None:
    """Neither by name nor in a panel; and it is healthy, as it does what it is there for."""
    hello: Any = [{"role": "user", "content": "hello"}]
    chat = await client.chat.completions.create(model="pool/voting", messages=hello)
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.create(model="bge", messages=hello)

    attempts = (chat.model_extra or {})["llm_pool"]["decision"]["attempts"]
    assert [attempt["provider"] for attempt in attempts] == ["phi3"]
    states = {state.name: state.condition for state in await pool.manager.states()}
    assert states == {"here": "healthy", "there": "healthy", "bge": "healthy", "phi3": "healthy"}


async def test_a_pool_with_one_embedding_model_has_it_by_its_own_name(daemons: Any, upstream: Upstream) -> None:
    """``pool`` is clear there."""
    only = (
        f'[[providers]]\nname = "bge"\ndriver = "ollama"\nmodel = "bge-m3"\nbase_url = "{upstream.url}"\n'
        'tasks = ["embed", "ask"]\n'
    )
    async with (
        daemons(providers=only, extra="[qos]\nmax_deadline_ms = 5000\n", components=APIS) as pool,
        openai.AsyncOpenAI(base_url=f"{pool.url}/v1", api_key="none", max_retries=0) as client,
    ):
        made = await client.embeddings.create(model="pool", input="sky")
        hello: Any = [{"role": "user", "content": "hello"}]
        chat = await client.chat.completions.create(model="bge", messages=hello)

    assert len(made.data) == 1
    assert chat.choices[0].message.content


async def test_embeddings_that_are_switched_off_are_refused(daemons: Any, upstream: Upstream, ask: Any) -> None:
    """By the same key as any task; a deadline of the sender's is kept, and must be one."""
    off = "[qos]\nmax_deadline_ms = 5000\n[tasks.embed]\nenabled = false\n"
    async with daemons(off, providers=providers(upstream.url), components=APIS) as pool:
        refused = await ask(pool.url, "POST", "/v1/embeddings", {"model": "bge", "input": "sky"})

    assert (refused.status, "switched off" in refused.json["error"]["message"]) == (400, True)
    assert not upstream.counts.requests


VOTED = """
driver = "ollama"
model = "m"
base_url = "http://127.0.0.1:1"
tasks = ["embed"]
[tasks.embed]
strategy = "VOTING"
"""


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('driver = "llamacpp"\nmodel = "m.gguf"\ntasks = ["embed"]', "providers[0].tasks"),
        (VOTED, "tasks.embed.strategy"),
    ],
)
async def test_the_configuration_promises_nothing_that_cannot_be_done(
    config_for: Callable[..., Any], text: str, key: str
) -> None:
    """The key is named."""
    with pytest.raises(ConfigError) as raised:
        config_for("http://127.0.0.1:1", "[qos]", f'[[providers]]\nname = "a"\n{text}')

    assert key in {raised.value.key, *(also.key for also in raised.value.also)}

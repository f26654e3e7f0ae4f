"""How long answers, questions and requests may be, what is answered anew, and how many answers: over real HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import msgspec
import pytest

from llm_pool.server import ollama, openai
from llm_pool.server.body_limit import LARGEST, SMALLEST, body_limit
from llm_pool.server.daemon import Components
from llm_pool.server.grpc import grpc_server
from llm_pool.wire import llmpool_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

COMPONENTS = Components(servers=(grpc_server("127.0.0.1:0"),), extensions=(openai.add_routes, ollama.add_routes))
CHAT, OLLAMA = "/v1/chat/completions", "/api/chat"
HELLO = [{"role": "user", "content": "Write the long guide"}]
WORDS = 700
PLAN = {
    "type": "object",
    "properties": {"steps": {"type": "array", "items": {"type": "string"}}},
    "required": ["steps"],
}
STEPS = msgspec.json.encode({"steps": ["one step more"] * 200}).decode()
TREE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#"}}},
    "required": ["name"],
}


def said(asked: Any) -> str:
    """A tree, a plan of many steps, or 700 words."""
    if asked.schema is None:
        return " ".join(["word"] * WORDS)
    return '{"name": "a", "children": [{"name": "b"}]}' if "children" in str(asked.schema) else STEPS


@pytest.fixture
async def pool(daemons: Any) -> AsyncIterator[Any]:
    """A daemon whose models write much."""
    async with daemons(components=COMPONENTS, answer=said) as running:
        yield running


def chat(**more: Any) -> dict[str, Any]:
    """A body of OpenAI's chat API."""
    return {"model": "pool", "messages": HELLO, **more}


def grpc_of(pool: Any) -> str:
    """Where it serves gRPC."""
    return next(url for url in pool.urls if url.startswith("grpc")).removeprefix("grpc://")


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what happens elsewhere, five seconds at most."""
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110  # what the upstream notes tells nobody
            await asyncio.sleep(0.01)


def asked_of(pool: Any, path: str = "/api/chat") -> list[Any]:
    """The bodies that backends were sent."""
    return [entry.body for entry in pool.upstream.journal.entries if entry.path == path]


# How long an answer is.


@pytest.mark.parametrize("length", [{}, {"max_tokens": -1}, {"max_completion_tokens": -1}, {"max_tokens": None}])
async def test_an_answer_goes_to_its_end_where_nobody_limits_it(pool: Any, ask: Any, length: dict[str, Any]) -> None:
    """And no limit is sent."""
    reply = await ask(pool.url, "POST", CHAT, chat(**length))

    choice = reply.json["choices"][0]
    assert (choice["finish_reason"], len(choice["message"]["content"].split())) == ("stop", WORDS)
    assert all("num_predict" not in body["options"] for body in asked_of(pool))


@pytest.mark.parametrize("predict", [None, -1, -2])
async def test_ollamas_words_for_no_limit(pool: Any, ask: Any, predict: int | None) -> None:
    """Over both of its routes."""
    options = {"options": {"num_predict": predict}, "stream": False}
    chatted = await ask(pool.url, "POST", OLLAMA, {"model": "pool", "messages": HELLO, **options})
    generated = await ask(pool.url, "POST", "/api/generate", {"model": "pool", "prompt": "guide", **options})

    assert [chatted.json["done_reason"], generated.json["done_reason"]] == ["stop", "stop"]
    assert len(chatted.json["message"]["content"].split()) == len(generated.json["response"].split()) == WORDS
    assert all("num_predict" not in body["options"] for body in asked_of(pool))


async def test_our_own_api_sends_no_limit_either(pool: Any, ask: Any) -> None:
    """Left out, 0 and -1, over HTTP and gRPC."""
    for more in ({}, {"max_tokens": 0}, {"max_tokens": -1}):
        reply = await ask(pool.url, "POST", "/v1/infer", {"prompt": "guide", "no_cache": True, **more})
        assert (reply.json["finish"], len(reply.json["content"].split())) == ("stop", WORDS)
    async with grpc.aio.insecure_channel(grpc_of(pool)) as channel:
        infer: Any = channel.unary_unary("/llmpool.v1.LLMPool/Infer", response_deserializer=pb.Answer.FromString)
        for tokens in (0, -1):
            query = pb.Query(prompt="guide", max_tokens=tokens, no_cache=True)
            answer = await infer(query.SerializeToString())
            assert len(answer.content.split()) == WORDS

    assert all("num_predict" not in body["options"] for body in asked_of(pool))


@pytest.mark.parametrize(("limit", "status"), [(0, 400), (-3, 400), (16.0, 200), (16, 200)])
async def test_other_lengths_are_taken_or_refused_by_name(pool: Any, ask: Any, limit: float, status: int) -> None:
    """A whole number may be written as a fraction."""
    reply = await ask(pool.url, "POST", CHAT, chat(max_tokens=limit))

    assert reply.status == status
    if status == 200:
        assert reply.json["choices"][0]["finish_reason"] == "length"
    else:
        assert reply.json["error"]["param"] == "max_tokens"


SHAPED = {"type": "json_schema", "json_schema": {"name": "plan", "schema": PLAN}}


@pytest.mark.parametrize("shape", [SHAPED, {"type": "json_object"}])
async def test_shaped_answers_have_no_limit_of_ours(pool: Any, ask: Any, shape: dict[str, Any]) -> None:
    """The default is for tasks with a schema of their own."""
    reply = await ask(pool.url, "POST", CHAT, chat(response_format=shape))

    choice = reply.json["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert len(msgspec.json.decode(choice["message"]["content"])["steps"]) == 200


@pytest.mark.parametrize(("model", "calls"), [("phi3", 1), ("pool", 1), ("pool/voting", 3)])
@pytest.mark.parametrize("stream", [False, True])
async def test_json_that_its_length_cuts_off_is_told(pool: Any, ask: Any, model: str, calls: int, stream: bool) -> None:
    """As other servers tell it: 200, the text, ``length``; asked once of each, not of one after the other."""
    reply = await ask(
        pool.url, "POST", CHAT, chat(model=model, max_tokens=20, response_format=SHAPED, stream=stream, temperature=0)
    )

    assert reply.status == 200
    if stream:
        chunks = [msgspec.json.decode(line[6:]) for line in reply.body.split(b"\n\n") if line.startswith(b"data: {")]
        text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
        finish, ours = chunks[-1]["choices"][0]["finish_reason"], chunks[-1]["llm_pool"]
    else:
        choice = reply.json["choices"][0]
        text, finish, ours = choice["message"]["content"], choice["finish_reason"], reply.json["llm_pool"]
    assert finish == "length"
    assert text
    assert STEPS.startswith(text)
    assert ours["degraded"]
    assert len(asked_of(pool)) == calls


async def test_ollamas_clients_are_told_it_too(pool: Any, ask: Any) -> None:
    """``done_reason`` is ``length``."""
    body = {"model": "pool", "messages": HELLO, "format": PLAN, "options": {"num_predict": 20}, "stream": False}
    reply = await ask(pool.url, "POST", OLLAMA, body)

    assert (reply.status, reply.json["done_reason"]) == (200, "length")
    assert STEPS.startswith(reply.json["message"]["content"])


async def test_what_was_cut_is_not_kept(pool: Any, ask: Any) -> None:
    """The next one is asked again."""
    for _ in range(2):
        reply = await ask(pool.url, "POST", CHAT, chat(max_tokens=20, response_format=SHAPED, temperature=0))
        assert "cached=0" in reply.headers["x-llm-pool-decision"]

    assert len(asked_of(pool)) == 2


async def test_our_own_api_gives_a_value_that_fits_or_none(pool: Any, ask: Any) -> None:
    """Programs read ``json``: a task whose answer is cut has none, and says why."""
    reply = await ask(pool.url, "POST", "/v1/infer", {"prompt": "x", "task": "expand_queries", "max_tokens": 5})

    assert (reply.status, reply.json["error"]["code"]) == (502, "all_providers_failed")


# How long a question is.


@pytest.mark.parametrize("size", [18_000, 300_000])
async def test_a_conversation_may_fill_the_context(pool: Any, ask: Any, size: int) -> None:
    """Aider's file, a page of a search: ``qos.max_prompt_bytes`` is for tasks."""
    turns = [{"role": role, "content": "a" * (size // 3)} for role in ("user", "assistant", "user")]
    reply = await ask(pool.url, "POST", CHAT, chat(messages=turns))
    task = await ask(pool.url, "POST", "/v1/infer", {"prompt": "a" * size, "task": "expand_queries"})

    assert reply.status == 200
    assert (task.status, task.json["error"]["field"]) == (400, "prompt")
    assert "over the limit of 16384" in task.json["error"]["message"]


async def test_what_fits_no_context_is_an_error_with_the_number_of_tokens(pool: Any, ask: Any) -> None:
    """The models' 4096, as ``/api/show`` tells; nobody is asked."""
    reply = await ask(pool.url, "POST", CHAT, chat(messages=[{"role": "user", "content": "word " * 9000}]))

    assert (reply.status, reply.json["error"]["code"]) == (400, "context_length_exceeded")
    assert "it has 9000 tokens at least" in reply.json["error"]["message"]
    assert asked_of(pool) == []


async def test_it_goes_to_those_whose_context_holds_it(daemons: Any, ask: Any) -> None:
    """And to nobody else."""
    providers = (
        '[[providers]]\nname = "{0}"\ndriver = "ollama"\nmodel = "{1}"\nbase_url = "{2}"\ncontext = {3}\n'.format
    )
    async with daemons(components=COMPONENTS) as running:
        url = running.upstream.url
        both = providers("small", "phi3:mini", url, 2048) + providers("large", "llama3.1:8b", url, 16384)
        async with daemons("[qos]\n", providers=both, components=COMPONENTS) as pool:
            reply = await ask(pool.url, "POST", CHAT, chat(messages=[{"role": "user", "content": "word " * 5000}]))

    assert reply.status == 200
    assert "winner=large" in reply.headers["x-llm-pool-decision"]
    assert reply.json["llm_pool"]["decision"]["notes"] == ["not asked, as unable: small (context)"]


async def test_the_body_limit_follows_the_configuration(daemons: Any, ask: Any) -> None:
    """Over HTTP and gRPC: 4 MiB, and six bytes for each that a task's input may have."""
    async with daemons("[qos]\nmax_prompt_bytes = 2000000", components=COMPONENTS) as pool:
        limit = body_limit(pool.manager.config)
        over = await ask(pool.url, "POST", "/v1/infer", {"prompt": "a" * limit})
        fits = await ask(pool.url, "POST", "/v1/infer", {"prompt": "a" * (SMALLEST + 100), "task": "expand_queries"})
        async with grpc.aio.insecure_channel(grpc_of(pool)) as channel:
            infer: Any = channel.unary_unary("/llmpool.v1.LLMPool/Infer")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await infer(pb.Query(prompt="a" * limit).SerializeToString())
            with pytest.raises(grpc.aio.AioRpcError) as too_long:
                await infer(pb.Query(prompt="a" * (SMALLEST + 100), task_name="expand_queries").SerializeToString())

    assert limit == 12_000_000
    assert (over.status, over.json["error"]["code"]) == (413, "body_too_large")
    assert (fits.status, fits.json["error"]["field"]) == (400, "prompt")
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert too_long.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(("prompt", "given"), [(1, SMALLEST), (1 << 20, 6 << 20), (1 << 30, LARGEST)])
def test_the_rule_for_bodies(config_for: Callable[..., Any], prompt: int, given: int) -> None:
    """Never less than 4 MiB, never more than 1 GiB."""
    assert body_limit(config_for("http://127.0.0.1:9", f"[qos]\nmax_prompt_bytes = {prompt}")) == given


# What is answered anew.


def cached(reply: Any) -> bool:
    """Whether a kept answer came."""
    return "cached=1" in reply.headers["x-llm-pool-decision"]


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({}, False),
        ({"temperature": 0.7}, False),
        ({"temperature": 0}, True),
        ({"seed": 1}, True),
        ({"temperature": 0.7, "seed": 1}, True),
        ({"model": "pool/task/expand_queries"}, True),
        ({"model": "pool/task/expand_queries", "temperature": 0.7}, False),
    ],
)
async def test_a_sample_is_made_anew(daemons: Any, ask: Any, fields: dict[str, Any], kept: bool) -> None:
    """A conversation too, unless its answer is pinned: people regenerate. A task is cached as ever."""
    async with daemons(components=COMPONENTS) as pool:
        await ask(pool.url, "POST", CHAT, chat(**fields))
        again = await ask(pool.url, "POST", CHAT, chat(**fields))

        assert again.status == 200
        assert cached(again) is kept


async def test_equal_samples_in_the_air_share_no_run(daemons: Any, ask: Any) -> None:
    """Two who ask at once get two answers; pinned ones share."""
    async with daemons(components=COMPONENTS, ttft="const:0.3") as pool:
        await asyncio.gather(*(ask(pool.url, "POST", CHAT, chat(model="phi3")) for _ in range(3)))
        sampled = len(asked_of(pool))
        await asyncio.gather(*(ask(pool.url, "POST", CHAT, chat(model="phi3", temperature=0)) for _ in range(3)))

        assert (sampled, len(asked_of(pool))) == (3, 4)


@pytest.mark.parametrize("directive", ["no-cache", "no-store", "max-age=0, No-Cache"])
async def test_cache_control_keeps_the_cache_out_of_it(daemons: Any, ask: Any, directive: str) -> None:
    """On every HTTP API, and as metadata over gRPC; what was kept stays."""
    pinned, question = {"temperature": 0}, {"prompt": "guide"}
    async with daemons(components=COMPONENTS) as pool:
        for path, body in (
            (CHAT, chat(**pinned)),
            (OLLAMA, {"model": "pool", "messages": HELLO, "stream": False, "options": pinned}),
            ("/v1/infer", question),
        ):
            await ask(pool.url, "POST", path, body)
            before = len(asked_of(pool))
            await ask(pool.url, "POST", path, body)
            assert len(asked_of(pool)) == before
            await ask(pool.url, "POST", path, body, Cache_Control=directive)
            assert len(asked_of(pool)) == before + 1
        async with grpc.aio.insecure_channel(grpc_of(pool)) as channel:
            infer: Any = channel.unary_unary("/llmpool.v1.LLMPool/Infer", response_deserializer=pb.Answer.FromString)
            kept = await infer(pb.Query(prompt="guide").SerializeToString())
            anew = await infer(
                pb.Query(prompt="guide").SerializeToString(), metadata=(("cache-control", directive.lower()),)
            )

    assert (kept.from_cache, anew.from_cache) == (True, False)


# How many answers.


async def test_several_answers_are_several_calls(pool: Any, ask: Any) -> None:
    """Each with its index, a seed of its own, and what all of them spent."""
    reply = await ask(pool.url, "POST", CHAT, chat(model="phi3", n=3, seed=7, max_tokens=5))

    assert [choice["index"] for choice in reply.json["choices"]] == [0, 1, 2]
    assert all(len(choice["message"]["content"].split()) == 5 for choice in reply.json["choices"])
    assert reply.json["usage"]["completion_tokens"] == 15
    assert len({body["options"]["seed"] for body in asked_of(pool)}) == 3


async def test_several_answers_are_streamed_side_by_side(pool: Any, ask: Any) -> None:
    """One stream, one id, one mark at its end; each choice opens and ends once."""
    body = chat(model="phi3", n=2, stream=True, max_tokens=5, stream_options={"include_usage": True})
    reply = await ask(pool.url, "POST", CHAT, body)

    events = [line[6:] for line in reply.body.split(b"\n\n") if line.startswith(b"data: ")]
    chunks = [msgspec.json.decode(event) for event in events[:-1]]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    texts = ["".join(c["delta"].get("content") or "" for c in choices if c["index"] == at) for at in (0, 1)]
    assert events[-1] == b"[DONE]"
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert [len(text.split()) for text in texts] == [5, 5]
    assert sorted(c["index"] for c in choices if c["finish_reason"]) == [0, 1]
    assert sorted(c["index"] for c in choices if c["delta"].get("role")) == [0, 1]
    assert chunks[-1]["usage"]["completion_tokens"] == 10


@pytest.mark.parametrize("n", [0, 9, -1])
async def test_too_many_answers_are_refused(pool: Any, ask: Any, n: int) -> None:
    """By name."""
    reply = await ask(pool.url, "POST", CHAT, chat(n=n))

    assert (reply.status, reply.json["error"]["param"]) == (400, "n")


@pytest.mark.parametrize("stream", [False, True])
async def test_one_that_fails_fails_the_whole(daemons: Any, ask: Any, stream: bool) -> None:
    """With its status, as nothing was sent."""
    async with daemons(components=COMPONENTS) as pool:
        for model in pool.upstream.models:
            pool.upstream.set_mode(model, "error:500")
        reply = await ask(pool.url, "POST", CHAT, chat(n=2, stream=stream))

    assert (reply.status, reply.json["error"]["code"]) == (502, "all_providers_failed")


@pytest.mark.parametrize("stream", [False, True])
async def test_who_leaves_cancels_all_of_them_at_once(daemons: Any, stream: bool) -> None:
    """Upstream, too."""
    async with daemons(components=COMPONENTS, answer=said, per_token="const:0.05") as pool:
        body = msgspec.json.encode(chat(model="phi3", n=3, stream=stream))
        host, _, port = pool.url.removeprefix("http://").partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {CHAT} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await until(lambda: len(asked_of(pool)) == 3)
        writer.close()
        left = asyncio.get_running_loop().time()
        await until(lambda: pool.upstream.counts.cancelled == 3)

        assert asyncio.get_running_loop().time() - left < 1.0  # 0.2 s on an idle machine


# Deadlines, schemas.


async def test_a_stream_that_is_cut_ends_properly(daemons: Any, ask: Any) -> None:
    """At the sender's own deadline, with ``length`` and the mark."""
    async with daemons(components=COMPONENTS, answer=said, per_token="const:0.02") as pool:
        reply = await ask(pool.url, "POST", CHAT, chat(model="phi3", stream=True), X_Deadline_Ms="600")

    events = [line[6:] for line in reply.body.split(b"\n\n") if line.startswith(b"data: ")]
    last = msgspec.json.decode(events[-2])
    assert (reply.status, events[-1], last["choices"][0]["finish_reason"]) == (200, b"[DONE]", "length")
    assert last["llm_pool"]["degraded"]


async def test_more_than_the_default_may_be_asked_for(daemons: Any, ask: Any) -> None:
    """A task has 1.5 s, and a sender who waits longer gets longer; a key that cuts it is named."""
    extra = "[qos]\nhedge = 'off'\n"
    async with daemons(extra, components=COMPONENTS, ttft="const:1.8") as pool:
        question = {"prompt": "x", "task": "expand_queries"}
        late = await ask(pool.url, "POST", "/v1/infer", question)
        patient = await ask(pool.url, "POST", "/v1/infer", question, X_Deadline_Ms="8000")
        plain = await ask(pool.url, "POST", CHAT, chat())
    async with daemons("[qos]\nmax_deadline_ms = 3000\n", components=COMPONENTS) as pool:
        cut = await ask(pool.url, "POST", "/v1/infer", {"prompt": "x", "deadline_ms": 9000})

    assert [late.status, patient.status, plain.status] == [504, 200, 200]
    assert cut.json["decision"]["notes"] == ["the deadline is 3000 ms, not the 9000 ms asked for: qos.max_deadline_ms"]


async def test_a_schema_may_refer_to_itself(pool: Any, ask: Any) -> None:
    """It is sent as grammars know it, and the answer is checked by it."""
    shape = {"type": "json_schema", "json_schema": {"name": "tree", "schema": TREE}}
    reply = await ask(pool.url, "POST", CHAT, chat(response_format=shape))

    assert msgspec.json.decode(reply.json["choices"][0]["message"]["content"])["children"] == [{"name": "b"}]
    assert asked_of(pool)[0]["format"]["properties"]["children"]["items"] == {"$ref": "#/$defs/root"}

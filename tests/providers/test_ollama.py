"""Ollama as it was recorded, byte for byte: what we send it, and what we make of its answers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from llm_pool.core.errors import BadReply, Failed, ProviderError, Rejected, Unreachable
from llm_pool.core.messages import Call, Delta, Prompt, PullProgress, TokenLogprob, Usage
from llm_pool.providers.ollama import OllamaProvider, OllamaStore, full_name
from llm_pool.testing import a_call

if TYPE_CHECKING:
    from llm_pool.providers.transport import Transport

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

Replay = Callable[..., Any]
PULL = "llm-pool models pull"


def ollama(url: str, transport: Transport, model: str = "gemma2:9b", **settings: Any) -> OllamaProvider:
    return OllamaProvider(name="gemma", base_url=url, model=model, transport=transport, **settings)


async def answered(provider: OllamaProvider, call: Call | None = None) -> list[Delta]:
    async with aclosing(provider.stream(call or a_call("hello"))) as stream:
        return [delta async for delta in stream]


async def test_a_recorded_stream(replay: Replay, recorded: Any, transport: Transport) -> None:
    """The recorded question is what we send; the recorded answer is what we read."""
    call = a_call("hello", max_tokens=8, seed=1, temperature=0.3)
    async with replay("ollama/chat-stream").listening() as server:
        deltas = await answered(ollama(server.url, transport), call)

    assert server.visits[0].json == recorded("ollama/chat-stream").request | {"stream": True}
    assert "".join(delta.text for delta in deltas) == "/\ufbe7$u!"
    assert deltas[-1] == Delta("", final=True, finish="length", usage=Usage(22, 8), loading=0.006233935)
    assert [delta.final for delta in deltas].count(True) == 1


async def test_recorded_logprobs(replay: Replay, recorded: Any, transport: Transport) -> None:
    call = a_call("A or B?", max_tokens=2, seed=1, top_logprobs=3)
    async with replay("ollama/chat-logprobs").listening() as server:
        deltas = await answered(ollama(server.url, transport), call)

    assert server.visits[0].json == recorded("ollama/chat-logprobs").request | {"stream": True}
    assert "".join(delta.text for delta in deltas) == "xu"
    assert [token for delta in deltas for token in delta.logprobs][1] == TokenLogprob(
        "u",
        -2.2473819255828857,
        (("u", -2.2473819255828857), ("\ufffd", -2.6124556064605713), ("\x14", -3.4718427658081055)),
    )


async def test_a_recorded_whole_answer_reads_as_a_stream_of_one(replay: Replay, transport: Transport) -> None:
    async with replay("ollama/chat").listening() as server:
        said, last = await answered(ollama(server.url, transport))

    assert (said.text, last.final, last.finish) == ("/\ufbe7$u!", True, "length")


async def test_system_text_schema_and_keep_alive_are_sent(replay: Replay, transport: Transport) -> None:
    schema = {"type": "object", "properties": {"winner_id": {"enum": ["c1"]}}}
    call = msgspec.structs.replace(a_call(schema=schema), prompt=Prompt("be brief", "x"))
    async with replay("ollama/chat-stream").listening() as server:
        provider = ollama(server.url, transport, keep_alive="30m", api_key="k")
        with_system = Call(
            **{f: getattr(call, f) for f in call.__struct_fields__} | {"prompt": Prompt("be brief", "x")}
        )
        await answered(provider, with_system)

    (visit,) = server.visits
    assert visit.json["messages"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "x"}]
    assert (visit.json["format"], visit.json["keep_alive"]) == (schema, "30m")
    assert "seed" not in visit.json["options"]
    assert "logprobs" not in visit.json
    assert visit.headers["authorization"] == "Bearer k"


async def test_an_unknown_model_says_how_to_get_it(replay: Replay, recorded: Any, transport: Transport) -> None:
    async with replay("ollama/unknown-model-chat-stream").listening() as server:
        with pytest.raises(Rejected, match="404: model 'nope:1b' not found") as caught:
            await answered(ollama(server.url, transport, "nope:1b"), a_call("x"))

    assert server.visits[0].json["model"] == recorded("ollama/unknown-model-chat-stream").request["model"]
    assert caught.value.hint == f"{PULL} nope:1b"


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (b'{"message":{"content":"a"},"done":false}\n{"error":"an error was encountered: unexpected EOF"}\n', Failed),
        (b'{"message":{"content":"a"},"done":false}\n', Failed),
        (b"", Failed),
        (b'{"message":{"content":"a"},"done":fal', BadReply),
        (b"<html>\n", Rejected),
        (b'{"message":{"content":7},"done":false}\n', Failed),
        (b'["a"]\n', Failed),
        (b'{"message":{"content":""},"done":true,"done_reason":"load"}', Failed),
    ],
)
async def test_a_stream_without_its_end_is_no_answer(
    serving: Any, transport: Transport, lines: bytes, error: type[ProviderError]
) -> None:
    """Errors inside a 200 stream are errors, and so is an end that was not announced."""

    async def serve(visit: Any) -> None:
        visit.whole(lines)

    async with serving(serve).listening() as server:
        with pytest.raises(error):
            await answered(ollama(server.url, transport))


async def test_unreachable_says_how_to_start_it(transport: Transport) -> None:
    with pytest.raises(Unreachable) as caught:
        await answered(ollama("http://127.0.0.1:1", transport))

    assert caught.value.hint == "ollama serve"


@pytest.mark.parametrize(
    ("model", "condition", "hint"),
    [
        ("gemma2:9b", "healthy", ""),
        ("llama3.1:8b", "warming", "llm-pool health --warm"),
        ("llama3.1", "model_missing", f"{PULL} llama3.1"),
        ("nope:1b", "model_missing", f"{PULL} nope:1b"),
    ],
)
async def test_the_state_by_what_is_listed_and_loaded(
    replay: Replay, transport: Transport, model: str, condition: str, hint: str
) -> None:
    async with replay("ollama/tags", "ollama/ps-loaded").listening() as server:
        state = await ollama(server.url, transport, model).state()

    assert (state.condition, state.hint, state.name, state.model) == (condition, hint, "gemma", model)
    assert state.loaded == ("gemma2:9b", "phi3:mini")


async def test_a_stopped_server_is_unreachable(transport: Transport) -> None:
    state = await ollama("http://127.0.0.1:1", transport).state()

    assert (state.condition, state.hint) == ("unreachable", "ollama serve")
    assert "127.0.0.1:1" in state.detail


async def test_a_server_of_another_kind_is_failing(serving: Any, transport: Transport) -> None:
    async def serve(visit: Any) -> None:
        visit.whole(b"404 page not found", "404 Not Found")

    async with serving(serve).listening() as server:
        state = await ollama(server.url, transport).state()

    assert (state.condition, state.detail) == ("failing", "404: 404 page not found")


async def test_a_name_without_a_tag_means_latest() -> None:
    assert full_name("llama3.1") == "llama3.1:latest"
    assert full_name("llama3.1:8b") == "llama3.1:8b"
    assert full_name("localhost:5000/me/llama3.1") == "localhost:5000/me/llama3.1:latest"


async def test_loading_is_an_empty_question(replay: Replay, recorded: Any, transport: Transport) -> None:
    async with replay("ollama/generate-empty-loads-model").listening() as server:
        await ollama(server.url, transport, "llama3.1:8b").load()
        await ollama(server.url, transport, "llama3.1:8b", keep_alive=-1).load()

    first, second = server.visits
    assert first.json == recorded("ollama/generate-empty-loads-model").request
    assert second.json == first.json | {"keep_alive": -1}


async def test_loading_what_is_not_there(replay: Replay, transport: Transport) -> None:
    async with replay("ollama/unknown-model").listening() as server:
        with pytest.raises(Rejected) as caught:
            await ollama(server.url, transport, "nope:1b").load()

    assert caught.value.hint == f"{PULL} nope:1b"


def store(url: str, transport: Transport) -> OllamaStore:
    return OllamaStore(name="ollama", base_url=url, transport=transport)


async def test_the_models_on_disk(replay: Replay, transport: Transport) -> None:
    async with replay("ollama/tags", "ollama/ps-loaded").listening() as server:
        models = await store(server.url, transport).models()

    assert [(m.name, m.size, m.loaded) for m in models] == [
        ("gemma2:9b", 934389, True),
        ("phi3:mini", 934389, True),
        ("llama3.1:8b", 934389, False),
    ]
    assert models[0].digest.startswith("b4d6fc3d2f8f")
    assert models[0].detail["quantization_level"] == "F16"


async def test_an_error_in_a_pull_comes_under_status_200(replay: Replay, recorded: Any, transport: Transport) -> None:
    async with replay("ollama/pull-no-network").listening() as server:
        progress = []
        with pytest.raises(Failed, match="no such host"):
            async with aclosing(store(server.url, transport).pull("smollm2:135m")) as steps:
                progress.extend([step async for step in steps])

    assert server.visits[0].json == recorded("ollama/pull-no-network").request


async def test_a_pull_tells_how_far_it_is(serving: Any, transport: Transport) -> None:
    async def serve(visit: Any) -> None:
        visit.begin()
        visit.chunk(b'{"status":"pulling manifest"}\n{"status":"pulling ad5e","digest":"sha256:ad5e","total":100}\n')
        visit.chunk(b'{"status":"pulling ad5e","digest":"sha256:ad5e","total":100,"completed":40}\n')
        visit.chunk(b'{"status":"verifying sha256 digest"}\n{"status":"success"}\n')
        visit.write(b"0\r\n\r\n")

    async with serving(serve).listening() as server, aclosing(store(server.url, transport).pull("m")) as steps:
        progress = [step async for step in steps]

    assert progress == [
        PullProgress("pulling manifest"),
        PullProgress("pulling ad5e", 0, 100),
        PullProgress("pulling ad5e", 40, 100),
        PullProgress("verifying sha256 digest"),
        PullProgress("success"),
    ]


async def test_a_pull_that_ends_without_success_failed(serving: Any, transport: Transport) -> None:
    async def serve(visit: Any) -> None:
        visit.whole(b'{"status":"pulling manifest"}\n')

    async with serving(serve).listening() as server, aclosing(store(server.url, transport).pull("m")) as steps:
        with pytest.raises(Failed, match="before it was done") as caught:
            [step async for step in steps]

    assert caught.value.hint == f"{PULL} m"


async def test_one_model_in_detail(serving: Any, recorded: Any, transport: Transport) -> None:
    async def serve(visit: Any) -> None:
        known = b'{"models":[{"name":"phi3:mini","size":5}]}'
        visit.whole({"POST /api/show": b'{"parameters":"stop"}', "GET /api/tags": known}.get(visit.line, b"{}"))

    async with serving(serve).listening() as server:
        model = await store(server.url, transport).show("phi3:mini")

    assert server.visits[0].json == recorded("ollama/show").request
    assert (model.name, model.size, model.detail) == ("phi3:mini", 5, {"parameters": "stop"})


async def test_a_model_is_removed(serving: Any, transport: Transport) -> None:
    async def serve(visit: Any) -> None:
        visit.whole(b"")

    async with serving(serve).listening() as server:
        await store(server.url, transport).remove("phi3:mini")

    assert (server.visits[0].line, server.visits[0].json) == ("DELETE /api/delete", {"model": "phi3:mini"})


@pytest.mark.parametrize("act", ["show", "remove"])
async def test_what_is_not_there_cannot_be_shown_or_removed(serving: Any, transport: Transport, act: str) -> None:
    async def serve(visit: Any) -> None:
        visit.whole(b'{"error":"model \'nope\' not found"}', "404 Not Found")

    async with serving(serve).listening() as server:
        with pytest.raises(Rejected, match="not found") as caught:
            await getattr(store(server.url, transport), act)("nope")

    assert caught.value.hint == f"{PULL} nope"


async def test_the_repr_tells_no_secret(transport: Transport) -> None:
    assert repr(ollama("http://h:1", transport, api_key="sk-1")) == "<OllamaProvider gemma: gemma2:9b at h:1>"

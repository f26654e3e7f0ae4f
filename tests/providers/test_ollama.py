"""Ollama as it was recorded, byte for byte: what we send it, and what we make of its answers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from llm_pool.core.errors import BadReply, Failed, ProviderError, Rejected, Unreachable
from llm_pool.core.messages import Call, Delta, Prompt, PullProgress, TokenLogprob, Usage
from llm_pool.providers.ollama import OllamaProvider, OllamaStore
from llm_pool.testing import a_call

if TYPE_CHECKING:
    from llm_pool.providers.transport import Transport

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

Replay = Callable[..., Any]
PULL = "llm-pool models pull"
OUR_WAY = {"stream": True, "truncate": False}


def ollama(url: str, transport: Transport, model: str = "gemma2:9b", **settings: Any) -> OllamaProvider:
    return OllamaProvider(name="gemma", base_url=url, model=model, transport=transport, **settings)


async def answered(provider: OllamaProvider, call: Call | None = None) -> list[Delta]:
    async with aclosing(provider.stream(call or a_call("hello"))) as stream:
        return [delta async for delta in stream]


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


async def test_a_recorded_stream(replay: Replay, recorded: Any, transport: Transport) -> None:
    """The recorded question is what we send; the recorded answer is what we read."""
    call = a_call("hello", max_tokens=8, seed=1, temperature=0.3)
    async with replay("ollama/chat-stream").listening() as server:
        deltas = await answered(ollama(server.url, transport), call)

    assert server.visits[0].json == recorded("ollama/chat-stream").request | OUR_WAY
    assert "".join(delta.text for delta in deltas) == "/\ufbe7$u!"
    assert deltas[-1] == Delta("", final=True, finish="length", usage=Usage(22, 8), loading=0.006233935)
    assert [delta.final for delta in deltas].count(True) == 1


async def test_recorded_logprobs(replay: Replay, recorded: Any, transport: Transport) -> None:
    call = a_call("A or B?", max_tokens=2, seed=1, top_logprobs=3)
    async with replay("ollama/chat-logprobs").listening() as server:
        deltas = await answered(ollama(server.url, transport), call)

    assert server.visits[0].json == recorded("ollama/chat-logprobs").request | OUR_WAY
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
    async with replay("ollama/tags", "ollama/ps-loaded", "ollama/show").listening() as server:
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


LISTED = {"models": [{"name": "phi3:latest"}, {"name": "hf.co/me/Qwen-GGUF:Q4_K_M"}, {"name": "gpt:1b-cloud"}]}
DONE = b'{"message":{"content":"Yes."},"done":true,"done_reason":"stop","prompt_eval_count":3}\n'


def saying(**replies: Any) -> Any:
    """Answers ``/api/<name>`` with JSON or bytes; the others are not there."""

    async def serve(visit: Any) -> None:
        reply = replies.get(visit.line.split()[1].removeprefix("/api/"))
        if reply is None:
            visit.whole(b"404 page not found", "404 Not Found")
        else:
            visit.whole(reply if isinstance(reply, bytes) else msgspec.json.encode(reply))

    return serve


@pytest.mark.parametrize(
    ("model", "condition"),
    [
        ("phi3", "healthy"),
        ("Phi3", "healthy"),
        ("library/phi3", "healthy"),
        ("registry.ollama.ai/library/phi3:latest", "healthy"),
        ("hf.co/me/qwen-gguf:q4_k_m", "warming"),
        ("gpt:1b-cloud", "healthy"),
        ("other:3b-cloud", "healthy"),
        ("me/phi3", "model_missing"),
    ],
)
async def test_names_are_compared_as_ollama_does(
    serving: Any, transport: Transport, model: str, condition: str
) -> None:
    """A cloud model is never loaded here, and need not be listed."""
    running = {"models": [{"name": "phi3:latest", "size": 1}]}
    async with serving(saying(tags=LISTED, ps=running)).listening() as server:
        assert (await ollama(server.url, transport, model).state()).condition == condition


async def test_a_server_that_does_not_say_what_is_loaded_is_healthy(serving: Any, transport: Transport) -> None:
    """Proxies and imitations of Ollama have no ``/api/ps``."""
    async with serving(saying(tags=LISTED)).listening() as server:
        state = await ollama(server.url, transport, "phi3").state()

    assert (state.condition, state.loaded) == ("healthy", ())


async def test_an_embedding_model_is_told(serving: Any, transport: Transport) -> None:
    shown = {"capabilities": ["embedding"], "model_info": {"nomic-bert.context_length": 2048}}
    async with serving(saying(tags=LISTED, ps={"models": None}, show=shown)).listening() as server:
        state = await ollama(server.url, transport, "phi3").state()

    assert (state.condition, state.detail) == ("failing", "phi3 makes embeddings: it does not answer questions")
    assert state.facts is not None
    assert (state.facts.context, state.facts.loaded) == (2048, False)


@pytest.mark.parametrize("tags", [{"models": None}, [], {"models": []}])
async def test_a_server_without_models(serving: Any, transport: Transport, tags: Any) -> None:
    async with serving(saying(tags=tags)).listening() as server:
        assert (await ollama(server.url, transport, "phi3").state()).condition == "model_missing"


@pytest.mark.parametrize(
    ("keep_alive", "sent"),
    [("-1", -1), (-1, -1), ("30", 30), ("1.5", 1.5), ("30m", "30m"), ("-1m", "-1m"), (0, 0), (2.5, 2.5)],
)
async def test_keep_alive_is_sent_as_ollama_reads_it(
    serving: Any, transport: Transport, keep_alive: str | int, sent: str | float
) -> None:
    """A number in a string would be refused: "missing unit in duration"."""
    async with serving(saying(chat=DONE)).listening() as server:
        await answered(ollama(server.url, transport, keep_alive=keep_alive))

    assert server.visits[0].json["keep_alive"] == sent


@pytest.mark.parametrize(
    ("asked", "own", "sent"), [(None, None, {}), (None, False, {"think": False}), ("low", False, {"think": "low"})]
)
async def test_thinking_is_asked_for_or_not(
    serving: Any, transport: Transport, asked: Any, own: Any, sent: dict[str, Any]
) -> None:
    async with serving(saying(chat=DONE)).listening() as server:
        await answered(ollama(server.url, transport, think=own), a_call("x", think=asked))

    assert {key: value for key, value in server.visits[0].json.items() if key == "think"} == sent


async def test_a_cloud_model_without_a_sign_in_says_how(serving: Any, transport: Transport) -> None:
    async def serve(visit: Any) -> None:
        visit.whole(b'{"error":"unauthorized","signin_url":"https://ollama.example/connect"}', "401 Unauthorized")

    async with serving(serve).listening() as server:
        with pytest.raises(Rejected, match="401: unauthorized") as caught:
            await answered(ollama(server.url, transport, "gpt-oss:120b-cloud"))

    assert caught.value.hint.startswith("ollama signin")


async def test_a_model_that_cannot_think_is_asked_without(serving: Any, transport: Transport) -> None:
    async def serve(visit: Any) -> None:
        if visit.json.get("think"):
            visit.whole(b'{"error":"\\"gemma2:9b\\" does not support thinking"}', "400 Bad Request")
        else:
            visit.whole(DONE)

    async with serving(serve).listening() as server:
        provider = ollama(server.url, transport, think=True)
        assert text_of(await answered(provider)) == "Yes."
        await answered(provider)

    assert ["think" in visit.json for visit in server.visits] == [True, False, False]


async def test_a_long_prompt_gets_a_context_that_holds_it_and_says_so(serving: Any, transport: Transport) -> None:
    call = a_call("word " * 3000)
    async with serving(saying(chat=DONE.replace(b":3}", b":3020}"))).listening() as server:
        provider = ollama(server.url, transport)
        first, second = (await answered(provider, call))[-1], (await answered(provider, call))[-1]

    assert [visit.json["options"]["num_ctx"] for visit in server.visits] == [8192, 8192]
    assert first.note == "a context of 8192 tokens was asked for, to hold the prompt"
    assert second.note == ""


async def test_a_prompt_that_was_cut_is_told(serving: Any, transport: Transport) -> None:
    """Servers before ``truncate`` cut it without a word; their count shows it."""
    async with serving(saying(chat=DONE.replace(b":3}", b":2050}"))).listening() as server:
        deltas = await answered(ollama(server.url, transport, context=4096), a_call("word " * 3000))

    assert deltas[-1].note == "the prompt was cut: 2050 tokens were read of 3000 at least (num_ctx 4096); set context"
    assert server.visits[0].json["truncate"] is False


async def test_a_server_that_gives_a_long_context_is_asked_for_none(serving: Any, transport: Transport) -> None:
    running = {"models": [{"name": "gemma2:9b", "context_length": 32768}]}
    async with serving(saying(ps=running, chat=DONE)).listening() as server:
        provider = ollama(server.url, transport)
        await provider.loaded()
        await answered(provider, a_call("word " * 3000))

    assert "num_ctx" not in server.visits[1].json["options"]


async def test_the_schema_goes_in_the_words_of_grammars(serving: Any, transport: Transport) -> None:
    schema = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
    async with serving(saying(chat=DONE)).listening() as server:
        await answered(ollama(server.url, transport), a_call("x", schema=schema))

    asked = server.visits[0].json
    assert asked["format"] == {"type": "array", "items": {"type": "string"}}
    assert asked["think"] is False


async def test_headers_and_extra_fields_go_along(serving: Any, transport: Transport) -> None:
    async with serving(saying(chat=DONE)).listening() as server:
        provider = ollama(
            server.url, transport, headers={"X-Key": "k"}, extra_body={"options": {"num_gpu": 1, "seed": 7}}
        )
        await answered(provider, a_call("x", seed=1))

    (visit,) = server.visits
    assert visit.headers["x-key"] == "k"
    assert (visit.json["options"]["num_gpu"], visit.json["options"]["seed"]) == (1, 7)


async def test_a_prompt_longer_than_it_looked_is_asked_once_more(serving: Any, transport: Transport) -> None:
    """The server says how many tokens it has; a context that holds them is asked for, now and from now on."""

    async def serve(visit: Any) -> None:
        if visit.json["options"].get("num_ctx", 4096) < 6000:
            words = b"request (6000 tokens) exceeds the available context size (4096 tokens), try increasing it"
            visit.whole(b'{"error":"%b"}' % words, "400 Bad Request")
        else:
            visit.whole(DONE)

    async with serving(serve).listening() as server:
        provider = ollama(server.url, transport)
        assert text_of(await answered(provider, a_call("1" * 9000))) == "Yes."
        await answered(provider)

    assert [visit.json["options"].get("num_ctx") for visit in server.visits] == [None, 8192, 8192]


@pytest.mark.parametrize("context", [4096, None])
async def test_a_prompt_that_no_context_holds_is_an_error_with_its_tokens(
    serving: Any, transport: Transport, context: int | None
) -> None:
    """Configured, the length stays as it is; else one longer context is tried."""

    async def serve(visit: Any) -> None:
        words = b"request (6000 tokens) exceeds the available context size (4096 tokens), try increasing it"
        visit.whole(b'{"error":"%b"}' % words, "400 Bad Request")

    async with serving(serve).listening() as server:
        with pytest.raises(Rejected, match="6000 tokens") as caught:
            await answered(ollama(server.url, transport, context=context))

    assert caught.value.hint == "shorten the prompt, or raise context of provider gemma"
    assert len(server.visits) == (1 if context else 2)


@pytest.mark.parametrize(("context", "sent"), [(2048, {"num_ctx": 2048}), (None, None)])
async def test_a_model_is_loaded_with_the_context_it_is_asked_with(
    serving: Any, transport: Transport, context: int | None, sent: Any
) -> None:
    """Else the first question would load it again."""
    async with serving(saying(generate={"done": True})).listening() as server:
        await ollama(server.url, transport, context=context).load()

    assert server.visits[0].json.get("options") == sent

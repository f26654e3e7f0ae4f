"""
What every provider keeps, whatever it speaks: one suite over all of them.

A new driver joins with one more line in ``SUBJECTS``. The backend is the scripted upstream, in every mode it has;
below, the same drivers talk to real processes.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pytest

import llm_pool
from llm_pool.core.errors import BadReply, Busy, Failed, ProviderError, Rejected, Unreachable
from llm_pool.core.messages import Call, Delta, Prompt
from llm_pool.providers.http import HttpProvider
from llm_pool.providers.ollama import OllamaProvider
from llm_pool.providers.openai import OpenAIProvider
from llm_pool.providers.transport import Transport
from llm_pool.testing import a_call
from llm_pool.testing.processes import upstream_process
from llm_pool.testing.upstream import ScriptedAnswer, Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from llm_pool.core.interfaces import Provider

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

MODEL = "phi3:mini"
CHAT = {
    "model": "{model}",
    "messages": [{"role": "system", "content": "{system}"}, {"role": "user", "content": "{user}"}],
    "max_tokens": "{max_tokens}",
    "stream": True,
}
LONG = " ".join(f"word{number}" for number in range(60))


class Subject(NamedTuple):
    """A driver, and the scripted upstream that speaks its language."""

    flavor: str
    make: Callable[[str, Transport], Provider]


def _ollama(url: str, transport: Transport) -> Provider:
    return OllamaProvider(name="it", base_url=url, model=MODEL, transport=transport)


def _openai(url: str, transport: Transport) -> Provider:
    return OpenAIProvider(name="it", base_url=url, model=MODEL, transport=transport)


def _http(url: str, transport: Transport) -> Provider:
    return HttpProvider(
        name="it",
        base_url=url,
        model=MODEL,
        transport=transport,
        path="/v1/chat/completions",
        body=CHAT,
        answers="events",
        text="choices.0.delta.content",
        done="choices.0.finish_reason",
    )


SUBJECTS = {
    "ollama": Subject("ollama", _ollama),
    "openai, llama-server": Subject("llama-server", _openai),
    "openai, ollama": Subject("ollama", _openai),
    "http": Subject("llama-server", _http),
}


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport()
    yield transport
    await transport.aclose()


@pytest.fixture(params=SUBJECTS)
def subject(request: pytest.FixtureRequest) -> Subject:
    return SUBJECTS[request.param]


@pytest.fixture
async def upstream(subject: Subject) -> AsyncIterator[Upstream]:
    async with Upstream([MODEL], flavor=subject.flavor, answer=lambda _: LONG, per_token="const:0.0005") as upstream:
        yield upstream


@pytest.fixture
def provider(subject: Subject, upstream: Upstream, transport: Transport) -> Provider:
    return subject.make(upstream.url, transport)


async def asked(provider: Provider, call: Call | None = None) -> list[Delta]:
    async with asyncio.timeout(10), aclosing(provider.stream(call or a_call("hello"))) as stream:
        return [delta async for delta in stream]


async def arrived(upstream: Upstream) -> None:
    """Wait until a request is there."""
    for _ in range(1000):
        if upstream.journal.entries:
            return
        await asyncio.sleep(0.001)


def said(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


async def test_an_answer_comes_in_pieces_and_ends_with_one_final_delta(provider: Provider) -> None:
    deltas = await asked(provider)

    assert said(deltas) == LONG
    assert [delta.final for delta in deltas] == [False] * (len(deltas) - 1) + [True]
    assert len(deltas) > 10
    assert deltas[-1].finish == "stop"


async def test_the_question_reaches_the_backend(provider: Provider, upstream: Upstream) -> None:
    call = msgspec.structs.replace(a_call(max_tokens=7), prompt=Prompt("be brief", "which colour?"))

    await asked(provider, call)

    body = upstream.journal.entries[-1].body
    assert body["model"] == MODEL
    assert [turn["content"] for turn in body["messages"]] == ["be brief", "which colour?"]
    assert body["stream"] is True
    assert 7 in (body.get("max_tokens"), body.get("options", {}).get("num_predict"))


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("error:500", Failed),
        ("error:400", Rejected),
        ("error:404", Rejected),
        ("busy:3", Busy),
        ("reset:0", Unreachable),
        ("reset:3", Failed),
        ("cut:3", Failed),
        ("cut:0", Failed),
        ("error-in-stream:3", Failed),
        ("garbage", ProviderError),
    ],
)
async def test_a_failure_is_one_of_ours_and_the_next_call_is_fine(
    provider: Provider, upstream: Upstream, mode: str, error: type[ProviderError]
) -> None:
    upstream.set_mode("*", mode, "ok")

    with pytest.raises(error) as caught:
        await asked(provider)
    deltas = await asked(provider)

    assert caught.value.provider == "it"
    assert str(caught.value)
    assert said(deltas) == LONG


async def test_garbage_is_no_answer(provider: Provider, upstream: Upstream) -> None:
    """A stream of events ignores what is no event, so what is left may be an end too early rather than nonsense."""
    upstream.set_mode("*", "garbage")

    with pytest.raises((BadReply, Failed)):
        await asked(provider)


async def test_busy_says_when_to_come_back(provider: Provider, upstream: Upstream) -> None:
    upstream.set_mode("*", "busy:3")

    with pytest.raises(Busy) as caught:
        await asked(provider)

    assert caught.value.retry_after == 3.0


@pytest.mark.parametrize("mode", ["slow:3", "trickle:400"])
async def test_a_slow_answer_is_whole(provider: Provider, upstream: Upstream, mode: str) -> None:
    upstream.set_mode("*", mode)

    assert said(await asked(provider)) == LONG


async def test_a_piece_is_given_when_it_comes(provider: Provider, upstream: Upstream) -> None:
    """A backend that falls silent after three pieces has given three, in as many deltas or fewer."""
    upstream.set_mode("*", "stall:3")
    text = ""

    async with asyncio.timeout(1), aclosing(provider.stream(a_call())) as stream:
        async for delta in stream:
            text += delta.text
            if len(text) >= len("word0 word1 word2"):
                break

    assert LONG.startswith(text)


@pytest.mark.parametrize("mode", ["hang", "stall:3"])
async def test_cancelling_reaches_the_backend_within_100_ms(provider: Provider, upstream: Upstream, mode: str) -> None:
    """R3, whether it has begun to write or not."""
    upstream.set_mode("*", mode)
    call = asyncio.create_task(asked(provider))
    await arrived(upstream)
    await asyncio.sleep(0.05)

    call.cancel()
    cancelled = asyncio.get_running_loop().time()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.sleep(0.05)

    (entry,) = upstream.journal.entries
    assert entry.ending == "cancelled"
    assert entry.ended is not None
    assert entry.ended - cancelled < 0.1


async def test_closing_a_stream_half_way_stops_the_backend(provider: Provider, upstream: Upstream) -> None:
    upstream.set_mode("*", "slow:100")

    async with aclosing(provider.stream(a_call())) as stream:
        await anext(stream)
    await asyncio.sleep(0.05)

    (entry,) = upstream.journal.entries
    assert entry.ending == "cancelled"
    assert entry.pieces < 10


async def test_answers_do_not_mix(provider: Provider, upstream: Upstream, transport: Transport) -> None:
    answers = await asyncio.gather(*(asked(provider) for _ in range(20)))

    assert {said(deltas) for deltas in answers} == {LONG}
    assert upstream.counts.answered == 20


async def test_healthy_when_it_answers(provider: Provider) -> None:
    state = await provider.state()

    assert (state.condition, state.name, state.model, state.hint) == ("healthy", "it", MODEL, "")


async def test_unreachable_when_it_is_gone(subject: Subject, transport: Transport) -> None:
    provider = subject.make("http://127.0.0.1:1", transport)

    assert (await provider.state()).condition == "unreachable"
    with pytest.raises(Unreachable):
        await asked(provider)


async def test_loading_and_closing_twice_do_no_harm(provider: Provider) -> None:
    await provider.load()
    await provider.load()
    await provider.aclose()
    await provider.aclose()


SCHEMA = {"type": "object", "properties": {"colour": {"enum": ["blue"]}}, "required": ["colour"]}


@pytest.mark.parametrize("name", [name for name in SUBJECTS if name != "http"])
async def test_structured_output_counts_and_logprobs(name: str, transport: Transport) -> None:
    """What only a driver that knows its API can ask for."""
    subject = SUBJECTS[name]
    async with Upstream([MODEL], flavor=subject.flavor) as upstream:
        provider = subject.make(upstream.url, transport)
        answer = await asked(provider, a_call(schema=SCHEMA))
        verdict = await asked(provider, a_call(max_tokens=1, top_logprobs=4))

    assert json.loads(said(answer)) == {"colour": "blue"}
    assert answer[-1].usage.completion_tokens
    assert answer[-1].usage.prompt_tokens
    (token,) = [token for delta in verdict for token in delta.logprobs]
    assert (token.token, token.top[:2]) == ("A", (("A", -0.25), ("B", -1.75)))


@pytest.mark.parametrize("name", [name for name in SUBJECTS if name != "http"])
async def test_a_model_that_thinks(name: str, transport: Transport) -> None:
    """Its thoughts come as they come, and apart; with a limit they may be all that comes."""
    subject = SUBJECTS[name]
    thinking = ScriptedAnswer("Yes.", reasoning="17 is odd, and 3 does not divide it.")
    async with Upstream([MODEL], flavor=subject.flavor, answer=lambda _: thinking) as upstream:
        provider = subject.make(upstream.url, transport)
        whole = await asked(provider, a_call(max_tokens=None))
        cut = await asked(provider, a_call(max_tokens=3))

    assert said(whole) == "Yes."
    assert "".join(delta.reasoning for delta in whole) == thinking.reasoning
    assert whole[0].reasoning
    assert whole[-1].finish == "stop"
    assert said(cut) == ""
    assert thinking.reasoning.startswith("".join(delta.reasoning for delta in cut))
    assert cut[-1].finish == "length"


async def test_a_model_that_thinks_in_its_text(subject: Subject, transport: Transport) -> None:
    """A server that knows nothing of reasoning."""
    async with Upstream([MODEL], flavor=subject.flavor, answer=lambda _: "<think>hm</think>\n\nYes.") as upstream:
        deltas = await asked(subject.make(upstream.url, transport))

    assert said(deltas) == "Yes."
    assert "".join(delta.reasoning for delta in deltas) == "hm"


async def test_no_limit_is_sent_where_there_is_none(provider: Provider, upstream: Upstream) -> None:
    await asked(provider, a_call(max_tokens=None))

    body = upstream.journal.entries[-1].body
    assert "max_tokens" not in body
    assert "num_predict" not in body.get("options", {})


async def test_a_cold_ollama_is_warming_until_it_is_loaded(transport: Transport) -> None:
    async with Upstream([MODEL], cold=True) as upstream:
        provider = _ollama(upstream.url, transport)
        before = await provider.state()
        await provider.load()
        after = await provider.state()

    assert (before.condition, before.loaded) == ("warming", ())
    assert (after.condition, after.loaded) == ("healthy", (MODEL,))


async def test_a_hanging_backend_has_a_state_within_two_seconds(transport: Transport) -> None:
    async with Upstream([MODEL]) as upstream, asyncio.timeout(2):
        upstream.set_mode("/api/tags", "hang")
        state = await _ollama(upstream.url, transport).state()

    assert state.condition == "unreachable"


# Real processes


async def test_across_a_process_boundary(transport: Transport) -> None:
    async with upstream_process() as url:
        deltas = await asked(_ollama(url, transport), a_call("which colour?"))

    assert said(deltas) == f"{MODEL} heard: which colour?"


@asynccontextmanager
async def real_engine() -> AsyncIterator[str]:
    """The address of llama.cpp's own server, holding the bundled model; its key is ``sesame``."""
    model = next((Path(llm_pool.__file__).parent / "models").glob("*.gguf"))
    worker = [sys.executable, "-m", "llm_pool.providers.llamacpp_worker", str(model)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*worker, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL)
    assert process.stdin is not None
    assert process.stdout is not None
    settings = {"key": "sesame", "slots": 1, "context": 512, "batch": 64, "threads": 1, "gpu_layers": None}
    try:
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        async with asyncio.timeout(20):
            yield json.loads(await process.stdout.readline())["url"]
    finally:
        process.stdin.close()
        await process.wait()


@pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="the embedded extra is not installed")
async def test_a_real_llama_server(transport: Transport) -> None:
    """llama.cpp itself: healthy, answers in pieces, counts, takes a cancellation, refuses a wrong key."""
    async with real_engine() as url:

        def driver(key: str) -> OpenAIProvider:
            return OpenAIProvider(name="it", base_url=url, model="any", transport=transport, api_key=key)

        provider = driver("sesame")
        state = await provider.state()
        deltas = await asked(provider, a_call("hello", max_tokens=8))
        async with aclosing(provider.stream(a_call("hello", max_tokens=400))) as stream:
            await anext(stream)
        again = await asked(provider, a_call("hello", max_tokens=8))
        with pytest.raises(Rejected, match="401") as caught:
            await asked(driver("open"), a_call())

    assert state.condition == "healthy"
    assert deltas[-1].final
    assert deltas[-1].usage.completion_tokens
    assert said(again) == said(deltas)
    assert caught.value.hint == "check api_key of provider it"


@pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="the embedded extra is not installed")
async def test_a_real_llama_server_takes_what_it_is_sent(transport: Transport) -> None:
    """Thinking on and off, a schema that grammars know in part, a prompt too long; and what it says of its model."""
    schema = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "string"}, "uniqueItems": True}},
    }
    async with real_engine() as url:
        provider = OpenAIProvider(name="it", base_url=f"{url}/v1", model="any", transport=transport, api_key="sesame")
        for think in (None, False, True, "low"):
            assert (await asked(provider, a_call("hello", max_tokens=4, think=think, think_tokens=4)))[-1].final
        assert (await asked(provider, a_call("hello", max_tokens=16, schema=schema)))[-1].final
        with pytest.raises(Rejected, match=r"request \(\d+ tokens\) exceeds") as caught:
            await asked(provider, a_call("word " * 30_000))
        facts = (await provider.state()).facts

    assert caught.value.hint == "shorten the prompt, or raise context of provider it"
    assert facts is not None
    assert facts.context
    assert facts.slots
    assert facts.size
    assert facts.can_chat

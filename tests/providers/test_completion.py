"""Promise R21: an answer is what was said up to a good end, whatever way it came; everything else is a failure."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import socket
import threading
import time
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from llm_pool.core.errors import BadReply, Busy, Failed, ProviderError, Rejected
from llm_pool.providers import completion
from llm_pool.providers.ollama import OllamaProvider
from llm_pool.providers.openai import OpenAIProvider
from llm_pool.testing import a_call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_pool.core.messages import Delta
    from llm_pool.providers.transport import Transport

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]


def event(finish: str | None = None, **delta: Any) -> bytes:
    return b"data: %s\n\n" % json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}).encode()


def line(text: str = "", **fields: Any) -> bytes:
    return json.dumps({"message": {"role": "assistant", "content": text}, "done": False} | fields).encode() + b"\n"


DONE = b"data: [DONE]\n\n"
YES = event(content="Yes") + event(content=".")
WHOLE = {"object": "chat.completion", "choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}]}


class Answered(msgspec.Struct):
    """The deltas of an answer, added up."""

    text: str
    reasoning: str
    last: Delta


async def answered(provider: OpenAIProvider | OllamaProvider) -> Answered:
    text, reasoning = "", ""
    async with asyncio.timeout(5), aclosing(provider.stream(a_call("hello"))) as stream:
        async for delta in stream:
            if delta.retracted:
                text, reasoning = "", reasoning + text
            text, reasoning, last = text + delta.text, reasoning + delta.reasoning, delta
    assert last.final
    return Answered(text, reasoning, last)


async def of_openai(serving: Any, transport: Transport, body: bytes, *headers: str) -> Answered:
    """What the driver makes of *body*, sent in pieces of random length."""
    cuts = random.Random(len(body))

    async def serve(visit: Any) -> None:
        visit.write("\r\n".join(("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", *headers, "", "")).encode())
        rest = body
        while rest:
            size = cuts.randint(1, 60)
            piece, rest = rest[:size], rest[size:]
            visit.chunk(piece)
        visit.write(b"0\r\n\r\n")

    async with serving(serve).listening() as server:
        return await answered(OpenAIProvider(name="p", base_url=server.url, model="m", transport=transport))


async def of_ollama(serving: Any, transport: Transport, body: bytes) -> Answered:
    async def serve(visit: Any) -> None:
        visit.whole(body)

    async with serving(serve).listening() as server:
        return await answered(OllamaProvider(name="p", base_url=server.url, model="m", transport=transport))


@pytest.mark.parametrize(
    "body",
    [
        YES + event("stop") + DONE,
        YES + event("stop"),
        YES + DONE,
        YES + event("stop") + b'data: {"error": "too late to matter"}\n\n',
        (YES + event("stop") + DONE).replace(b"\n", b"\r"),
        (YES + event("stop") + DONE).replace(b"\n", b"\r\n").replace(b"data: ", b"data:"),
        b"\xef\xbb\xbf: hello\n\nretry: 5\n" + YES + event("stop") + b"data:[DONE]",
        event(content="Yes") + b"data: null\n\ndata:\n\nevent: ping\ndata: still here\n\n" + event("stop", content="."),
        YES + b"data: ping\n\nevent: heartbeat\ndata: 3\n\ndata: keep-alive\n\n" + event("stop"),
        b"".join(event(content=part) for part in ([{"type": "text", "text": "Yes"}], ["."])) + event("eos"),
        YES + b'data: {"choices": null, "usage": {"completion_tokens": 2.0}}\n\n' + event("STOP"),
        json.dumps(WHOLE).encode(),
        json.dumps(WHOLE, indent=2).encode(),
        b'{"choices": [{"text": "Yes.", "finish_reason": "stop"}]}',
        b"\n".join(part[6:-2] for part in (event(content="Yes"), event(content="."), event("stop"))),
    ],
)
async def test_however_it_is_written_the_answer_is_the_same(serving: Any, transport: Transport, body: bytes) -> None:
    assert (await of_openai(serving, transport, body)).text == "Yes."


@pytest.mark.parametrize(
    ("body", "error", "said"),
    [
        (YES, Failed, "before it was done"),
        (YES + event("abort") + DONE, Failed, "broke off: abort"),
        (YES + event("cancelled"), Failed, "broke off: cancelled"),
        (YES + event("word_of_tomorrow"), Failed, "broke off: word_of_tomorrow"),
        (YES + event("content_filter"), Rejected, "withheld the answer: content_filter"),
        (YES + b'error: {"code": 400, "message": "context size"}\n\n' + DONE, Rejected, "400: context size"),
        (YES + b"event: error\ndata: all is lost\n\n" + DONE, Failed, "all is lost"),
        (YES + b'event: error\ndata: {"message": "all is lost"}\n\n' + DONE, Failed, "all is lost"),
        (YES + b'{"error": "all is lost"}\n' + DONE, Failed, "all is lost"),
        (b'data: {"error": "rate limit reached", "code": 429}\n\n' + DONE, Busy, "429: rate limit reached"),
        (b'{"error": {"message": "no memory", "code": 507}}', Failed, "507: no memory"),
        (b'{"detail": "not here"}', Failed, "not here"),
        (b"<!doctype html><title>Sign in</title><body>", Rejected, "an HTML page titled 'Sign in'"),
        (b"upstream connect error", BadReply, "no stream: 'upstream connect error'"),
        (event(content="Ye") + b"data: {cut\n\n", BadReply, "unreadable answer '{cut'"),
    ],
)
async def test_everything_else_is_a_failure_in_the_servers_words(
    serving: Any, transport: Transport, body: bytes, error: type[ProviderError], said: str
) -> None:
    with pytest.raises(error, match=said):
        await of_openai(serving, transport, body)


async def test_a_page_is_named_by_its_title_wherever_that_stands(serving: Any, transport: Transport) -> None:
    """Behind more than comes at once, and with no word of the page itself."""
    page = b"<!DOCTYPE html><style>" + b"p { }\n" * 5000 + b"</style><TITLE>\n Please sign in </TITLE><p>secret"

    with pytest.raises(Rejected, match=r"it answers with an HTML page titled 'Please sign in'$") as caught:
        await of_openai(serving, transport, page, "Content-Type: text/event-stream")

    assert caught.value.hint.startswith("check base_url of provider p")


@pytest.mark.parametrize("last", ["cut", "heartbeats"])
async def test_a_finish_is_an_end_whatever_follows(serving: Any, transport: Transport, last: str) -> None:
    async def serve(visit: Any) -> None:
        visit.begin()
        visit.chunk(YES + event("length"))
        for _ in range(50 if last == "heartbeats" else 0):
            await asyncio.sleep(0.05)
            visit.chunk(b": still here\n\n")
        visit.close()

    began = asyncio.get_running_loop().time()
    async with serving(serve).listening() as server:
        answer = await answered(OpenAIProvider(name="p", base_url=server.url, model="m", transport=transport))

    assert (answer.text, answer.last.finish) == ("Yes.", "length")
    assert asyncio.get_running_loop().time() - began < 1.5


async def test_a_compressed_answer_is_unpacked(serving: Any, transport: Transport) -> None:
    packed = gzip.compress(YES + event("stop") + DONE)

    assert (await of_openai(serving, transport, packed, "Content-Encoding: gzip")).text == "Yes."
    with pytest.raises(BadReply, match="compressed with 'br'"):
        await of_openai(serving, transport, b"?", "Content-Encoding: br")


async def test_an_error_that_cannot_be_unpacked_is_told_by_its_status(serving: Any, transport: Transport) -> None:
    async def serve(visit: Any) -> None:
        visit.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\n?")

    async with serving(serve).listening() as server:
        with pytest.raises(Failed, match="status 502"):
            await answered(OpenAIProvider(name="p", base_url=server.url, model="m", transport=transport))


async def test_half_characters_and_bytes_that_are_none_take_nothing_else(serving: Any, transport: Transport) -> None:
    pieces = (rb"a\ud83d", rb"\ude00", b"\xff\\ud800!")
    body = b"".join(b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % piece for piece in pieces)

    assert (await of_openai(serving, transport, body + event("stop"))).text == "a\U0001f600\ufffd\ufffd!"


@pytest.mark.parametrize(
    "body",
    [
        event(reasoning_content="hm") + YES,
        event(reasoning="hm") + YES,
        event(content=[{"type": "thinking", "thinking": "hm"}]) + YES,
        event(content="<thi") + event(content="nk>hm</think>\n\nYes."),
        event(content="hm\n</think>Yes."),
        event(content="<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Yes."),
        event(content="[THINK]hm[/THINK]Yes."),
    ],
)
async def test_reasoning_is_told_apart(serving: Any, transport: Transport, body: bytes) -> None:
    """A tag's own rules are those of ``reading.reasoning``; here, what a stream makes of them."""
    answer = await of_openai(serving, transport, body + event("stop") + DONE)

    assert (answer.text, answer.reasoning.strip()) == ("Yes.", "hm")


async def test_the_weights_of_a_verdict_are_not_those_of_its_reasoning(serving: Any, transport: Transport) -> None:
    def weighed(text: str, **delta: Any) -> bytes:
        logprobs = {"content": [{"token": text, "logprob": -1.0, "top_logprobs": []}]}
        return b"data: %s\n\n" % json.dumps({"choices": [{"delta": delta, "logprobs": logprobs}]}).encode()

    body = weighed("B", reasoning_content="B") + weighed("A", content="A") + event("stop") + DONE
    provider_saw = []

    async def serve(visit: Any) -> None:
        visit.whole(body)

    async with serving(serve).listening() as server:
        provider = OpenAIProvider(name="p", base_url=server.url, model="m", transport=transport)
        async with aclosing(provider.stream(a_call(top_logprobs=3))) as stream:
            provider_saw = [token.token async for delta in stream for token in delta.logprobs]

    assert provider_saw == ["A"]


async def test_ollama_thinks_in_a_field_of_its_own(serving: Any, transport: Transport) -> None:
    thought = line(message={"role": "assistant", "content": "", "thinking": "hm"})

    answer = await of_ollama(serving, transport, thought + line("Yes.") + line(done=True, done_reason="stop"))

    assert (answer.text, answer.reasoning) == ("Yes.", "hm")


@pytest.mark.parametrize("framing", [b"", b"data: "])
async def test_lines_may_come_as_events(serving: Any, transport: Transport, framing: bytes) -> None:
    end = b"\n" if framing else b""
    body = framing + line("Yes.") + end + framing + line(done=True, eval_count=2) + end

    answer = await of_ollama(serving, transport, body)

    assert (answer.text, answer.last.usage.completion_tokens) == ("Yes.", 2)


async def test_ollamas_silent_end_after_30_equal_tokens_keeps_the_text(serving: Any, transport: Transport) -> None:
    """``llm/llama_server.go`` gives up without a word; the 31st repetition is not sent any more."""
    answer = await of_ollama(serving, transport, line("Yes.") + line(" ha") * 31)

    assert answer.text == "Yes." + " ha" * 31
    assert answer.last.finish == "repetition"


@pytest.mark.parametrize("body", [line(" ha") * 30, line("a") + line("b")])
async def test_any_other_silent_end_is_a_cut(serving: Any, transport: Transport, body: bytes) -> None:
    with pytest.raises(Failed, match="before it was done"):
        await of_ollama(serving, transport, body)


@pytest.mark.parametrize("reason", ["load", "unload"])
async def test_a_model_that_was_only_loaded_said_nothing(serving: Any, transport: Transport, reason: str) -> None:
    with pytest.raises(Failed, match=f"{reason}ed the model and generated nothing"):
        await of_ollama(serving, transport, line(done=True, done_reason=reason))


async def test_a_backend_that_never_stops_fails(
    serving: Any, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion, "MAX_LENGTH", 1000)

    with pytest.raises(Failed, match="longer than 1000 characters"):
        await of_openai(serving, transport, event(reasoning="hm " * 100) * 4 + YES + event("stop"))


# The event loop


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


TOKENS = [event(content=f"w{number} ") for number in range(10_000)]
FLOODS = {
    "a byte a chunk": b"".join(chunk(bytes([byte])) for byte in b"".join(TOKENS[:1000])),
    "a token a chunk": b"".join(map(chunk, TOKENS)),
    "all at once": chunk(b"".join(TOKENS)),
    "events that say nothing": chunk(b"data:{}\n\n" * 50_000),
    "empty lines": chunk(b"\n" * 1_000_000),
}


@contextmanager
def flooding(body: bytes) -> Iterator[str]:
    """The address of a server, in a thread, that sends *body* as fast as it can."""
    head, end = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk(event("stop") + DONE) + b"0\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(head + body + end)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_leaves_the_event_loop_to_others(flood: str, transport: Transport) -> None:
    """No turn of the loop takes more than 10 ms of processor time; other processes' time does not count."""
    longest, last = 0.0, time.thread_time()

    async def watch() -> None:
        nonlocal longest, last
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, last = max(longest, now - last), now

    with flooding(FLOODS[flood]) as url:
        watching = asyncio.create_task(watch())
        await answered(OpenAIProvider(name="p", base_url=url, model="m", transport=transport))
        watching.cancel()

    assert longest < 0.010

"""A backend of its own shape, described by a template."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.core.errors import BadReply, ConfigError, Failed, ProviderError, Rejected
from llm_pool.core.messages import Delta
from llm_pool.providers.http import HttpProvider
from llm_pool.testing import a_call

if TYPE_CHECKING:
    from llm_pool.providers.transport import Transport

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]


async def answered(url: str, transport: Transport, **settings: Any) -> list[Delta]:
    provider = HttpProvider(name="tgi", base_url=url, model="m", transport=transport, **settings)
    async with aclosing(provider.stream(a_call("hello"))) as stream:
        return [delta async for delta in stream]


def saying(serving: Any, body: bytes, status: str = "200 OK") -> Any:
    async def serve(visit: Any) -> None:
        visit.whole(body, status)

    return serving(serve).listening()


async def test_the_request_follows_the_template(serving: Any, transport: Transport) -> None:
    async with saying(serving, b'{"generated": [{"text": "hi"}]}') as server:
        deltas = await answered(
            server.url,
            transport,
            path="/generate",
            headers={"X-Key": "k"},
            body={"inputs": "{prompt}", "parameters": {"max_new_tokens": "{max_tokens}"}},
            text="generated.0.text",
        )

    (visit,) = server.visits
    assert (visit.line, visit.headers["x-key"]) == ("POST /generate", "k")
    assert visit.json == {"inputs": "hello", "parameters": {"max_new_tokens": 100}}
    assert deltas == [Delta("hi"), Delta(final=True)]


@pytest.mark.parametrize(
    ("answers", "body", "done"),
    [
        ("lines", b'{"text":"a"}\n{"note":1}\n{"text":"b"}\n', ""),
        ("lines", b'{"text":"a"}\n{"text":"b","end":true}\n{"text":"ignored"}\n', "end"),
        ("events", b'data: {"text":"a"}\n\n: ping\n\ndata: {"text":"b"}\n\ndata: [DONE]\n\n', ""),
        ("events", b'data: {"text":"a"}\n\ndata: {"text":"b"}\n\n', ""),
        ("events", b'data: {"text":"a"}\n\ndata: {"text":"b","end":1}\n\n', "end"),
        ("events", b'data: {"text":"a"}\n\ndata: {"text":"b","end":"our own word"}\n\n', "end"),
        ("lines", b'data: {"text":"a"}\n\ndata: {"text":"b"}\n\ndata: [DONE]\n\n', ""),
    ],
)
async def test_a_stream_is_read_piece_by_piece(
    serving: Any, transport: Transport, answers: Any, body: bytes, done: str
) -> None:
    async with saying(serving, body) as server:
        deltas = await answered(server.url, transport, answers=answers, done=done)

    assert "".join(delta.text for delta in deltas) == "ab"
    assert deltas[-1] == Delta(final=True)


@pytest.mark.parametrize(
    ("settings", "body", "error"),
    [
        ({}, b'{"error": {"message": "no memory"}}', Failed),
        ({"error": "status.fault"}, b'{"status": {"fault": "no memory"}}', Failed),
        ({}, b'{"other": "x"}', BadReply),
        ({}, b'{"text": 7}', BadReply),
        ({}, b"<html>", Rejected),
        ({"answers": "events", "done": "end"}, b'data: {"text":"a","end":"abort"}\n\n', Failed),
        ({"answers": "lines"}, b'{"text":"a"}\n{"error":"no memory"}\n', Failed),
        ({"answers": "lines"}, b'{"text":"a"}\n{"te', BadReply),
        ({"answers": "lines", "done": "end"}, b'{"text":"a"}\n', Failed),
        ({"answers": "events", "done": "end"}, b'data: {"text":"a"}\n\n', Failed),
    ],
)
async def test_what_is_not_an_answer_is_an_error(
    serving: Any, transport: Transport, settings: dict[str, Any], body: bytes, error: type[ProviderError]
) -> None:
    async with saying(serving, body) as server:
        with pytest.raises(error):
            await answered(server.url, transport, **settings)


async def test_an_error_is_read_where_the_template_says(serving: Any, transport: Transport) -> None:
    async with saying(serving, b'{"status": {"fault": "no memory"}, "trace": "long"}') as server:
        with pytest.raises(Failed, match=r"^no memory$"):
            await answered(server.url, transport, error="status.fault")


async def test_what_follows_a_whole_answer_takes_nothing_from_it(serving: Any, transport: Transport) -> None:
    async with saying(serving, b'{"text": "hi"}\n{"other": 1}\n') as server:
        assert (await answered(server.url, transport))[0] == Delta("hi")


async def test_an_end_that_nobody_announced_may_be_a_cut(serving: Any, transport: Transport) -> None:
    """Without a length, without chunks and without a last word, a stream that ends proves nothing."""

    async def serve(visit: Any) -> None:
        visit.write(b'HTTP/1.0 200 OK\r\n\r\n{"text":"a"}\n')
        await visit.drained()
        visit.close()

    async with serving(serve).listening() as server:
        with pytest.raises(Failed, match="before it was done"):
            await answered(server.url, transport, answers="lines")


async def test_a_refusal_keeps_the_secret(serving: Any, transport: Transport) -> None:
    async with saying(serving, b"bad key hunter2", "403 Forbidden") as server:
        with pytest.raises(Rejected) as caught:
            await answered(server.url, transport, headers={"X-Key": "hunter2"})

    assert str(caught.value) == "403: bad key ***"


@pytest.mark.parametrize(
    ("settings", "key"),
    [({"body": {"q": "{promt}"}}, "providers.request.body.q"), ({"text": ""}, "providers.response.text")],
)
async def test_a_bad_template_is_found_at_the_start(transport: Transport, settings: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        HttpProvider(name="tgi", base_url="http://h", model="m", transport=transport, **settings)

    assert caught.value.key == key


@pytest.mark.parametrize(
    ("status", "condition"), [("404 Not Found", "healthy"), ("200 OK", "healthy"), ("500 Oh", "failing")]
)
async def test_something_that_answers_is_healthy(
    serving: Any, transport: Transport, status: str, condition: str
) -> None:
    async with saying(serving, b"", status) as server:
        provider = HttpProvider(name="tgi", base_url=server.url, model="m", transport=transport)
        assert (await provider.state()).condition == condition


async def test_nobody_is_unreachable(transport: Transport) -> None:
    provider = HttpProvider(name="tgi", base_url="http://127.0.0.1:1", model="m", transport=transport)

    assert (await provider.state()).condition == "unreachable"
    assert "127.0.0.1:1" in repr(provider)


async def test_stop_texts_go_where_the_template_has_them(serving: Any, transport: Transport) -> None:
    """A backend that cannot stop is not asked to: its answer would go on where another's ends."""
    call = a_call("hello", stop=("\n",))
    async with saying(serving, b'{"text": "hi"}') as server:
        able = HttpProvider(name="p", base_url=server.url, model="m", transport=transport, body={"halt": "{stop}"})
        unable = HttpProvider(name="p", base_url=server.url, model="m", transport=transport)
        async with aclosing(able.stream(call)) as stream:
            assert [delta.text async for delta in stream] == ["hi", ""]
        with pytest.raises(Rejected, match="it takes no stop texts"):
            await anext(unable.stream(call))

    (visit,) = server.visits
    assert visit.json == {"halt": ["\n"]}


async def test_extra_fields_thinking_and_the_length_it_may_have(serving: Any, transport: Transport) -> None:
    """The template says where thinking is switched; the body is merged with what the provider adds."""
    async with saying(serving, b'{"text": "hi"}') as server:
        await answered(
            server.url,
            transport,
            body={"p": "{prompt}", "n": "{max_tokens}", "kwargs": {"enable_thinking": "{think}"}},
            extra_body={"kwargs": {"x": 1}},
            think=True,
        )

    assert server.visits[0].json == {
        "p": "hello",
        "n": 100 + 4096,
        "kwargs": {"enable_thinking": True, "x": 1},
    }


async def test_a_prompt_longer_than_the_context_is_not_sent(serving: Any, transport: Transport) -> None:
    async with saying(serving, b'{"text": "hi"}') as server:
        provider = HttpProvider(name="tgi", base_url=server.url, model="m", transport=transport, context=64)
        with pytest.raises(Rejected, match="100 tokens at least, its context 64"):
            async with aclosing(provider.stream(a_call("word " * 100))) as stream:
                await anext(stream)

    assert server.visits == []

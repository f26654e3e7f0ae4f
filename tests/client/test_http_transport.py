"""What answers in a daemon's place: proxies, captive portals, other programs. One sentence, never a traceback."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, closing, suppress
from typing import TYPE_CHECKING

import pytest

from llm_pool.client import AsyncClient
from llm_pool.core.errors import DeadlineExceeded, Unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

PAGE = b"<html><head><title>502 Bad Gateway</title></head></html>"


def reply(status: bytes, body: bytes, kind: bytes = b"text/html", more: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n"
    return head % (status, kind, len(body), more) + body


JSON, SSE = b"application/json", b"text/event-stream"
FOREIGN = {
    "a proxy's page": (reply(b"502 Bad Gateway", PAGE), "502"),
    "a portal's page": (reply(b"200 OK", PAGE), "200 .text/html"),
    "JSON of another": (reply(b"200 OK", b'{"ok":true}', JSON), "200"),
    "a list": (reply(b"200 OK", b"[]", JSON), "200"),
    "deep JSON": (reply(b"200 OK", b"[" * 100_000, JSON), "200"),
    "an error of another": (reply(b"401 Unauthorized", b'{"message":"no"}', JSON), "401"),
    "a redirect": (
        reply(b"302 Found", b"", more=b"Location: http://127.0.0.1:9/x\r\n"),
        "redirects to http://127.0.0.1:9/x",
    ),
    "events of another": (reply(b"200 OK", b'event: answer\ndata: {"x":1}\n\n', SSE), "instead of|middle of"),
    "events that are none": (reply(b"200 OK", b"data: nope\n\n", SSE), "instead of|middle of"),
    "half an answer": (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", "no answer from"),
    "no HTTP": (b"\x15\x03\x01\x00\x02\x02\n", "no answer from"),
    "nothing": (b"", "no answer from"),
}


@asynccontextmanager
async def answering(data: bytes) -> AsyncIterator[str]:
    """A server that says *data* to everybody."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"


@pytest.mark.parametrize(("data", "told"), FOREIGN.values(), ids=FOREIGN.keys())
async def test_somebody_else_answers(data: bytes, told: str) -> None:
    """Each call, with the status it met."""
    async with answering(data) as url, AsyncClient(url, retries=0) as client:
        with pytest.raises(Unreachable, match=told):
            await client.infer("hi")
        with pytest.raises(Unreachable, match=told):
            await client.health()
        with pytest.raises(Unreachable, match=told):
            _ = [event async for event in client.stream("hi")]


@asynccontextmanager
async def trickling(head: bytes, piece: bytes) -> AsyncIterator[str]:
    """A server that says *piece* again and again, and never comes to an end."""
    serving: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        with suppress(OSError), closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            while True:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.02)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"
        await asyncio.gather(*filter(None, serving))  # they end as their clients have left


async def test_a_deadline_holds_however_slowly_the_reply_comes() -> None:
    """A second later the client itself ends it, whole replies and streams."""
    loop = asyncio.get_running_loop()
    body, events = (b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n\r\n" % kind for kind in (JSON, SSE))
    async with trickling(body, b" ") as url, AsyncClient(url) as client:
        began = loop.time()
        with pytest.raises(DeadlineExceeded):
            await client.infer("hi", deadline=0.1)
        assert 1.0 < loop.time() - began < 3.0
    async with trickling(events, b": ping\n\n") as url, AsyncClient(url) as client:
        began = loop.time()
        with pytest.raises(DeadlineExceeded):
            _ = [event async for event in client.stream("hi", deadline=0.1)]
        assert 1.0 < loop.time() - began < 3.0

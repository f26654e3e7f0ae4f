"""What a stranger may send, over raw sockets: each byte as written here (S8, S9, S10)."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest

from llm_pool.server import connection, middleware, request_limits
from llm_pool.server.body_limit import SMALLEST

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

HOST = b"Host: localhost\r\n"
GOOD = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"


def post(headers: bytes, body: bytes = b"", target: bytes = b"/v1/infer") -> bytes:
    return b"POST " + target + b" HTTP/1.1\r\n" + headers + b"\r\n" + body


REFUSED = {
    "both lengths": (post(HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\nGET /x"), 400),
    "two lengths": (post(HOST + b"Content-Length: 2\r\nContent-Length: 4\r\n", b"{}{}"), 400),
    "the same length twice": (post(HOST + b"Content-Length: 2\r\nContent-Length: 2\r\n", b"{}"), 400),
    "a signed length": (post(HOST + b"Content-Length: +2\r\n", b"{}"), 400),
    "bare line feeds": (b"GET /livez HTTP/1.1\nHost: localhost\n\n", 400),
    "a folded header": (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n", 400),
    "a space before the colon": (b"GET /livez HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
    "no host": (b"GET /livez HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /livez HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "a path in the host": (b"GET /livez HTTP/1.1\r\nHost: x/admin?\r\n\r\n", 400),
    "a user in the host": (b"GET /livez HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
    "two signatures": (post(HOST + b"X-Signature: a\r\nX-Signature: b\r\nContent-Length: 2\r\n", b"{}"), 400),
    "an underscore twin": (post(HOST + b"X_Api_Key: a\r\nContent-Length: 2\r\n", b"{}"), 400),
    "chunks in HTTP/1.0": (
        b"POST /v1/infer HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        400,
    ),
    "an unknown coding": (post(HOST + b"Transfer-Encoding: gzip, chunked\r\n", b"2\r\n{}\r\n0\r\n\r\n"), 400),
    "a coding that hides": (post(HOST + b"Transfer-Encoding: xchunked\r\n", b"2\r\n{}\r\n0\r\n\r\n"), 400),
    "a long header": (b"GET /livez HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 17_000 + b"\r\n\r\n", 431),
    "a header without end": (b"GET /livez HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 20_000, 431),
    "many headers": (b"GET /livez HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 65 + b"\r\n", 431),
    "a long target": (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "an absolute target": (b"GET http://localhost/livez HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "dots": (b"GET /livez/../v1/tasks HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a way out of a name": (b"GET /v1/models/pool%2F..%2Fx HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a hidden slash": (b"GET /v1%2Ftasks HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "two slashes": (b"GET //livez HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a backslash": (b"GET /v1\\tasks HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "letters that are no ASCII": ("GET /livé HTTP/1.1\r\n".encode() + HOST + b"\r\n", 400),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "a chunk that is none": (post(HOST + b"Transfer-Encoding: chunked\r\n", b"zz\r\n{}\r\n"), 400),
    "a body over the limit": (post(HOST + b"Content-Length: %d\r\n" % (SMALLEST + 1)), 413),
    "an encoded body": (post(HOST + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n", b"{}"), 415),
}


@pytest.fixture
async def url(daemon: Any) -> str:
    return str(daemon.url)


@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_can_be_read_in_two_ways_is_refused_and_the_connection_closed(
    url: str, data: bytes, status: int
) -> None:
    """Nothing behind it on the same connection is taken for a request."""
    said = await talk(url, data + GOOD)

    assert said.startswith(b"HTTP/1.1 %d " % status), said[:200]
    assert said.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in said.lower()


async def test_a_good_request_passes_and_the_connection_is_kept(url: str) -> None:
    """Three on one connection, one after the other; the last asks to close."""
    last = b"GET /livez HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"

    said = await talk(url, GOOD, GOOD, last)

    assert said.count(b"HTTP/1.1 200 OK") == 3


async def test_chunks_over_the_limit_end_the_connection(url: str) -> None:
    """The request never gets through, and its sender reads why, though it goes on sending for a while."""
    chunk = b"20000\r\n" + b" " * 0x20000 + b"\r\n"

    said = await talk(url, post(HOST + b"Transfer-Encoding: chunked\r\n"), *[chunk] * (SMALLEST // 0x20000 + 2))

    assert said.startswith(b"HTTP/1.1 413 ")


LONG = 24 << 20
LENGTH = b"Content-Length: %d\r\n" % LONG


@pytest.mark.parametrize(
    ("head", "status", "says"),
    [
        (post(HOST + LENGTH), 413, b"body_too_large"),
        (post(HOST + b"Content-Encoding: gzip\r\n" + LENGTH), 415, b"unsupported_encoding"),
        (post(HOST + LENGTH, target=b"/" + b"a" * 9_000), 414, b"the target is over"),
        (post(HOST + LENGTH + b"X: a\r\n" * 65), 431, b"the head is over"),
        (b"POST /v1/infer HTTP/1.1\r\n" + HOST + b"X: a", 431, b"the head is over"),
        (post(HOST + HOST + LENGTH), 400, b"host may be given once"),
        (post(HOST + b"Transfer-Encoding: chunked\r\n", b"zz\r\n"), 400, b"not HTTP"),
    ],
)
async def test_who_sends_too_much_at_once_reads_why(url: str, head: bytes, status: int, says: bytes) -> None:
    """The rest is read and dropped: closed before, the connection would be reset, and the answer lost."""
    reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
    writer.write(head)
    for _ in range(LONG >> 16):
        writer.write(b" " * (1 << 16))
        await writer.drain()
    said = await reader.read()
    writer.close()

    assert said.startswith(b"HTTP/1.1 %d " % status)
    assert says in said
    assert said.count(b"HTTP/1.1") == 1


async def send_on(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b" " * 1000)
        await writer.drain()
        await asyncio.sleep(0.01)


async def test_who_goes_on_after_a_refusal_is_left(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a while, not before: nobody holds a connection by what is not read."""
    monkeypatch.setattr(request_limits, "LINGER", 0.2)
    reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
    writer.write(post(HOST + HOST))
    await reader.read()
    began = time.monotonic()

    with pytest.raises(ConnectionError):
        await send_on(writer)

    assert 0.1 < time.monotonic() - began < 5
    writer.close()


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/readyz?deep=1"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_a_balancer_probes_as_it_always_did(url: str, method: str, path: str) -> None:
    """HAProxy's ``option httpchk`` speaks HTTP/1.0, and names no host."""
    assert (await talk(url, f"{method} {path} HTTP/1.0\r\n\r\n".encode())).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "data",
    [
        b"GET /v1/models HTTP/1.0\r\n\r\n",
        b"GET /livez/x HTTP/1.0\r\n\r\n",
        b"GET /health HTTP/1.0\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /livez HTTP/1.0\r\nHost: a/b\r\n\r\n",
    ],
)
async def test_nobody_else_comes_without_a_host(url: str, data: bytes) -> None:
    """Other paths stay guarded, and so do probes that say what is no host."""
    assert (await talk(url, data)).startswith(b"HTTP/1.1 400 ")


async def test_an_upgrade_that_nobody_understands_is_ignored(url: str) -> None:
    """Java's HTTP client offers HTTP/2 with each of its requests."""
    offer = b"GET /livez HTTP/1.1\r\n" + HOST + b"Connection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n"

    assert (await talk(url, offer)).startswith(b"HTTP/1.1 200 OK")


async def test_a_bad_request_behind_one_in_flight_gets_no_answer_of_its_own(daemons: Any) -> None:
    """It would be taken for the answer to the first."""
    async with daemons(ttft="const:0.3") as running:
        body = b'{"prompt":"hi"}'
        first = post(HOST + b"Content-Length: %d\r\n" % len(body), body)

        said = await talk(running.url, first + b"GET /livez HTTP/1.1\r\n\r\n")

    assert b"HTTP/1.1 400" not in said


@pytest.mark.parametrize(
    ("sent", "within"),
    [
        pytest.param([], 0.3, id="silence"),
        pytest.param([b"GET /livez HT"], 0.3, id="half a head"),
        pytest.param([b"\r\n"] * 8, 0.3, id="empty lines"),
        pytest.param([GOOD, b"GET /li"], 0.3, id="half a head on a kept connection"),
        pytest.param([post(HOST + b"Content-Length: 100\r\n", b"{")] + [b" "] * 5, 0.6, id="half a body, drop by drop"),
    ],
)
async def test_slow_clients_are_closed(
    url: str, sent: list[bytes], within: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever they say slowly; the limits are made short here."""
    monkeypatch.setattr(request_limits, "HEAD_TIME", 0.3)
    monkeypatch.setattr(connection, "BODY_TIME", 0.6)
    monkeypatch.setattr(middleware, "LINGER", 0.2)
    began = time.monotonic()

    async with asyncio.timeout(5):
        await talk(url, *sent, pause=0.05)

    assert within * 0.9 <= time.monotonic() - began < within + 2


async def test_slow_clients_are_closed_on_a_kept_connection_after_it_was_idle(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The timer starts with the first byte of the next head, not with the connection."""
    monkeypatch.setattr(request_limits, "HEAD_TIME", 0.3)
    reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
    writer.write(GOOD)
    await reader.readuntil(b"}")
    await asyncio.sleep(0.6)

    writer.write(GOOD)
    said = await reader.readuntil(b"}")
    writer.close()

    assert b"200 OK" in said


async def test_slow_clients_delay_nobody(url: str) -> None:
    """Three hundred half heads, and a healthy request among them."""
    async with AsyncExitStack() as stack:
        for _ in range(300):
            _, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
            stack.callback(writer.close)
            writer.write(b"GET /livez HTTP/1.1\r\nHost: loc")
        alone = b"GET /livez HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"

        began = time.monotonic()
        said = await talk(url, alone)
        took = time.monotonic() - began

    assert said.startswith(b"HTTP/1.1 200 OK")
    assert took < 0.5


BOMBS = {
    "depth": b'{"prompt":' + b"[" * 100_000,
    "depth that ends": b'{"prompt":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "a long number": b'{"prompt":"a","max_tokens":' + b"1" * 5_000 + b"}",
    "a large number": b'{"prompt":"a","deadline_ms":1e400}',
    "no number": b'{"prompt":"a","deadline_ms":NaN}',
    "bytes that are no text": b'{"prompt":"\xff"}',
    "a byte order mark": b'\xef\xbb\xbf{"prompt":"a"}',
    "nothing": b"",
    "a list": b"[]",
    "a field nobody knows": b'{"prompt":"a","promt":"b"}',
}


@pytest.mark.parametrize("body", BOMBS.values(), ids=BOMBS.keys())
async def test_bombs_are_bad_requests(daemon: Any, ask: Any, body: bytes) -> None:
    """Answered at once, in the shape of every error, and no model is asked."""
    began = time.monotonic()

    reply = await ask(daemon.url, "POST", "/v1/infer", body)

    assert (reply.status, reply.json["error"]["code"]) == (400, "invalid_request")
    assert time.monotonic() - began < 0.5
    assert daemon.upstream.counts.requests == 0


async def talk(url: str, *pieces: bytes, pause: float = 0.0) -> bytes:
    """What the server says to *pieces*, until it closes."""
    reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
    heard = asyncio.create_task(reader.read())
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(pause)
        return await heard
    except ConnectionResetError:  # it closed while we were still sending
        return b""
    finally:
        heard.cancel()
        writer.close()


async def test_half_a_head_behind_a_request_is_closed_in_the_time_of_a_head(
    daemons: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pipelined while the answer before it was written: nothing holds a connection that says no more."""
    monkeypatch.setattr(request_limits, "HEAD_TIME", 0.3)
    async with daemons(ttft="const:0.5") as daemon:
        began = time.monotonic()
        async with asyncio.timeout(5):
            said = await talk(
                daemon.url, post(HOST + b"Content-Length: 16\r\n", b'{"prompt": "hi"}') + b"GET /livez HT", pause=0.05
            )

    assert b"200 OK" in said
    assert time.monotonic() - began < 2

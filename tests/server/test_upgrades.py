"""Offers to go on in HTTP/2, which Java's client makes with every request: declined, and the request answered."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

BODY = msgspec.json.encode({"prompt": "hello"})
OFFER = (
    b"POST /v1/infer HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nHost: localhost\r\n"
    b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\nContent-Type: application/json\r\n"
)
LENGTH = OFFER + b"Content-Length: %d\r\n\r\n" % len(BODY)
CHUNKED = OFFER + b"Transfer-Encoding: chunked\r\n\r\n"
IN_CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
LAST = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


async def talk(url: str, pieces: list[bytes]) -> bytes:
    """What the server says to *pieces*, sent apart, until it closes."""
    reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.02)
    said = await reader.read()
    writer.close()
    return said


@pytest.mark.parametrize(
    "pieces",
    [
        [LENGTH + BODY + LAST],
        [LENGTH, BODY, LAST],
        [LENGTH[:150], LENGTH[150:] + BODY[:5], BODY[5:], LAST],
        [CHUNKED + IN_CHUNKS, LAST],
        [CHUNKED, IN_CHUNKS[:9], IN_CHUNKS[9:], LAST],
        [LENGTH, BODY, LENGTH + BODY, LAST],
        [b"GET /v1/tasks HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", LAST],
        [b"GET /v1/tasks HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", LAST],
    ],
    ids=["at once", "apart", "in pieces", "chunks", "chunks apart", "twice", "no body", "another protocol"],
)
async def test_a_request_with_an_offer_is_answered(daemon: Any, pieces: list[bytes]) -> None:
    """However it comes, and so is what follows it on the connection."""
    said = await talk(daemon.url, pieces)

    asked = sum(piece.count(b"Upgrade: ") for piece in pieces)
    assert said.count(b"HTTP/1.1 200 OK") == asked + 1, said
    assert said.count(b"HTTP/1.1 ") == asked + 1
    assert said.endswith(b'{"live":true}')


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (LENGTH.replace(b"Host: localhost\r\n", b""), 400),
        (LENGTH.replace(b"/v1/infer", b"/v1/../infer"), 400),
        (LENGTH.replace(b"Host:", b"Content-Length: 2\r\nHost:"), 400),
        (OFFER + b"X: " + b"a" * 20_000, 431),
        (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", 400),
    ],
)
async def test_an_offer_hides_nothing(daemon: Any, sent: bytes, status: int) -> None:
    """What is refused without is refused with it, once."""
    said = await talk(daemon.url, [sent])

    assert said.startswith(b"HTTP/1.1 %d " % status)
    assert said.count(b"HTTP/1.1 ") == 1

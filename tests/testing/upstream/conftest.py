from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Heard(msgspec.Struct):
    """What a raw client heard until the connection closed; *whole* if it ended as HTTP says it should."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def lines(self) -> list[Any]:
        return [msgspec.json.decode(line) for line in self.body.splitlines() if line]


@pytest.fixture
def ask() -> Callable[..., Awaitable[Heard]]:
    """Asks over a socket of its own, and hears everything as it was written."""
    return _ask


async def _ask(url: str, path: str, body: Any = None, *, method: str = "") -> Heard:
    reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
    data = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
    verb = method or ("GET" if body is None else "POST")
    writer.write(f"{verb} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
    try:
        raw = await reader.read()
    finally:
        writer.close()
    head, _, rest = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    content, whole = _dechunked(rest) if "transfer-encoding" in headers else (rest, _complete(rest, headers))
    return Heard(int(first.split()[1]) if first else 0, headers, content, whole)


def _complete(rest: bytes, headers: dict[str, str]) -> bool:
    return len(rest) == int(headers.get("content-length", -1))


def _dechunked(rest: bytes) -> tuple[bytes, bool]:
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return body, True
        body, rest = body + rest[:length], rest[length + 2 :]
    return body, False

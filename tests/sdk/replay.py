"""A server that answers what it is told to, and keeps what it was asked."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


class Asked(NamedTuple):
    """One request; header names in small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Replay:
    """Answers each request with *pieces*; the end of the connection is the end of the answer."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.asked: list[Asked] = []
        self._pieces = pieces

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        method, path, _ = start.split(" ")
        self.asked.append(Asked(method, path, headers, body))
        for piece in self._pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()


@asynccontextmanager
async def replaying(
    status: int, headers: dict[str, str], *pieces: bytes, path: str = ""
) -> AsyncIterator[tuple[str, Replay]]:
    """The address of a server that answers with *status*, *headers* and a body in *pieces*, and what it was asked."""
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    replay = Replay([f"HTTP/1.1 {status} Told\r\n{head}connection: close\r\n\r\n".encode("latin-1"), *pieces])
    async with await asyncio.start_server(replay.serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}{path}", replay

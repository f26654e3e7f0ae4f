"""Backends made of bytes: whatever a test wants to come over the socket."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from llm_pool.providers.transport import Transport

WIRE = Path(__file__).parents[1] / "recordings"

Serve = Callable[["Visit"], Awaitable[None]]


class Visit:
    """One request to a ``Bytes`` server, and the socket to answer on."""

    def __init__(self, head: bytes, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        self.line = first.removesuffix(" HTTP/1.1")
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.raw = body
        self._reader, self._writer = reader, writer

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def whole(self, body: bytes = b"{}", status: str = "200 OK", *headers: str) -> None:
        lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", "")
        self.write("\r\n".join(lines).encode() + body)

    def begin(self) -> None:
        self.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

    def chunk(self, data: bytes) -> None:
        self.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def drained(self) -> None:
        await self._writer.drain()

    async def closed(self) -> None:
        """Wait until the client has gone."""
        try:
            while await self._reader.read(1000):
                pass
        except ConnectionError:
            pass

    def close(self) -> None:
        self._writer.close()


class Bytes:
    """A server that hands every request to *serve*."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.visits: list[Visit] = []
        self.visited = asyncio.Event()
        self.connections = self.now_open = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.now_open += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
                visit = Visit(head, b"", reader, writer)
                visit.raw = await reader.readexactly(int(visit.headers.get("content-length", 0)))
                self.visits.append(visit)
                self.visited.set()
                await self._serve(visit)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.now_open -= 1
            writer.close()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Bytes]:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self.handle(reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()


class Transcript:
    """One recorded exchange: request, status line, headers, body."""

    def __init__(self, name: str) -> None:
        request, answer = (WIRE / f"{name}.txt").read_bytes().split(b"\n\n", 1)
        head, body = answer.split(b"\n\n", 1)
        line, _, asked = request.partition(b"\n")
        self.line, self.asked = line.decode(), asked
        self.status, *headers = head.decode().split("\n")
        self.chunked = "Transfer-Encoding: chunked" in headers
        self.headers = [header for header in headers if not header.startswith("Content-Length")]
        self.body = body.removesuffix(b"\n")  # the newline that ends the file

    @property
    def request(self) -> Any:
        """The recorded request's JSON body."""
        return json.loads(self.asked)

    def play(self, visit: Visit, cuts: random.Random) -> None:
        """Answer *visit* with it, the body in pieces of random length."""
        head = [f"HTTP/1.1 {self.status}", *self.headers]
        if not self.chunked:
            head.append(f"Content-Length: {len(self.body)}")
        visit.write("\r\n".join([*head, "", ""]).encode())
        rest = self.body
        while rest:
            size = cuts.randint(1, 40)
            piece, rest = rest[:size], rest[size:]
            if self.chunked:
                visit.chunk(piece)
            else:
                visit.write(piece)
        if self.chunked:
            visit.write(b"0\r\n\r\n")


def replaying(*names: str) -> Bytes:
    """A server that answers each request line with the transcript of that line."""
    transcripts = {transcript.line: transcript for transcript in map(Transcript, names)}
    cuts = random.Random(7)

    async def serve(visit: Visit) -> None:
        transcripts[visit.line].play(visit, cuts)

    return Bytes(serve)


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport()
    yield transport
    await transport.aclose()


@pytest.fixture
def replay() -> Callable[..., Bytes]:
    return replaying


@pytest.fixture
def serving() -> Callable[[Serve], Bytes]:
    return Bytes


@pytest.fixture
def recorded() -> Callable[[str], Transcript]:
    return Transcript

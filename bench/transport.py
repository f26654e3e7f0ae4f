"""
Which HTTP client for the providers? Measured on what hedging does to one: cancel storms, many small calls, streams.

    python bench/transport.py [--export bench/results/transport.json] [CLIENT ...]

Each figure comes from a fresh process against a loopback server in another. Clients that are not installed are left
out. The figures that led to ``llm_pool/providers/transport.py`` are in ``docs/decisions/0001-http-client.md``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import platform
import random
import resource
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

BODY = json.dumps({"prompt": "x" * 2000}).encode()
POOL = 4
CHUNKS = 200
MODULES = {
    "ours": "llm_pool.providers.transport",
    "aiohttp": "aiohttp",
    "pyreqwest": "pyreqwest.client",
    "httpx2": "httpx2",
    "httpx": "httpx",
}


Post: TypeAlias = "Callable[[str], AsyncIterator[Any]]"


# The server


class Peer(asyncio.Protocol):
    """Answers ``/ok`` at once, ``/dither`` after up to 20 ms, ``/stream`` in chunks; ``/hang`` and ``/half`` wait."""

    closed: ClassVar[dict[str, float]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is here."""
        self._transport, self._buffer, self._path = cast(asyncio.Transport, transport), b"", ""
        self._task: asyncio.Task[None] | None = None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the protocol's signature
        """It has gone: remember when, by what it had asked for."""
        Peer.closed[self._path] = time.monotonic()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """A request, or a part of it."""
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        lower = head.lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 :].partition(b"\r\n")[0]) if at >= 0 else 0
        if found and len(body) >= length:
            self._buffer = body[length:]
            self._path = head.split(b" ", 2)[1].decode()
            self._answer(self._path)

    def _answer(self, path: str) -> None:
        match path.split("/")[1]:
            case "ok":
                self._whole(b'{"ok": true}')
            case "closed":
                self._whole(json.dumps(Peer.closed.get(path.removeprefix("/closed"))).encode())
            case "dither":
                self._task = asyncio.ensure_future(self._dither())
            case "stream":
                self._task = asyncio.ensure_future(self._stream())
            case "half":
                self._write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")

    def _write(self, data: bytes) -> None:
        self._transport.write(data)

    def _whole(self, body: bytes) -> None:
        self._write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async def _dither(self) -> None:
        await asyncio.sleep(random.uniform(0, 0.02))
        self._whole(b"{}")

    async def _stream(self) -> None:
        line = b'data: {"choices":[{"delta":{"content":"token"},"finish_reason":null}]}\n\n'
        self._write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(CHUNKS):
            self._write(b"%x\r\n%b\r\n" % (len(line), line))
            await asyncio.sleep(0)
        self._write(b"0\r\n\r\n")


async def serve() -> None:
    """Listen, and print the port."""
    server = await asyncio.get_running_loop().create_server(Peer, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# The clients: each gives a function that posts to a path and yields the answer in pieces, the library's own way


def ours(url: str, connections: int) -> Post:
    """Our transport. How many may call at once is the business of the queue before it; here a semaphore's."""
    from llm_pool.providers.transport import Backend, Transport

    transport, backend, slots = Transport(max_idle=POOL), Backend("bench", url), asyncio.Semaphore(connections)

    async def post(path: str) -> AsyncIterator[Any]:
        async with slots, transport.stream(backend, "POST", path, BODY) as response:
            while (piece := await response.piece()) is not None:
                yield piece

    return post


def with_aiohttp(url: str, connections: int) -> Post:
    """Of aiohttp."""
    import aiohttp

    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections))

    async def post(path: str) -> AsyncIterator[Any]:
        async with session.post(url + path, data=BODY) as response:
            async for piece in response.content.iter_any():
                yield piece

    return post


def with_pyreqwest(url: str, connections: int) -> Post:
    """Of pyreqwest; with its read buffer on, headers wait for 64 KiB of body, and the first token for the last."""
    from pyreqwest.client import ClientBuilder

    client = ClientBuilder().no_proxy().max_connections(connections).build()

    async def post(path: str) -> AsyncIterator[Any]:
        request = client.post(url + path).body_bytes(BODY).streamed_read_buffer_limit(0)
        async with request.build_streamed() as response:
            while (piece := await response.body_reader.read_chunk()) is not None:
                yield piece

    return post


def with_httpx(url: str, connections: int, library: str = "httpx") -> Post:
    """Of httpx, or of its continuation."""
    httpx = importlib.import_module(library)
    limits = httpx.Limits(max_connections=connections)
    client = httpx.AsyncClient(limits=limits, timeout=httpx.Timeout(5, pool=60), trust_env=False)

    async def post(path: str) -> AsyncIterator[Any]:
        async with client.stream("POST", url + path, content=BODY) as response:
            async for piece in response.aiter_raw():
                yield piece

    return post


CLIENTS: dict[str, Callable[[str, int], Post]] = {
    "ours": ours,
    "aiohttp": with_aiohttp,
    "pyreqwest": with_pyreqwest,
    "httpx2": partial(with_httpx, library="httpx2"),
    "httpx": with_httpx,
}


async def read(post: Post, path: str) -> bytes:
    """The whole answer."""
    return b"".join([bytes(piece) async for piece in post(path)])


# The measurements


async def storm(post: Post, requests: int) -> dict[str, Any]:
    """*requests* cancelled within 20 ms over a pool of 4; then how many of 20 clean calls end within a second."""
    chance = random.Random(1)
    await read(post, "/ok")

    async def cancelled() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(chance.uniform(0, 0.02)):
                await read(post, "/dither")

    for _ in range(requests // 20):
        await asyncio.gather(*(cancelled() for _ in range(20)))
    began, clean = time.perf_counter(), 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            for _ in range(20):
                await read(post, "/ok")
                clean += 1
    return {"storm: clean of 20": clean, "in ms": (time.perf_counter() - began) * 1000}


async def cancel(post: Post, requests: int) -> dict[str, Any]:
    """Milliseconds until the server sees the end of a cancelled call; None if it did not within two seconds."""
    return {
        "cancelled before headers, seen after ms": await _lag(post, "hang", requests),
        "half-way, seen after ms": await _lag(post, "half", requests),
    }


async def _lag(post: Post, kind: str, requests: int) -> float | None:
    worst = 0.0
    await read(post, "/ok")  # first calls are slow, and a call that was not sent cannot be seen to end
    for number in range(requests):
        call = asyncio.ensure_future(read(post, f"/{kind}/{number}"))
        await asyncio.sleep(0.03)
        call.cancel()
        cancelled = time.monotonic()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        for wait in (0.01, 0.1, 0.4, 1.5):
            await asyncio.sleep(wait)
            if (closed := json.loads(await read(post, f"/closed/{kind}/{number}"))) is not None:
                break
        else:
            return None
        worst = max(worst, (closed - cancelled) * 1000)
    return worst


async def small(post: Post, requests: int) -> dict[str, Any]:
    """CPU of the whole process per POST of 2 KB, 32 at a time."""

    async def worker(share: int) -> None:
        for _ in range(share):
            await read(post, "/ok")

    await asyncio.gather(*(worker(5) for _ in range(32)))
    cpu = time.process_time()
    await asyncio.gather(*(worker(requests // 32) for _ in range(32)))
    return {"CPU us per call": (time.process_time() - cpu) / (requests // 32 * 32) * 1e6}


async def chunks(post: Post, requests: int) -> dict[str, Any]:
    """CPU per chunk of a stream of 200, one stream at a time."""
    await read(post, "/stream")
    cpu = time.process_time()
    for _ in range(requests):
        await read(post, "/stream")
    return {"CPU us per chunk": (time.process_time() - cpu) / requests / CHUNKS * 1e6}


MEASURES = {
    "storm": (storm, 2000, POOL),
    "cancel": (cancel, 10, 100),
    "small": (small, 3200, 100),
    "chunks": (chunks, 30, 100),
}
"""For each: the function, how many requests, over how many connections at most."""


def start(module: str) -> float:
    """CPU of importing *module* and asyncio, as a multiple of ``python -c pass``; the best of ten."""
    return _cpu(f"import asyncio, {module}") / _cpu("pass")


def _cpu(code: str) -> float:
    figures = []
    for _ in range(10):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603  # ourselves
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        figures.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(figures)


# The table


def measured(client: str, measure: str) -> dict[str, float | None]:
    """One measurement: the median of three processes, None where one of them has None."""
    results: list[dict[str, float | None]] = []
    for _ in range(3):
        serving = [sys.executable, __file__, "--serve"]
        with subprocess.Popen(serving, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603  # ourselves
            assert server.stdout is not None
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            command = [sys.executable, __file__, "--run", client, measure, url]
            ran = subprocess.run(command, check=False, capture_output=True, timeout=180)  # noqa: S603  # ourselves
            server.terminate()
        results.append(json.loads(ran.stdout.splitlines()[-1]))
    return {name: _median([result[name] for result in results]) for name in results[0]}


def _median(figures: list[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return statistics.median(known) if len(known) == len(figures) else None


async def run(client: str, measure: str, url: str) -> None:
    """Take one measurement in this process, and print it."""
    function, requests, connections = MEASURES[measure]
    print(json.dumps(await function(CLIENTS[client](url, connections), requests)), flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    parser.add_argument("clients", nargs="*", help=f"of {', '.join(CLIENTS)}; all that are installed if none")
    parser.add_argument("--export", type=Path)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
    elif options.run:
        asyncio.run(run(*options.run))
    else:
        report(options.clients or [c for c in CLIENTS if _installed(c)], options.export)


def _installed(client: str) -> bool:
    return importlib.util.find_spec(MODULES[client].partition(".")[0]) is not None


def report(clients: list[str], export: Path | None) -> None:
    """Print the table row by row; write it to *export*."""
    bare = _cpu("import asyncio") / _cpu("pass")
    print(f"CPython {platform.python_version()}, `import asyncio` alone {bare:.1f} times `python -c pass`\n")
    table: dict[str, dict[str, float | None]] = {}
    for client in clients:
        row: dict[str, float | None] = {"import, x pass": start(MODULES[client])}
        for measure in MEASURES:
            row |= measured(client, measure)
        table[client] = row
        if len(table) == 1:
            print("| client |", " | ".join(row), "|")
            print("|---" * (len(row) + 1) + "|")
        print(f"| {client} |", " | ".join("never" if f is None else f"{f:.1f}" for f in row.values()), "|", flush=True)
    if export is not None:
        document = {"python": platform.python_version(), "asyncio, x pass": bare, "clients": table}
        export.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

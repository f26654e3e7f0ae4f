"""A daemon in this process, over the scripted upstream, on ports of its own."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import pytest

from llm_pool.config import parse
from llm_pool.core.messages import Query
from llm_pool.server.chat import stream_answer
from llm_pool.server.daemon import Components, open_daemon
from llm_pool.testing.upstream import Model, Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from llm_pool.config import Config
    from llm_pool.core.messages import Answer
    from llm_pool.engine.generations import PoolManager
    from llm_pool.server.chat import StreamEnd

MODELS = ("phi3:mini", "llama3.1:8b", "gemma2:9b")


class Daemon(NamedTuple):
    """A daemon that runs, and what it asks."""

    url: str
    manager: PoolManager
    upstream: Upstream
    urls: tuple[str, ...]


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_POOL_STATE", str(tmp_path / "state"))


@pytest.fixture
def config_for(tmp_path: Path) -> Callable[..., Config]:
    """A configuration of three Ollama models at a URL; *extra* TOML comes first, *providers* replace the three."""

    def make(url: str, extra: str = "", providers: str = "", deadline_ms: int = 5000) -> Config:
        return parse(config_text(url, extra, providers, deadline_ms), tmp_path / "llm-pool.toml")

    return make


def config_text(url: str, extra: str = "", providers: str = "", deadline_ms: int = 5000) -> str:
    """The text of such a configuration."""
    three = "".join(
        f'[[providers]]\nname = "{model.partition(":")[0]}"\ndriver = "ollama"\nmodel = "{model}"\nbase_url = "{url}"\n'
        for model in MODELS
    )
    server = '[server]\nhttp_addr = "127.0.0.1:0"\ngrpc_addr = "127.0.0.1:0"\n'
    qos = f'[qos]\nmax_deadline_ms = {deadline_ms}\n[groups."{url}"]\nslots = 64\n'
    return f"{extra}\n{'' if '[server]' in extra else server}{'' if '[qos]' in extra else qos}{providers or three}"


@pytest.fixture
def daemons(config_for: Callable[..., Config]) -> Callable[..., AbstractAsyncContextManager[Daemon]]:
    """Starts daemons with TOML, *components* and *capabilities* of the test's choice; the rest goes to the upstream."""

    @asynccontextmanager
    async def start(
        extra: str = "",
        *,
        providers: str = "",
        components: Components | None = None,
        deadline_ms: int = 5000,
        capabilities: dict[str, tuple[str, ...]] | None = None,
        **upstream: Any,
    ) -> AsyncIterator[Daemon]:
        async with AsyncExitStack() as stack:
            able = capabilities or {}
            models = [Model(name=name, capabilities=able.get(name, ("completion", "tools"))) for name in MODELS]
            up = await stack.enter_async_context(Upstream(models, **upstream))
            config = config_for(up.url, extra, providers.replace("{url}", up.url), deadline_ms)
            running = await stack.enter_async_context(open_daemon(config, components or Components()))
            yield Daemon(running.urls[0], running.manager, up, running.urls)

    return start


@pytest.fixture
async def daemon(daemons: Callable[..., AbstractAsyncContextManager[Daemon]]) -> AsyncIterator[Daemon]:
    """One that answers at once. Needs ``real_loop``."""
    async with daemons() as running:
        yield running


class Reply(msgspec.Struct):
    """An answer as it came over the socket; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def events(self) -> list[tuple[str, Any]]:
        """Server-sent events: type and data."""
        blocks = [block for block in self.body.decode().split("\n\n") if block and not block.startswith(":")]
        return [
            (block.split("\n")[0].removeprefix("event: "), msgspec.json.decode(block.split("\ndata: ")[1]))
            for block in blocks
        ]


@pytest.fixture
def ask() -> Callable[..., Any]:
    """Asks over a socket of its own; keywords are headers, ``X_Name="value"``."""
    return request


@pytest.fixture
def ask_raw() -> Callable[..., Any]:
    """Sends bytes as they are, over a socket of its own."""
    return raw


async def request(url: str, method: str, path: str, body: Any = None, **headers: str) -> Reply:
    """One request, one connection."""
    host = urlsplit(url).netloc
    data = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", f"Content-Length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return await raw(url, "\r\n".join(lines).encode() + b"\r\n\r\n" + data)


async def raw(url: str, data: bytes) -> Reply:
    """What a server says to *data* until it closes."""
    reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
    try:
        writer.write(data)
        return read_reply(await reader.read())
    finally:
        writer.close()


def read_reply(said: bytes) -> Reply:
    """*said* as a reply, its body without chunk marks."""
    head, _, rest = said.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = rest
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return Reply(int(first.split()[1]) if first else 0, headers, body)


Told = list[tuple[str, str]]
"""Pieces in their order: what they are, and their text."""


@pytest.fixture
def told() -> Callable[..., Awaitable[Told]]:
    """What a client of a chat API is told while a pool does what the argument says; that is given what takes events."""
    return _told


async def _told(tell: Callable[[Any], Awaitable[Answer]], exchange: FakeExchange | None = None) -> Told:
    encoder: Any = Recorder()
    exchange = exchange or FakeExchange()
    manager: Any = TellingPool(tell)
    out: Any = exchange
    await stream_answer(manager, Query(prompt="p"), encoder, out)
    assert len(exchange.heads) == 1
    return [(kind, text) for kind, _, text in (line.partition(":") for line in exchange.text.split("|")[:-1])]


class TellingPool:
    """A pool that tells what a test gives it."""

    def __init__(self, tell: Callable[[Any], Awaitable[Answer]]) -> None:
        self._tell = tell

    async def infer(self, _query: Query, emit: Any) -> Answer:
        return await self._tell(emit)


class Recorder:
    """An encoder of pieces as ``kind:text|``."""

    content_type = b"text/plain"

    def opening(self) -> bytes:
        return b""

    def piece(self, text: str) -> bytes:
        return f"text:{text}|".encode()

    def thought(self, text: str) -> bytes:
        return f"thought:{text}|".encode()

    def heartbeat(self) -> bytes:
        return b"heartbeat:|"

    def ending(self, end: StreamEnd) -> bytes:
        return f"rest:{end.rest}|".encode()

    def failed(self, error: Exception) -> bytes:
        return f"failed:{type(error).__name__}|".encode()


class FakeExchange:
    """Keeps what is written; *is_writable*: the client reads."""

    def __init__(self) -> None:
        self.heads: list[Sequence[tuple[bytes, bytes]]] = []
        self.writes: list[bytes] = []
        self.is_writable = True
        self.on_writable: Callable[[], None] | None = None

    @property
    def has_begun(self) -> bool:
        return bool(self.writes)

    @property
    def has_head(self) -> bool:
        return bool(self.heads)

    @property
    def text(self) -> str:
        return b"".join(self.writes).decode()

    def begin(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.heads.append(headers)

    def write(self, piece: bytes) -> None:
        self.writes.append(piece)

    async def end(self, rest: bytes) -> None:
        self.writes.append(rest)

"""A client that leaves stops the models within 0.2 seconds, whatever API it asked by."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import msgspec
import pytest

from llm_pool.server.components import APIS
from llm_pool.server.daemon import Components
from llm_pool.testing.upstream import Upstream
from llm_pool.testing.upstream.machine import Model

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

EVERY_API = Components(extensions=tuple(api.add_routes for api in APIS))
SAID = [{"role": "user", "content": "hello"}]
ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": SAID},
    "/v1/completions": {"prompt": "hello"},
    "/v1/responses": {"input": "hello"},
    "/v1/messages": {"messages": SAID, "max_tokens": 999},
    "/api/chat": {"messages": SAID},
    "/api/generate": {"prompt": "hello"},
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ASKED)
async def test_leaving_stops_the_model(daemons: Any, path: str, *, stream: bool) -> None:
    """Before the answer, and in the middle of a stream."""
    async with daemons(
        components=EVERY_API, answer=lambda _: "word " * 500, per_token="const:0.02", ttft="const:0.05"
    ) as pool:
        left = await leave(pool, path, {"model": "phi3", "stream": stream, **ASKED[path]}, until_text=stream)

        await until(lambda: pool.upstream.counts.cancelled == 1)
        assert time.monotonic() - left < 0.2
        await until(lambda: not pool.manager.in_flight)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": "hello"}),
        ("/api/embed", {"input": ["hello", "you"]}),
        ("/api/embeddings", {"prompt": "hello"}),
    ],
)
async def test_leaving_stops_the_embedding(daemons: Any, path: str, body: dict[str, Any]) -> None:
    """While the backend works on it."""
    async with Upstream([Model(name="bge-m3:latest", embeds=True)], ttft="const:5") as up:
        where = f'driver = "ollama"\nmodel = "bge-m3"\nbase_url = "{up.url}"\n'
        embedder = f'[[providers]]\nname = "bge"\n{where}tasks = ["embed"]\n'
        async with daemons("[qos]\nmax_deadline_ms = 9000\n", providers=embedder, components=EVERY_API) as running:
            pool = running._replace(upstream=up)
            left = await leave(pool, path, {"model": "bge", **body}, until_text=False)

            await until(lambda: up.counts.cancelled == 1)
            assert time.monotonic() - left < 0.2
            await until(lambda: not pool.manager.in_flight)


async def leave(pool: Any, path: str, body: Any, *, until_text: bool) -> float:
    """Ask, wait until the model is asked, or writes, and hang up; when that was, in monotonic seconds."""
    data = msgspec.json.encode(body)
    parts = urlsplit(pool.url)
    async with await anyio.connect_tcp(parts.hostname or "", parts.port or 0) as stream:
        head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(data)}\r\n\r\n"
        await stream.send(head.encode() + data)
        await until(lambda: pool.upstream.counts.requests == 1)
        if until_text:
            while b"word" not in await stream.receive():
                pass
    return time.monotonic()


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not holds():  # noqa: ASYNC110  # no event for counts
            await anyio.sleep(0.005)

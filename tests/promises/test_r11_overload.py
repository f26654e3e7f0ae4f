"""R11: three times what the backend can do sheds the rest at once, and goes on answering as many as it can."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from llm_pool.config import parse
from llm_pool.server.daemon import Components, open_daemon
from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

SLOTS, SERVICE, SECONDS, DEADLINE = 4, 0.1, 4.0, 0.6
CAPACITY = SLOTS / SERVICE
CONFIG = """
[server]
http_addr = "127.0.0.1:0"
enable_grpc = false
[cache]
enabled = false
[qos]
queue_limit = 12
[groups."{url}"]
slots = 4
[[providers]]
name = "a"
driver = "ollama"
model = "phi3:mini"
base_url = "{url}"
"""


class Told(NamedTuple):
    """How one request went."""

    status: int
    took: float
    head: bytes


async def test_overload_sheds_and_goodput_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open loop: nobody waits for an answer before asking the next."""
    monkeypatch.setenv("LLM_POOL_STATE", str(tmp_path))
    async with (
        Upstream(["phi3:mini"], ttft=f"const:{SERVICE}", slots=SLOTS) as up,
        open_daemon(parse(CONFIG.format(url=up.url), tmp_path / "llm-pool.toml"), Components()) as daemon,
    ):
        told = await _open_loop(daemon.urls[0], rate=3 * CAPACITY)

    good = [t for t in told if t.status == 200]
    shed = [t for t in told if t.status == 503]
    assert len(good) + len(shed) + sum(t.status == 504 for t in told) == len(told)
    assert len(good) >= 0.8 * CAPACITY * SECONDS
    assert sorted(t.took for t in good)[int(len(good) * 0.99)] <= DEADLINE + 0.1
    assert len(shed) > 0.3 * len(told)
    assert all(b"retry-after: " in t.head for t in shed)
    assert sorted(t.took for t in shed)[len(shed) // 2] < 0.1  # 20 ms on a machine of one's own
    assert up.counts.most_in_flight <= SLOTS


async def _open_loop(url: str, rate: float) -> list[Told]:
    asked, began = [], time.monotonic()
    for number in range(int(rate * SECONDS)):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        asked.append(asyncio.create_task(_ask(url, number)))
    return await asyncio.gather(*asked)


async def _ask(url: str, number: int) -> Told:
    began = time.monotonic()
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = b'{"prompt":"question %d","deadline_ms":%d}' % (number, DEADLINE * 1000)
    head = b"POST /v1/infer HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    writer.write(head + body)
    said = await reader.read()
    writer.close()
    return Told(int(said.split()[1]), time.monotonic() - began, said.partition(b"\r\n\r\n")[0])

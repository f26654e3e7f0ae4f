"""R11: three times what the backend can do sheds the rest at once, and goes on answering as many as it can."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from llm_pool.config import parse
from llm_pool.core.errors import DeadlineExceeded, LlmPoolError, Overloaded
from llm_pool.core.messages import Query
from llm_pool.server.daemon import Components, open_daemon
from llm_pool.testing import Reply
from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    from pathlib import Path

    from llm_pool.engine.composition import App

pytestmark = pytest.mark.anyio

SLOTS, QUEUE, SERVICE, SECONDS, DEADLINE = 4, 12, 0.1, 4.0, 0.6
CAPACITY = SLOTS / SERVICE
CONFIG = """
[server]
http_addr = "127.0.0.1:0"
enable_grpc = false
[cache]
enabled = false
[qos]
queue_limit = 12
max_deadline_ms = 60000
[groups."{url}"]
slots = 4
[[providers]]
name = "a"
driver = "ollama"
model = "phi3:mini"
base_url = "{url}"
"""


class Told(NamedTuple):
    """How one request went; *error* is None for an answer."""

    error: LlmPoolError | None
    took: float


async def test_overload_sheds_and_goodput_holds(on_virtual_time: Any) -> None:
    """An open loop: nobody waits for an answer before asking the next."""
    reply = Reply("blue", ttft=SERVICE, duration=SERVICE)
    async with on_virtual_time(reply, slots=SLOTS, text=f"queue_limit = {QUEUE}") as (app, models):
        told = await _open_loop(app, rate=3 * CAPACITY)

    good = [t for t in told if t.error is None]
    shed = [t for t in told if isinstance(t.error, Overloaded)]
    assert len(good) + len(shed) + sum(isinstance(t.error, DeadlineExceeded) for t in told) == len(told)
    assert len(good) >= 0.9 * CAPACITY * SECONDS
    assert all(t.took <= DEADLINE for t in told)
    assert len(shed) > 0.3 * len(told)
    assert all(t.took == 0 for t in shed)
    assert models[0].most_in_flight == SLOTS


async def _open_loop(app: App, rate: float) -> list[Told]:
    asked = []
    for number in range(int(rate * SECONDS)):
        asked.append(asyncio.create_task(_ask(app, number)))
        await asyncio.sleep(1 / rate)
    return await asyncio.gather(*asked)


async def _ask(app: App, number: int) -> Told:
    now = asyncio.get_running_loop().time
    began, error = now(), None
    try:
        await app.orchestrator.infer(Query(prompt=f"question {number}", deadline=DEADLINE))
    except LlmPoolError as raised:
        error = raised
    return Told(error, now() - began)


@pytest.mark.real_loop
async def test_who_finds_the_queue_full_is_told_so_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over HTTP, while all those who came before still wait: 503, and when to come again."""
    monkeypatch.setenv("LLM_POOL_STATE", str(tmp_path))
    async with (
        Upstream(["phi3:mini"]) as up,
        open_daemon(parse(CONFIG.format(url=up.url), tmp_path / "llm-pool.toml"), Components()) as daemon,
    ):
        up.set_mode("*", "hang")
        asking = [asyncio.create_task(_post(daemon.urls[0], number)) for number in range(SLOTS + QUEUE + 1)]
        done, waiting = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        told = [task.result() for task in done]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

        assert len(waiting) == SLOTS + QUEUE
        assert [status for status, _ in told] == [503]
        assert all(b"retry-after: " in head for _, head in told)
        assert up.counts.most_in_flight <= SLOTS


async def _post(url: str, number: int) -> tuple[int, bytes]:
    """Status and head."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = b'{"prompt":"question %d","deadline_ms":50000}' % number
    head = b"POST /v1/infer HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    writer.write(head + body)
    try:
        said = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    return int(said.split()[1]), said.partition(b"\r\n\r\n")[0]

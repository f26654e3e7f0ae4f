"""R17: reloads are atomic. 200 of them, good and bad, under load: no failed request, no bad one taken."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.config import load
from llm_pool.engine.reload import Reloader
from llm_pool.server.daemon import Components, open_daemon
from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    from pathlib import Path

    from llm_pool.engine.generations import PoolManager

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

RELOADS = 200
GOOD = """
[server]
http_addr = "127.0.0.1:0"
grpc_addr = "127.0.0.1:0"
[qos]
max_deadline_ms = 10000
max_tokens_default = {tokens}
[cache]
enabled = false
[groups."{url}"]
slots = 64
[[providers]]
name = "{name}"
driver = "ollama"
model = "phi3:mini"
base_url = "{url}"
"""
BAD = ("{oops", '[qos]\nmax_tokens_default = "many"\n', "", '[[providers]]\nname = "half')


async def test_two_hundred_reloads_fail_no_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of them by a writer who truncates, half by rename; one in three is wrong."""
    monkeypatch.setenv("LLM_POOL_STATE", str(tmp_path / "state"))
    path = tmp_path / "llm-pool.toml"
    async with Upstream(["phi3:mini"], ttft="const:0.01") as up:
        path.write_text(GOOD.format(url=up.url, name="p0", tokens=100))
        async with open_daemon(await asyncio.to_thread(load, path), Components()) as daemon:
            reloader = Reloader(daemon.manager.config, lambda: load(path), daemon.apply, daemon.manager.record_refused)
            load_on = Load(daemon.urls[0])
            asking = asyncio.create_task(load_on.run())
            taken = 0
            for number in range(RELOADS):
                bad = number % 3 == 2
                text = (
                    BAD[number % len(BAD)]
                    if bad
                    else GOOD.format(url=up.url, name=f"p{number // 20}", tokens=number + 1)
                )
                _write(path, text, rename=number % 2 == 0)
                assert await reloader.reload() is not bad
                taken += not bad
                assert daemon.manager.generation == 1 + taken
                assert daemon.manager.last_reload.ok is not bad
                if not bad:
                    assert daemon.manager.config.qos.max_tokens_default == number + 1
                await asyncio.sleep(0.01)
            load_on.enough = True
            await asking
            await _settled(daemon.manager)

    assert load_on.failed == []
    assert load_on.answered > 100
    assert repr(daemon.manager).endswith("0 in flight, 0 draining]>")


class Load:
    """Four clients that ask one question after the other."""

    def __init__(self, url: str) -> None:
        self.url, self.enough, self.answered = url, False, 0
        self.failed: list[Any] = []

    async def run(self) -> None:
        await asyncio.gather(*(self._client(number) for number in range(4)))

    async def _client(self, number: int) -> None:
        host, _, port = self.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        while not self.enough:
            body = b'{"prompt":"%d %d"}' % (number, time.monotonic_ns())
            head = b"POST /v1/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
            writer.write(head + body)
            said = await reader.readuntil(b"\r\n\r\n")
            length = int(said.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            answer = await reader.readexactly(length)
            if said.startswith(b"HTTP/1.1 200"):
                self.answered += 1
            else:
                self.failed.append(answer)
        writer.close()


def _write(path: Path, text: str, *, rename: bool) -> None:
    if rename:
        path.with_suffix(".new").write_text(text)
        path.with_suffix(".new").replace(path)
    else:
        path.write_text(text)


async def _settled(manager: PoolManager) -> None:
    async with asyncio.timeout(5):
        while "0 in flight, 0 draining" not in repr(manager):  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.01)

"""R23: health tells the truth. Liveness asks no backend; readiness follows them within two seconds."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from llm_pool.config import parse
from llm_pool.server.daemon import Components, open_daemon
from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

CONFIG = """
[server]
http_addr = "127.0.0.1:0"
enable_grpc = false
[[providers]]
name = "a"
driver = "ollama"
model = "phi3:mini"
base_url = "{url}"
"""
SOON = 2.0


async def test_readiness_follows_the_last_backend_and_liveness_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gone, back, silent: each is told within two seconds; the daemon itself lives all along."""
    monkeypatch.setenv("LLM_POOL_STATE", str(tmp_path))
    up = Upstream(["phi3:mini"])
    await up.__aenter__()
    async with open_daemon(parse(CONFIG.format(url=up.url), tmp_path / "llm-pool.toml"), Components()) as daemon:
        url = daemon.urls[0]
        assert await _status(url, "/readyz") == 200

        await up.__aexit__(None, None, None)
        assert await _within(SOON, url, 503)
        assert await _status(url, "/livez") == 200

        await up.__aenter__()
        assert await _within(SOON, url, 200)

        for path in ("/api/tags", "/api/ps", "/api/version"):
            up.set_mode(path, "hang")
        assert await _within(SOON, url, 503)
        asked = len(up.journal.entries)
        assert await _status(url, "/livez") == 200
        assert len(up.journal.entries) == asked
    await up.__aexit__(None, None, None)


async def _within(span: float, url: str, status: int) -> bool:
    until = time.monotonic() + span
    while time.monotonic() < until:
        if await _status(url, "/readyz") == status:
            return True
        await asyncio.sleep(0.05)
    return False


async def _status(url: str, path: str) -> int:
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    said = await reader.read()
    writer.close()
    return int(said.split()[1])

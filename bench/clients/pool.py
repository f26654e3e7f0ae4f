"""``llm-pool serve`` as a process of its own, over the scripted upstream in this one."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from bench.clients import scenario
from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

START_TIME = 60.0  # seconds


class Pool(msgspec.Struct):
    """
    A pool that runs.

    Attributes:
        url: the daemon's address.
        origin: of web pages that may ask it, on a name that is not this machine's.
        upstream: what it asks.
    """

    url: str
    origin: str
    upstream: Upstream


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Pool]:
    """A pool whose configuration, state and log lie in *folder*; stopped when left."""
    origin = f"http://app.example:{_free_port()}"
    async with Upstream(scenario.MODELS, answer=scenario.answer) as upstream:
        upstream.set_mode(f"{scenario.BROKEN}:latest", "error:500")
        config, log = folder / "llm-pool.toml", folder / "serve.log"
        config.write_text(scenario.CONFIG.format(upstream=upstream.url, origin=origin), encoding="utf-8")
        with log.open("wb") as written:
            daemon = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "llm_pool", "serve", "--config", str(config),
                stderr=written, env={**os.environ, "LLM_POOL_STATE": str(folder / "state")},
            )  # fmt: skip
        try:
            yield Pool(await _address(daemon, log), origin, upstream)
        finally:
            if daemon.returncode is None:
                daemon.send_signal(signal.SIGTERM)
            await daemon.wait()


async def _address(daemon: asyncio.subprocess.Process, log: Path) -> str:
    """Where it listens, by the first line that it writes of it."""
    async with asyncio.timeout(START_TIME):
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", _text(log))):  # a file
            if daemon.returncode is not None:
                raise RuntimeError(f"the daemon did not start:\n{_text(log)}")
            await asyncio.sleep(0.05)
    return found[0]


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8")


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
    return port

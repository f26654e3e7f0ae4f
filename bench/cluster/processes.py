"""Processes of the cluster: started, waited for, ended; and plain requests to them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pathlib import Path

    from bench.cluster.network import Host

START_TIME = 60.0
"""Seconds that a process may take to answer first, or to end."""
REPLY_TIME = 3.0
"""Seconds for a reply that says whether it is ready."""
PORT = 7071
GRACE = "10s"


class Replica:
    """
    One ``llm-pool serve`` on a host of its own.

    Args:
        host: where it runs.
        config: the file, which all replicas read.
        folder: gets its log and its state.
    """

    def __init__(self, host: Host, config: Path, folder: Path) -> None:
        self.host, self._config, self._folder = host, config, folder
        self.log = folder / f"{host.name}.log"
        self.url = f"http://{host.address}:{PORT}"

    async def start(self) -> None:
        """Begin, and wait until it is ready."""
        words = [sys.executable, "-m", "llm_pool", "serve", "--config", str(self._config), "--grace", GRACE, "--json"]
        env = os.environ | {
            "REPLICA": self.host.name,
            "LLM_POOL_STATE": str(self._folder / self.host.name),
            "PYTHONPYCACHEPREFIX": str(self._folder / "bytecode"),  # compiled by the first that starts, as in an image
        }
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.host.command(*words), stdout=log, stderr=log, env=env
            )
        await until_answered(f"{self.url}/readyz", self._process)

    async def kill(self) -> None:
        """End it as a machine does that loses its power."""
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> int:
        """Ask it to leave; its exit status."""
        return await ended(self._process)

    async def generation(self, key: str) -> int:
        """How many configurations it has taken, as it says to the tenant with *key*."""
        _, said = await asked("GET", f"{self.url}/metrics", key=key)
        taken = re.search(rb'^llmpool_reloads_total\{result="taken"\} (\S+)', said, re.MULTILINE)
        return int(float(taken[1])) if taken else 0


class Redis:
    """A redis-server on a host of its own that keeps nothing on disk."""

    def __init__(self, program: str, host: Host, folder: Path) -> None:
        self.host, self._program, self._folder = host, program, folder

    async def start(self) -> None:
        """Begin, empty."""
        words = [self._program, "--bind", self.host.address, "--protected-mode", "no", "--save", ""]
        null = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(
            *self.host.command(*words, "--dir", str(self._folder)), stdout=null
        )
        async with asyncio.timeout(START_TIME):
            while True:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection(self.host.address, 6379)
                    writer.close()
                    return
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """End it; what it held is gone."""
        await ended(self._process)


async def ended(process: asyncio.subprocess.Process) -> int:
    """SIGTERM, and SIGKILL for one that does not leave; its exit status."""
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(START_TIME):
            return await process.wait()
    except TimeoutError:
        process.kill()
        return await process.wait()


async def until_answered(url: str, process: asyncio.subprocess.Process) -> None:
    """Wait until *url* says 200; raises RuntimeError where *process* ended before."""
    async with asyncio.timeout(START_TIME):
        while True:
            with suppress(OSError, ValueError, asyncio.IncompleteReadError):
                async with asyncio.timeout(REPLY_TIME):
                    status, _ = await asked("GET", url)
                if status == 200:
                    return
            if process.returncode is not None:
                raise RuntimeError(f"the process for {url} ended with {process.returncode}")
            await asyncio.sleep(0.05)


async def asked(method: str, url: str, body: Any = None, key: str = "") -> tuple[int, bytes]:
    """The status and the whole body of one request on a connection of its own; raises ValueError for one cut short."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    data = b"" if body is None else json.dumps(body).encode()
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        head = f"{method} {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n"
        head += f"Authorization: Bearer {key}\r\n" if key else ""
        writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        said, rest = (await reader.readuntil(b"\r\n\r\n")).decode().lower(), await reader.read()
    finally:
        writer.close()
    if "transfer-encoding: chunked" in said:
        rest = _joined(rest)
    elif (told := re.search(r"content-length: (\d+)", said)) and int(told[1]) != len(rest):
        raise ValueError("a body cut short")
    return int(said.split()[1]), rest


def _joined(chunks: bytes) -> bytes:
    """The body in *chunks*; raises ValueError where the last one is missing."""
    body, at = b"", 0
    while True:
        end = chunks.index(b"\r\n", at)
        size = int(chunks[at:end].partition(b";")[0], 16)
        if size == 0:
            return body
        body += chunks[end + 2 : end + 2 + size]
        at = end + 2 + size + 2

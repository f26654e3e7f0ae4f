"""R27: what hangs or runs out on our own side (a resolver, file descriptors) is told as that, and passes."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop, pytest.mark.timeout(120)]

DAEMON = """
import resource, socket, sys, time
files, loop = int(sys.argv.pop(1)), sys.argv.pop(1)
if files:
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
if loop == "asyncio":
    sys.modules["uvloop"] = None
real = socket.getaddrinfo
def getaddrinfo(host, *args, **kwargs):
    if host == "slow.invalid":
        time.sleep(60)
    return real(host, *args, **kwargs)
socket.getaddrinfo = getaddrinfo
from llm_pool.__main__ import main
main()
"""
"""The command line with a limit of descriptors, and a resolver that hangs for one name."""

PROVIDER = '[[providers]]\nname = "{name}"\ndriver = "ollama"\nmodel = "a:latest"\nbase_url = "{url}"\n'


class Process:
    """A daemon of its own."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process, self.port = process, port

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status, and JSON or bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            data = b"" if body is None else json.dumps(body).encode()
            headers = f"Host: localhost\r\nConnection: close\r\nContent-Length: {len(data)}"
            writer.write(f"{method} {path} HTTP/1.1\r\n{headers}\r\n\r\n".encode() + data)
            said, _, rest = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        return int(said.split()[1]), json.loads(rest) if b"application/json" in said else rest


@asynccontextmanager
async def serving(folder: Path, *urls: str, files: int = 0, loop: str = "any") -> AsyncIterator[Process]:
    providers = "".join(PROVIDER.format(name=f"p{n}", url=url) for n, url in enumerate(urls))
    config = folder / "llm-pool.toml"
    config.write_text('[server]\nhttp_addr = "127.0.0.1:0"\nenable_grpc = false\n' + providers, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DAEMON, str(files), loop, "serve", "--config", str(config), "--grace", "2s"),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "LLM_POOL_STATE": str(folder / "state")},
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            while b"http://" not in (line := await process.stderr.readline()):
                assert line
        reading = asyncio.create_task(process.stderr.read())
        yield Process(process, int(line.strip().rpartition(b":")[2]))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


@pytest.mark.parametrize("loop", ["any", "asyncio"])
async def test_a_resolver_that_hangs_holds_nobody(tmp_path: Path, loop: str) -> None:
    """Metrics and liveness answer at once, requests by their deadline, and the process ends within its grace."""
    clock = asyncio.get_running_loop()
    async with (
        Upstream(["a:latest"], answer=lambda _: "blue") as up,
        serving(tmp_path, "http://slow.invalid:9", up.url, loop=loop) as daemon,
    ):
        asking = [daemon.ask("POST", "/v1/infer", {"prompt": f"q {n}", "deadline_ms": 1000}) for n in range(8)]
        asked = asyncio.gather(*asking)
        began = clock.time()
        for path in ("/metrics", "/livez") * 5:
            assert (await daemon.ask("GET", path))[0] == 200
        assert clock.time() - began < 5
        answers = await asked
        assert {status for status, _ in answers} <= {200, 502, 504}
        assert (await daemon.ask("POST", "/v1/infer", {"prompt": "and now"}))[0] in {200, 502}

        began = clock.time()
        daemon.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await daemon.process.wait() == 0
        assert clock.time() - began < 2 + 3


async def test_without_descriptors_the_backends_are_not_blamed(tmp_path: Path) -> None:
    """Idle connections make room; then all goes on as before, and no breaker has moved."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 256:
        pytest.skip("this test needs descriptors of its own")
    async with Upstream(["a:latest"], answer=lambda _: "blue") as up, serving(tmp_path, up.url, files=64) as daemon:
        assert (await daemon.ask("POST", "/v1/infer", {"prompt": "first"}))[0] == 200
        held = [await asyncio.open_connection("127.0.0.1", daemon.port) for _ in range(80)]
        for _, writer in held:
            writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(30):
            while (await daemon.ask("GET", "/livez"))[0] != 200:
                pass
            answers = [await daemon.ask("POST", "/v1/infer", {"prompt": f"held {n}"}) for n in range(7)]
        assert {status for status, _ in answers} <= {200, 503}
        for _, writer in held:
            writer.close()

        async with asyncio.timeout(10):
            while (await daemon.ask("POST", "/v1/infer", {"prompt": "after"}))[0] != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        _, metrics = await daemon.ask("GET", "/metrics")
        opened = [line for line in metrics.decode().splitlines() if "breaker" in line and 'to="open"' in line]
        assert [line for line in opened if not line.endswith(" 0.0")] == []

"""R16 and R18: the daemon as a process. It leaves politely when asked, and comes back when killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop, pytest.mark.timeout(120)]

CONFIG = """
[server]
http_addr = "127.0.0.1:0"
enable_grpc = false
[qos]
max_deadline_ms = 20000
[groups."{url}"]
slots = 64
[[providers]]
name = "a"
driver = "ollama"
model = "a:latest"
base_url = "{url}"
[[providers]]
name = "b"
driver = "ollama"
model = "b:latest"
base_url = "{url}"
"""


class Process:
    """A daemon of its own."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, said: list[str]) -> None:
        self.process, self.url, self.said = process, url, said

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Status and body; 0 where nobody listens or the connection broke."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        data = b"" if body is None else msgspec.json.encode(body)
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
            head = (
                f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
            )
            writer.write(head.encode() + data)
            said = await reader.read()
            writer.close()
        except ConnectionError:
            return 0, b""
        head_said, _, rest = said.partition(b"\r\n\r\n")
        return int(head_said.split()[1]) if head_said else 0, rest

    async def ends(self) -> int:
        async with asyncio.timeout(20):
            self.said += (await self.process.stderr.read()).decode().splitlines()  # type: ignore[union-attr]  # a pipe
            return await self.process.wait()


@asynccontextmanager
async def serving(folder: Path, upstream: Upstream, *words: str) -> AsyncIterator[Process]:
    path = folder / "llm-pool.toml"
    if not path.exists():
        path.write_text(CONFIG.format(url=upstream.url), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "llm_pool", "serve", "--config", str(path), *words),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "LLM_POOL_STATE": str(folder / "state")},
    )
    assert process.stderr is not None
    try:
        said: list[str] = []
        async with asyncio.timeout(20):
            while not (said and said[-1].strip().startswith("http")):
                line = await process.stderr.readline()
                assert line, "".join(said)
                said.append(line.decode())
        yield Process(process, said[-1].strip(), said)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def in_flight(up: Upstream, wanted: int) -> None:
    async with asyncio.timeout(10):
        while up.counts.in_flight < wanted:  # noqa: ASYNC110  # the counts have no event
            await asyncio.sleep(0.01)


async def test_asked_to_stop_it_ends_what_it_began(tmp_path: Path) -> None:
    """Readiness drops at once, new work is refused, every request in flight is answered, and it exits with 0."""
    async with (
        Upstream(["a:latest", "b:latest"], answer=lambda _: "one two three", per_token="const:0.3") as up,
        serving(tmp_path, up, "--grace", "8s") as daemon,
    ):
        asks = [daemon.ask("POST", "/v1/infer", {"prompt": f"q {n}", "stream": n % 2 == 0}) for n in range(20)]
        asked = [asyncio.create_task(ask) for ask in asks]
        await in_flight(up, 20)
        assert (await daemon.ask("GET", "/readyz"))[0] == 200

        daemon.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.1)
        ready, manager, new = (
            await daemon.ask("GET", "/readyz"),
            await daemon.ask("GET", "/livez"),
            await daemon.ask("POST", "/v1/infer", {"prompt": "new"}),
        )
        answers = await asyncio.gather(*asked)
        code = await daemon.ends()

    assert (ready[0], manager[0], new[0]) == (503, 200, 503)
    assert b'"stopping"' in new[1]
    assert [status for status, _ in answers] == [200] * 20
    assert all(body.endswith(b"0\r\n\r\n") and b"event: answer" in body for _, body in answers[::2])
    assert sum('"message":"answered"' in line for line in daemon.said) == 20
    assert code == 0


async def test_after_the_grace_it_cuts_what_hangs_and_says_so(tmp_path: Path) -> None:
    """A unary request gets 503, a stream that has begun its last event: nobody is left without a word."""
    async with Upstream(["a:latest", "b:latest"]) as up, serving(tmp_path, up, "--grace", "500ms") as daemon:
        up.set_mode("*", "stall:2")
        asked = [
            asyncio.create_task(daemon.ask("POST", "/v1/infer", {"prompt": f"q {n}", "stream": n == 1}))
            for n in range(2)
        ]
        await in_flight(up, 2)

        daemon.process.send_signal(signal.SIGTERM)
        plain, stream = await asyncio.gather(*asked)
        code = await daemon.ends()

    assert (plain[0], stream[0]) == (503, 200)
    assert b"event: error" in stream[1]
    assert b'"stopping"' in stream[1]
    assert stream[1].endswith(b"0\r\n\r\n")
    assert (code, daemon.said[-2:]) == (0, ["some requests were cut", "stopped"])


async def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    """For whoever is in a hurry."""
    async with Upstream(["a:latest", "b:latest"]) as up, serving(tmp_path, up, "--grace", "60s") as daemon:
        up.set_mode("*", "hang")
        asked = asyncio.create_task(daemon.ask("POST", "/v1/infer", {"prompt": "q"}))
        await in_flight(up, 1)

        daemon.process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.2)
        assert daemon.process.returncode is None
        daemon.process.send_signal(signal.SIGINT)

        assert await daemon.ends() == 0
        assert (await asked)[0] == 503


async def test_a_hangup_reads_the_configuration_again(tmp_path: Path) -> None:
    """Though nobody watches the file; what is wrong with it stands in /health."""
    async with Upstream(["a:latest", "b:latest"]) as up, serving(tmp_path, up, "--no-reload") as daemon:
        with (tmp_path / "llm-pool.toml").open("a", encoding="utf-8") as file:
            file.write("wieght = 2\n")
        daemon.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(5):
            while b'"ok":true' in (health := (await daemon.ask("GET", "/health"))[1]):  # noqa: ASYNC110  # a process
                await asyncio.sleep(0.05)

    error = msgspec.json.decode(health)["last_reload"]["error"]
    assert (error["key"], error["line"]) == ("providers[1].wieght", 19)


async def test_killed_at_any_moment_it_comes_back(tmp_path: Path) -> None:
    """R18: the same port, no damaged file, requests answered; five times here, each later in its life."""
    async with Upstream(["a:latest", "b:latest"], answer=lambda asked: f"I am {asked.model}") as up:
        port = "0"
        for life in range(5):
            async with serving(tmp_path, up, "--http-addr", f"127.0.0.1:{port}") as daemon:
                port = daemon.url.rpartition(":")[2]
                body = {"prompt": f"who? {life}", "strategy": "VOTING", "request_id": f"r{life}"}
                assert (await daemon.ask("POST", "/v1/infer", body))[0] == 200
                learning = asyncio.create_task(
                    daemon.ask("POST", "/v1/feedback", {"request_id": f"r{life}", "good": True})
                )
                await asyncio.sleep(life * 0.005)
                daemon.process.kill()
                await learning

    assert not list((tmp_path / "state").glob("*.damaged"))


async def test_an_address_that_is_taken_is_told(tmp_path: Path) -> None:
    """With the way out, before anything is said of serving."""
    async with Upstream(["a:latest"]) as up:
        taken = up.url.removeprefix("http://")
        with pytest.raises(AssertionError, match=r"server\.http_addr"):
            async with serving(tmp_path, up, "--http-addr", taken):
                pass


async def test_strangers_are_not_let_in_without_proof(tmp_path: Path) -> None:
    """S23: not loopback, no clients configured: refused, with what to do."""
    (tmp_path / "llm-pool.toml").write_text(CONFIG.format(url="http://127.0.0.1:9"), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "llm_pool", "serve", "--config", str(tmp_path / "llm-pool.toml")),
        *("--http-addr", "0.0.0.0:0"),
        stderr=asyncio.subprocess.PIPE,
    )

    said = (await process.communicate())[1].decode()

    assert process.returncode == 78
    assert "server.http_addr" in said
    assert "hint: " in said


def as_process_one() -> list[str]:
    """What starts a command as process 1 of a namespace of its own; nothing where that is not to be had."""
    words = ["unshare", "--pid", "--fork", "--kill-child"]
    with suppress(OSError):
        if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0:
            return words
    return []


@pytest.mark.parametrize("after", [0.15, 0.3, 0.6, 1.0])
async def test_asked_to_stop_while_it_starts_it_stops(tmp_path: Path, after: float) -> None:
    """Before it listens, while it imports and as process 1 of a container, where nobody else would end it."""
    path = tmp_path / "llm-pool.toml"
    path.write_text(CONFIG.format(url="http://127.0.0.1:9"), encoding="utf-8")
    alone = as_process_one()
    process = await asyncio.create_subprocess_exec(
        *(*alone, sys.executable, "-m", "llm_pool", "serve", "--config", str(path)),
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "LLM_POOL_STATE": str(tmp_path / "state")},
    )
    try:
        await asyncio.sleep(after)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children") if alone else None
        daemon = process.pid if children is None else int(children.read_text().split()[0])
        os.kill(daemon, signal.SIGTERM)
        async with asyncio.timeout(5):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

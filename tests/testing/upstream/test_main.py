"""The upstream as a process: its address first, its help runnable, its end clean."""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from llm_pool.testing.processes import running_upstream, upstream_process
from llm_pool.testing.upstream.__main__ import EXAMPLES, parser

MODULE = [sys.executable, "-m", "llm_pool.testing.upstream"]


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_a_process_answers_as_told(ask: Any) -> None:
    """Models, modes and the machine come from the command line."""
    async with upstream_process(
        "--model", "phi3:mini,4.5,0.1", "--model", "gemma2:9b", "--mode", "gemma2:9b=busy", "--cold"
    ) as url:
        tags = await ask(url, "/api/tags")
        busy = await ask(url, "/api/generate", {"model": "gemma2:9b", "prompt": "x"})
        loaded = await ask(url, "/api/generate", {"model": "phi3:mini", "prompt": "x", "stream": False})

    assert next((m["name"], m["size"]) for m in tags.json["models"]) == ("phi3:mini", 4_500_000_000)
    assert busy.status == 503
    assert loaded.json["load_duration"] >= 0.1e9
    with pytest.raises(ConnectionRefusedError):
        await ask(url, "/api/tags")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(how: signal.Signals) -> None:
    """Exit code 0 and nothing on stderr."""
    with subprocess.Popen(MODULE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        process.send_signal(how)
        _, complaints = process.communicate(timeout=10)

    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    assert (process.returncode, complaints) == (0, "")


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["--mode", "eror"], "expected ok, error"),
        (["--ttft", "fast"], "expected one of"),
        (["--answers", "no/such"], "no/such"),
    ],
)
def test_a_mistake_is_one_sentence(args: list[str], reason: str) -> None:
    """Exit code 2, the culprit and what would be right; no traceback."""
    ended = subprocess.run([*MODULE, *args], capture_output=True, text=True, timeout=10, check=False)

    assert ended.returncode == 2
    assert reason in ended.stderr
    assert "Traceback" not in ended.stderr


def test_every_example_of_the_help_parses() -> None:
    """What the help shows can be typed."""
    commands = re.findall(r"python -m llm_pool\.testing\.upstream (.*?)\n(?! {8})", EXAMPLES, re.DOTALL)

    assert len(commands) == 5
    for command in commands:
        assert parser().parse_args(shlex.split(command.replace("\\\n", " "))).model


def test_a_test_without_a_loop_can_have_one_too() -> None:
    """A plain context manager."""
    with running_upstream("--flavor", "llama-server", "--model", "phi3-mini") as url:
        port = int(url.rpartition(":")[2])
        assert asyncio.run(_health(port)) == {"status": "ok"}


async def _health(port: int) -> Any:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")
    raw = await reader.read()
    writer.close()
    return msgspec.json.decode(raw.partition(b"\r\n\r\n")[2])


def test_one_that_does_not_start_says_so() -> None:
    """Instead of an empty address."""
    with pytest.raises(RuntimeError, match="did not start"), running_upstream("--mode", "eror"):
        pass

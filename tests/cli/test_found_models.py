"""With no configuration of one's own: the models of this machine, on servers' real default ports."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from llm_pool.testing.processes import running_upstream

Run = Callable[..., Any]


def _skip_if_taken(port: int) -> None:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        pytest.skip(f"port {port} is taken")


@pytest.fixture(scope="module")
def machine() -> Iterator[None]:
    """Ollama with two models, and a llama-server."""
    for port in (11434, 8080):
        _skip_if_taken(port)
    with ExitStack() as stack:
        models = ("--model", "qwen3:4b,2.5", "--model", "gemma3:4b,3.3")
        stack.enter_context(running_upstream("--port", "11434", *models))
        stack.enter_context(running_upstream("--port", "8080", "--flavor", "llama-server", "--model", "phi-4-mini"))
        yield


@pytest.mark.usefixtures("machine")
def test_a_question_is_answered_by_what_is_there_and_said_in_one_line(llm_pool: Run) -> None:
    for _ in range(2):  # the second finds what the first found
        done = llm_pool("infer", "Is 17 prime?")

        assert (done.returncode, done.stdout) == (0, "phi-4-mini heard: Is 17 prime?\n")
        assert len(done.stderr.splitlines()) == 1
        for word in ("phi-4-mini", "qwen3:4b", "gemma3:4b", "llm-pool config init"):
            assert word in done.stderr


@pytest.mark.usefixtures("machine")
def test_init_writes_what_counted(llm_pool: Run) -> None:
    before = json.loads(llm_pool("config", "show", "--json").stdout)
    assert llm_pool("config", "init").returncode == 0
    after = json.loads(llm_pool("config", "show", "--json").stdout)

    assert (before.pop("discovery")["enabled"], after.pop("discovery")["enabled"]) == (True, False)
    assert before == after
    assert "Found on this machine: qwen3:4b on Ollama, 2.5 GB." in Path("llm-pool.toml").read_text(encoding="utf-8")
    assert llm_pool("infer", "hi").stderr == ""


@pytest.mark.usefixtures("machine")
def test_other_commands_use_the_same(llm_pool: Run) -> None:
    health = json.loads(llm_pool("health", "--json").stdout)
    shown = llm_pool("config", "show", "--origin")
    path = llm_pool("config", "path")

    assert [one["name"] for one in health["providers"]][:3] == ["phi-4-mini", "qwen3:4b", "gemma3:4b"]
    assert "qwen3:4b" in llm_pool("models", "list").stdout
    assert "# found on this machine" in shown.stdout
    assert "found on this machine" in path.stderr


@pytest.mark.usefixtures("machine")
def test_a_file_that_is_named_or_ones_own_switches_finding_off(llm_pool: Run) -> None:
    own = '[[providers]]\nname = "gone"\ndriver = "ollama"\nbase_url = "http://127.0.0.1:11434"\nmodel = "gone"\n'
    named = Path("named.toml")
    named.write_text(f"[discovery]\nenabled = true\n{own}", encoding="utf-8")
    assert "found on this machine" not in llm_pool("infer", "hi", "--config", "named.toml").stderr
    assert "found on this machine" not in llm_pool("infer", "hi", LLM_POOL_CONFIG="named.toml").stderr

    Path("llm-pool.toml").write_text(own, encoding="utf-8")
    assert llm_pool("infer", "hi").returncode == 69

    named.replace("llm-pool.toml")
    assert "in the place of gone" in llm_pool("infer", "hi").stderr


@pytest.mark.usefixtures("machine")
def test_the_daemon_serves_what_was_found(terminal: Callable[..., Any]) -> None:
    daemon = terminal("serve", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0")
    daemon.wait_for("llm-pool config init")
    daemon.wait_for("try  curl")
    daemon.process.terminate()

    assert daemon.end() == 0
    assert "qwen3:4b (Ollama)" in " ".join(daemon.screen.split())


def test_ollama_host_is_heard(llm_pool: Run) -> None:
    with running_upstream("--model", "qwen3:4b") as url:
        done = llm_pool("infer", "hi", OLLAMA_HOST=url.removeprefix("http://"))

    assert "qwen3:4b (Ollama)" in done.stderr
    assert llm_pool("infer", "hi", OLLAMA_HOST="tcp://x").returncode == 78


@pytest.mark.usefixtures("machine")
def test_a_person_chooses_by_numbers(terminal: Callable[..., Any]) -> None:
    screen = terminal("config", "init", "--interactive")
    screen.wait_for("numbers, or Enter")
    screen.type("9\n")
    screen.wait_for("from 1 to 3")
    screen.type("2\n")

    assert screen.end() == 0
    text = Path("llm-pool.toml").read_text(encoding="utf-8")
    assert 'model = "gemma3:4b"' in text
    assert "qwen3:4b" not in text


@pytest.mark.usefixtures("machine")
def test_nobody_to_choose_is_told(llm_pool: Run) -> None:
    done = llm_pool("config", "init", "--interactive")

    assert (done.returncode, Path("llm-pool.toml").exists()) == (2, False)
    assert "nobody is here to choose" in done.stderr

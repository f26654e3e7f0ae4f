"""The examples run, each as a person would run it, against the scripted upstream."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llm_pool.testing.processes import running_upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIG = """
[tasks.ask]
deadline_ms = 20000
[server]
http_addr = "127.0.0.1:0"
grpc_addr = "127.0.0.1:0"
[[providers]]
name = "small"
driver = "ollama"
base_url = "{url}"
model = "phi3:mini"
[[providers]]
name = "large"
driver = "ollama"
base_url = "{url}"
model = "llama3.1:8b"
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """The address of an upstream with the examples' models."""
    with running_upstream("--model", "phi3:mini", "--model", "llama3.1:8b", "--ttft", "const:0.01") as url:
        yield url


@pytest.fixture
def env(upstream: str, tmp_path: Path) -> dict[str, str]:
    """A machine with a configuration, and ``llm-pool`` on its PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "llm-pool"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m llm_pool "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    config = tmp_path / "llm-pool.toml"
    config.write_text(CONFIG.replace("{url}", upstream), encoding="utf-8")
    return os.environ | {
        "PATH": f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LLM_POOL_CONFIG": str(config),
        "LLM_POOL_STATE": str(tmp_path / "state"),
    }


def run(words: list[str], env: dict[str, str]) -> str:
    """What *words* print; a failure shows what they said."""
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_library(env: dict[str, str]) -> None:
    out = run([sys.executable, str(EXAMPLES / "library.py")], env)

    assert "heard: Name a colour of the sky." in out


def test_models_in_code(env: dict[str, str], upstream: str) -> None:
    out = run([sys.executable, str(EXAMPLES / "models_in_code.py")], env | {"OLLAMA_HOST": upstream}).splitlines()

    assert [line.split(" heard: ")[1] for line in out] == ["Is 17 prime?", "Is 18 prime?", "Is 19 prime?"]


def test_the_pipeline(env: dict[str, str]) -> None:
    out = run(["bash", str(EXAMPLES / "pipeline.sh")], env).splitlines()

    assert len(out) == 2
    assert out[0].endswith("heard: What is 6 times 7?")


def test_the_daemon_and_the_openai_client(env: dict[str, str]) -> None:
    serve = [sys.executable, "-m", "llm_pool", "serve"]
    with subprocess.Popen(serve, env=env, stderr=subprocess.PIPE, text=True) as daemon:
        try:
            assert daemon.stderr is not None
            address = next(
                found[1] for line in daemon.stderr if (found := re.search(r"(http://127\.0\.0\.1:\d+)", line))
            )
            out = run([sys.executable, str(EXAMPLES / "openai_client.py")], env | {"OPENAI_BASE_URL": f"{address}/v1"})
        finally:
            daemon.terminate()

    assert "heard: What colour is the sky?" in out


def test_a_task_of_ones_own(env: dict[str, str], upstream: str, tmp_path: Path) -> None:
    folder = tmp_path / "own_task"
    shutil.copytree(EXAMPLES / "own_task", folder)
    config = at(folder / "llm-pool.toml", upstream)

    out = run(["llm-pool", "infer", "--config", str(config), "--task", "triage", "My parcel never came."], env)

    assert re.search(r'"team": ?"(payments|shipping|other)"', out)


def test_weights_and_strategies(env: dict[str, str], upstream: str, tmp_path: Path) -> None:
    config = tmp_path / "weights.toml"
    shutil.copy(EXAMPLES / "weights.toml", config)

    out = run(["llm-pool", "infer", "--config", str(at(config, upstream)), "--json", "Is 17 prime?"], env)

    assert '"strategy_used":"VOTING"' in out.replace(" ", "")


def at(config: Path, upstream: str) -> Path:
    """*config*, with *upstream* where it says Ollama's address."""
    text = config.read_text(encoding="utf-8")
    assert "http://127.0.0.1:11434" in text
    config.write_text(text.replace("http://127.0.0.1:11434", upstream), encoding="utf-8")
    return config

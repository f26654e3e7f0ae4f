"""What a command line may import before it works: start-up is a feature (measured by ``bench/startup.py``)."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "aiohttp",
    "fastapi",
    "grpc",
    "httpx",
    "httpx2",
    "jsonschema_rs",
    "opentelemetry",
    "prometheus_client",
    "pydantic",
    "rapidfuzz",
    "redis",
    "rich",
    "typer",
    "uvicorn",
    "xllamacpp",
}
"""What no command may import to find out what it was asked."""

ROOT_MODULES = {
    "llm_pool",
    "llm_pool.__main__",
    "llm_pool.cli",
    "llm_pool.cli.console",
    "llm_pool.cli.exit_codes",
    "llm_pool.cli.main",
    "llm_pool.cli.parsing",
    "llm_pool.cli.prompt_input",
    "llm_pool.core",
    "llm_pool.core.errors",
}
"""All of ours that ``llm-pool --help`` needs."""

INFER_MODULES = ROOT_MODULES | {
    "llm_pool.cli.shell_completion",
    "llm_pool.cli.infer",
    "llm_pool.cli.remote",
    "llm_pool.cli.options",
    "llm_pool.core.messages",
}
"""All of ours that ``llm-pool infer --help`` needs."""


def imported(*words: str) -> set[str]:
    """The modules that ``llm-pool WORDS`` had imported when it ended."""
    program = (
        f"import sys; sys.argv = ['llm-pool', *{words!r}]\n"
        "import os; os._exit = lambda code: (print(*sys.modules, sep='\\n', file=sys.stderr), sys.stderr.flush())\n"
        "from llm_pool.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    return set(done.stderr.split())


def heavy(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules} & HEAVY


def ours(modules: set[str]) -> set[str]:
    return {module for module in modules if module.startswith("llm_pool")}


def test_the_root_imports_next_to_nothing() -> None:
    found = imported("--help")
    assert ours(found) <= ROOT_MODULES
    assert heavy(found) | ({"asyncio", "msgspec"} & found) == set()


@pytest.mark.parametrize("command", ["infer", "bench", "models", "health", "config", "feedback", "completions"])
def test_no_command_imports_anything_heavy_to_be_understood(command: str) -> None:
    assert heavy(imported(command, "--help")) == set()


def test_infer_imports_no_engine_to_be_understood() -> None:
    found = imported("infer", "--help")
    assert ours(found) <= INFER_MODULES
    assert "asyncio" not in found


@pytest.mark.usefixtures("config")
def test_infer_imports_nothing_heavy_to_answer() -> None:
    """A plain question to an Ollama server, from beginning to end."""
    assert heavy(imported("infer", "hello", "--no-stdin")) == set()


@pytest.mark.usefixtures("config")
def test_completion_wakes_no_engine() -> None:
    """Names come from the configuration alone."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "llm_pool", "__complete", "infer", "--task", ""],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    found = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}

    assert "expand_queries" in done.stdout
    assert heavy(found) == set()
    assert {module for module in found if module.startswith(("llm_pool.providers", "llm_pool.engine"))} == set()

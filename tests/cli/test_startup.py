"""What a command line may import before it works: start-up is a feature (measured by ``bench/startup.py``)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from llm_pool.cli.commands import COMMANDS
from llm_pool.cli.completion import VARIABLE

HEAVY = {
    "aiohttp",
    "fastapi",
    "grpc",
    "httpx",
    "httpx2",
    "markdown_it",
    "matplotlib",
    "jsonschema_rs",
    "opentelemetry",
    "prometheus_client",
    "pydantic",
    "pygments",
    "rapidfuzz",
    "redis",
    "rich",
    "uvicorn",
    "watchfiles",
    "xllamacpp",
}
"""What no command may import to find out what it was asked."""

ROOT_MODULES = {
    "llm_pool",
    "llm_pool.__main__",
    "llm_pool.cli",
    "llm_pool.cli.command",
    "llm_pool.cli.commands",
    "llm_pool.cli.completion",
    "llm_pool.cli.console",
    "llm_pool.cli.exit_codes",
    "llm_pool.cli.main",
    "llm_pool.cli.prompt_input",
    "llm_pool.cli.values",
    "llm_pool.core",
    "llm_pool.core.errors",
}
"""All of ours that every command line needs."""

HELP_MODULES = {"llm_pool.cli.drawing", "llm_pool.cli.help_page"}
"""What draws a page of help."""

INFER_MODULES = {"llm_pool.cli.infer", "llm_pool.cli.options"}
"""All of ours that ``llm-pool infer`` needs to be understood."""


def imported(*words: str) -> set[str]:
    """The modules that ``llm-pool WORDS`` had imported when it ended."""
    program = (
        f"import sys; sys.argv = ['llm-pool', *{words!r}]\n"
        "import atexit, os; os._exit = lambda code: None\n"
        "atexit.register(lambda: print(*sys.modules, sep='\\n', file=sys.stderr))\n"
        "from llm_pool.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    return set(done.stderr.split())


def heavy(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules} & HEAVY


def ours(modules: set[str]) -> set[str]:
    return {module for module in modules if module.startswith("llm_pool")}


def test_the_version_needs_no_reading_of_words() -> None:
    found = imported("--version")
    assert ours(found) == {"llm_pool", "llm_pool.__main__"}
    assert {"typer", "click", "rich"} & found == set()


def test_the_root_imports_next_to_nothing_and_rich_to_draw() -> None:
    found = imported("--help")
    assert ours(found) == ROOT_MODULES | HELP_MODULES
    assert heavy(found) | ({"asyncio", "msgspec"} & found) == {"rich"}


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "help"])
def test_no_command_imports_anything_heavy_to_be_understood(command: str) -> None:
    """And none the module of another."""
    found = imported(command, "--help")
    assert heavy(found) == {"rich"}
    assert {f"llm_pool.cli.{name}" for name in COMMANDS} & found == {f"llm_pool.cli.{command}"}


def test_infer_imports_no_engine_to_be_understood() -> None:
    found = imported("infer", "--help")
    assert ours(found) == ROOT_MODULES | HELP_MODULES | INFER_MODULES
    assert {"asyncio", "msgspec"} & found == set()


@pytest.mark.usefixtures("config")
def test_infer_imports_nothing_heavy_to_answer() -> None:
    """A plain question to an Ollama server, from beginning to end: nothing is drawn."""
    assert heavy(imported("infer", "hello", "--no-stdin")) == set()


@pytest.mark.usefixtures("config")
def test_completion_wakes_no_engine() -> None:
    """Names come from the configuration alone."""
    env = os.environ | {VARIABLE: "complete_bash", "COMP_WORDS": "llm-pool\ninfer\n--task\n", "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "llm_pool"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env=env,
    )
    found = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}

    assert "expand_queries" in done.stdout
    assert heavy(found) == set()
    assert {module for module in found if module.startswith(("llm_pool.providers", "llm_pool.engine"))} == set()

"""A daemon imports before it listens what requests import in passing."""

from __future__ import annotations

import ast
import subprocess
import sys
from itertools import chain
from pathlib import Path

import llm_pool

ROOMS = ("agreement", "cache", "ensemble", "engine", "providers", "qos", "reading", "tasks", "trust", "telemetry")
ELSEWHERE = {
    "asyncio": "there already",
    "fcntl": "small, and in a thread",
    "importlib": "there already",
    "llm_pool.agreement": "there already",
    "llm_pool.cache.redis": "when the pool is built",
    "llm_pool.cache.redis_idempotency": "when the pool is built",
    "llm_pool.config": "there already",
    "llm_pool.discovery": "when the configuration is read",
    "llm_pool.discovery.servers": "when the configuration is read",
    "llm_pool.engine.shared_decisions": "when the pool is built",
    "llm_pool.engine.shared_trust": "when the pool is built",
    "llm_pool.providers.gguf": "by the command line",
    "llm_pool.providers.http": "when the pool is built",
    "llm_pool.providers.llamacpp": "when the pool is built",
    "llm_pool.providers.model_names": "when the pool is built",
    "llm_pool.providers.ollama": "when the pool is built",
    "llm_pool.providers.openai": "when the pool is built",
    "llm_pool.providers.openai_server": "when the pool is built",
    "llm_pool.providers.openai_store": "by the command line",
    "llm_pool.providers.transport": "when the pool is built",
    "llm_pool.qos.redis": "when the pool is built",
    "llm_pool.qos.shared_slots": "when the pool is built",
    "math_verify": "in a process of its own",
    "opentelemetry": "when the daemon is built",
    "pathlib": "there already",
    "platformdirs": "when the pool is built",
    "prometheus_client": "when the daemon is built",
    "random": "there already",
    "redis": "when the pool is built",
    "resource": "in a process of its own",
    "tempfile": "in a thread",
    "watchfiles": "in a thread",
    "xllamacpp": "in a process of its own",
}
"""What is imported in functions and not ahead, and when."""


def imported_in_functions() -> set[str]:
    """Modules that functions of the rooms on a request's way import."""
    here = Path(llm_pool.__file__).parent
    trees = [ast.parse(file.read_text(encoding="utf-8")) for room in ROOMS for file in (here / room).rglob("*.py")]
    functions = [
        node for tree in trees for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    names = set[str]()
    for node in chain.from_iterable(map(ast.walk, functions)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def test_each_import_in_a_function_is_done_ahead_or_at_its_own_time() -> None:
    script = "import sys; from llm_pool.server.preloading import preload; preload(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()

    left = imported_in_functions() - set(loaded) - set(ELSEWHERE)

    assert {name for name in left if name.partition(".")[0] not in ELSEWHERE} == set()

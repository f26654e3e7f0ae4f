"""The public names: few, sorted, typed, and cheap until they are used."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import llm_pool

PACKAGE = Path(llm_pool.__file__).parent
HEAVY = ["asyncio", "msgspec", "pydantic", "grpc", "httpx2", "fastapi", "xllamacpp", "prometheus_client", "rapidfuzz"]


def loaded_by(statement: str) -> set[str]:
    """The modules that are there after *statement*, in a new interpreter."""
    script = f"{statement}\nimport sys\nprint(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


def test_the_names_are_those_of_the_list() -> None:
    """Each is there, at home where the type checker looks, and in ``dir``."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    checked = {
        alias.name: node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    }

    assert llm_pool.__all__ == sorted(llm_pool.__all__)
    assert {name: f"llm_pool.{home}" for name, home in llm_pool._HOMES.items()}.items() <= checked.items()
    assert set(llm_pool.__all__) == set(llm_pool._HOMES)
    assert all(getattr(llm_pool, name) is not None for name in llm_pool.__all__)
    assert set(llm_pool.__all__) <= set(dir(llm_pool))
    with pytest.raises(AttributeError, match="open_app"):
        _ = llm_pool.open_app


def test_the_package_costs_nothing_before_it_is_used() -> None:
    """Only what ``typing`` brings along."""
    assert not loaded_by("import llm_pool").intersection(HEAVY)
    assert not any(name.startswith("llm_pool.") for name in loaded_by("import llm_pool"))


def test_the_pool_brings_only_what_it_needs() -> None:
    """No server, no client's transport, no engine."""
    heavy = set(HEAVY) - {"asyncio", "msgspec"}

    assert not loaded_by("from llm_pool import Pool, AsyncPool, Answer, Ollama, LlmPoolError").intersection(heavy)


def test_it_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_the_example_at_its_top_runs(config: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """As anybody would try it first."""
    assert llm_pool.__doc__ is not None
    example = re.search(r"::\n\n((?:    .*\n|\n)+)", llm_pool.__doc__)
    assert example is not None
    monkeypatch.setenv("LLM_POOL_CONFIG", str(config))

    exec(re.sub("^    ", "", example[1], flags=re.MULTILINE), {})

    assert re.search(r"heard: Is 17 prime\? \S+ \d\.\d+", capsys.readouterr().out)

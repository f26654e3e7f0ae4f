"""docs/library.md is true: its Python runs, its options and errors are the library's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import llm_pool
from llm_pool.facade.questions import Options

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_examples_run(
    config: Path,
    upstream: str,
    daemon: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One after the other, as in a notebook; the README's too."""
    monkeypatch.setenv("LLM_POOL_CONFIG", str(config))
    monkeypatch.setenv("OLLAMA_HOST", upstream)
    scope: dict[str, Any] = {"URL": daemon["http"]}

    pages = (PAGE + README).replace("http://127.0.0.1:7071", daemon["http"])
    for example in re.findall(r"```python\n(.*?)```", pages, re.DOTALL):
        exec(compile(example, "docs/library.md", "exec", dont_inherit=True), scope)

    out = capsys.readouterr().out
    assert "heard: Is 17 prime? Answer yes or no." in out
    assert "heard: What is my name?" in out
    assert "City(name=" in out
    assert "{'count': 1}" in out
    assert "['phi3:mini', 'llama3.1:8b']" in out
    assert "strategy did you mean VOTING?" in out


def test_every_option_is_named() -> None:
    section = PAGE.partition("## Options")[2].partition("##")[0]

    assert {name for name in Options.__optional_keys__ if f"`{name}`" not in section} == set()


def test_every_error_is_named() -> None:
    errors = {
        name
        for name in llm_pool.__all__
        if isinstance(kind := getattr(llm_pool, name), type) and issubclass(kind, Exception)
    }

    assert {name for name in errors - {"LlmPoolError", "ProviderError"} if f"`{name}`" not in PAGE} == set()

"""docs/backends.md is true: its files load, its keys exist, and the words it quotes are ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llm_pool.config import parse
from llm_pool.config.keys import tables

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/backends.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
OURS = (
    "is not pulled",
    "not loaded yet",
    "makes embeddings: it does not answer questions",
    "its last load failed",
    "unreadable answer",
    "it answers with",
    "an answer compressed with",
    "nobody listens at",
    "its answer broke off",
    "the stream ended before it was done",
    "cut at max_tokens",
    "it redirects to",
    "no TLS with",
    "the prompt was cut",
    "only providers of last resort can answer",
)


@pytest.mark.parametrize("block", BLOCKS)
def test_its_files_load(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU_KEY", "k")

    assert parse(block, Path("llm-pool.toml")).active_providers


def test_there_are_some() -> None:
    assert len(BLOCKS) == 2


@pytest.mark.parametrize("words", OURS)
def test_the_words_it_quotes_are_said(words: str) -> None:
    """A symptom is looked up by what stands on the screen."""
    assert words in PAGE
    said = (path.read_text(encoding="utf-8") for path in (ROOT / "llm_pool").rglob("*.py"))
    assert any(words in text for text in said)


@pytest.mark.parametrize("name", ["think", "context", "headers", "extra_body", "ca_file", "client_cert", "client_key"])
def test_the_keys_it_names_exist(name: str) -> None:
    assert f"{name}" in PAGE
    assert any(key.name == name for table in tables() if table.path == "providers[]" for key in table.keys)

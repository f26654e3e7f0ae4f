"""Configuration files for tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llm_pool.config import parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_pool.config import Config

PROVIDER = """\
[[providers]]
name = "one"
driver = "ollama"
base_url = "http://127.0.0.1:11434"
model = "m"
"""


@pytest.fixture
def read() -> Callable[..., Config]:
    """Read a text that goes after one provider's five lines; keywords are the environment."""

    def read(text: str = "", **env: str) -> Config:
        return parse(PROVIDER + text, Path("folder/llm-pool.toml"), env)

    return read

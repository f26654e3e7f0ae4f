"""The page says what is so."""

from __future__ import annotations

import re
from pathlib import Path

from llm_pool.config import parse
from llm_pool.security.hmac import SIGNED_HEADERS, VERSION
from llm_pool.security.tenants import requires_authentication

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
PROVIDER = '\n[[providers]]\nname = "p"\ndriver = "ollama"\nbase_url = "http://127.0.0.1:9"\nmodel = "m"\n'


def test_the_configurations_on_the_page_load() -> None:
    """Each by itself, and each asks clients who they are."""
    for text in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL):
        assert requires_authentication(parse(text + PROVIDER, Path("llm-pool.toml")))


def test_the_python_on_the_page_runs() -> None:
    """And gives the headers that the page names."""
    found: dict[str, dict[str, str]] = {}
    exec(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0], found)  # that is the test

    assert {"x-api-key", "x-timestamp", "x-nonce", "x-signature"} < found["headers"].keys()


def test_the_canonical_string_is_told_line_by_line() -> None:
    """Version first, the covered headers in their order, the body last."""
    lines = re.findall(r"```\n(LPOOL.*?)```", PAGE, re.DOTALL)[0].strip().splitlines()

    assert lines[0] == VERSION.decode()
    assert [re.split(r"[>;]", line[1:])[0].lower().encode() for line in lines[5:12]] == list(SIGNED_HEADERS)
    assert lines[12].startswith("<SHA-256 of the body")

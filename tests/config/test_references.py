"""References in the file: whole or refused, linear, and secret wherever they stand."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.config import parse
from llm_pool.config.references import resolve
from llm_pool.config.show import as_json, as_toml
from llm_pool.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

PROVIDER = """
[[providers]]
name = "p"
driver = "http"
base_url = "http://127.0.0.1:1"
model = "m"
"""


def refused(text: str, path: Path, **env: str) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        parse(PROVIDER + text, path, env)
    return raised.value


@pytest.mark.parametrize("value", ["${env:X", "${", "a ${file:b", "${env:A}${env:X"])
def test_an_unclosed_reference_is_a_mistake(value: str, tmp_path: Path) -> None:
    """Its text never becomes the key."""
    error = refused(f'api_key = "{value}"', tmp_path / "c.toml", A="a")

    assert "no closing brace" in error.got
    assert error.key == "providers[0].api_key"


@given(st.text(alphabet="${}:envfilAB c", max_size=60))
def test_text_without_references_stays_as_it_is(text: str) -> None:
    """And one with references is replaced or told of, never half."""
    from pathlib import Path

    found = resolve({"k": text}, Path("/nowhere"), {"A": "1"})

    if "${" not in text:
        assert found.raw == {"k": text}
        assert not found.problems
    elif "${" in found.raw["k"]:
        assert found.problems


def test_reading_is_linear(tmp_path: Path) -> None:
    """Twice as much text takes about twice as long, not eight times."""

    def took(size: int) -> float:
        began = time.process_time()
        resolve({"k": "${" * size}, tmp_path, {})
        resolve({"k": "${env:A}" * size}, tmp_path, {"A": "x"})
        return time.process_time() - began

    small = min(took(40_000) for _ in range(3))
    assert min(took(80_000) for _ in range(3)) < 4 * small + 0.01


def test_what_comes_from_outside_is_secret_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "path").write_text("/chat?key=CANARY", encoding="utf-8")
    text = (
        PROVIDER
        + """
[providers.request]
path = "${file:path}"
body = { model = "m", inner = [{ key = "${env:KEY}" }] }
"""
    )
    config = parse(text, tmp_path / "c.toml", {"KEY": "CANARY"})

    assert config.providers[0].request is not None
    assert config.providers[0].request.path == "/chat?key=CANARY"
    assert "CANARY" not in as_toml(config)
    assert "CANARY" not in str(as_json(config))
    assert "CANARY" not in str(as_json(config, lambda _path: "here"))


def test_a_key_in_the_query_of_a_path_is_not_shown(tmp_path: Path) -> None:
    config = parse(PROVIDER + '[providers.request]\npath = "/chat?key=CANARY"\n', tmp_path / "c.toml")

    assert "CANARY" not in as_toml(config)
    assert "/chat?***" in as_toml(config)


def test_a_wrong_value_from_outside_is_not_printed(tmp_path: Path) -> None:
    error = refused('[qos]\nqueue_limit = "${env:KEY}"', tmp_path / "c.toml", KEY="CANARY")

    assert "CANARY" not in str(error)
    assert "${env:KEY}" in error.got


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000,
        "a = " + "{b = " * 3000,
        "a" + ".a" * 5000 + " = 1",
        "[qos]\nqueue_limit = " + "9" * 5000,
        '[security]\nredis_url = "${file:a\\u0000b}"',
        '[security]\nredis_url = "${file:' + "a" * 5000 + '}"',
    ],
    ids=["deep list", "deep tables", "deep key", "5000 digits", "NUL in a path", "long path"],
)
def test_nothing_in_a_file_is_more_than_a_mistake(text: str, tmp_path: Path) -> None:
    """A ConfigError, so that the watcher of a running daemon tells of it and lives."""
    refused(text, tmp_path / "c.toml")

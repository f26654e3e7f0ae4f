"""Credentials come from the environment or a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_pool.client.credentials import HmacKey, Tls, Token, load_credentials
from llm_pool.core.errors import ConfigError


def test_without_a_word_there_are_none() -> None:
    """A daemon on this machine asks for none."""
    assert load_credentials({}) == (None, Tls())


def test_a_key_and_its_secret_sign() -> None:
    """Both are needed."""
    assert load_credentials({"LLM_POOL_API_KEY": "k", "LLM_POOL_API_SECRET": "s"})[0] == HmacKey("k", "s")
    with pytest.raises(ConfigError, match="LLM_POOL_API_SECRET"):
        load_credentials({"LLM_POOL_API_KEY": "k"})


def test_a_token_is_sent_as_it_is() -> None:
    """A bearer key or a JWT."""
    credentials, _ = load_credentials({"LLM_POOL_TOKEN": "t"})

    assert credentials == Token("t")


def test_a_file_says_the_same_and_variables_count_before_it(tmp_path: Path) -> None:
    """So that one of them can be tried out."""
    file = tmp_path / "client.toml"
    file.write_text('key = "k"\nsecret = "s"\naudience = "prod"\nca = "/ca.pem"\n')

    credentials, tls = load_credentials({"LLM_POOL_CREDENTIALS": str(file), "LLM_POOL_API_SECRET": "other"})

    assert credentials == HmacKey("k", "other", "prod")
    assert tls == Tls(ca=Path("/ca.pem"))


@pytest.mark.parametrize("text", ["key = ", 'keey = "k"', "key = 1"])
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    """It names the file."""
    file = tmp_path / "client.toml"
    file.write_text(text)

    with pytest.raises(ConfigError, match=r"client\.toml"):
        load_credentials({"LLM_POOL_CREDENTIALS": str(file)})


def test_secrets_are_not_shown() -> None:
    """Not in a traceback, not in a log."""
    assert "s3cret" not in repr([HmacKey("k", "s3cret"), Token("s3cret")])

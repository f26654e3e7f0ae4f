"""Providers in code say what their sections would."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool import LlamaCpp, Ollama, OpenAI
from llm_pool.config import Driver
from llm_pool.facade.providers import tables
from llm_pool.facade.settings import config_of


def test_each_is_a_section() -> None:
    """Seconds become milliseconds, and a key is a secret."""
    config = config_of(
        [
            Ollama("qwen3:4b", keep_alive="30m", weight=0.5, tasks=["ask"]),
            OpenAI("org/Qwen2.5-7B", base_url="http://127.0.0.1:8000", api_key="sk-1", timeout=2.5),
            LlamaCpp(Path("/models/tiny-q4.gguf"), threads=2, last_resort=True),
        ],
        {},
    )

    ollama, openai, llamacpp = config.providers
    assert (ollama.name, ollama.driver, ollama.keep_alive, ollama.weight) == ("qwen3:4b", Driver.OLLAMA, "30m", 0.5)
    assert ollama.base_url == "http://127.0.0.1:11434"
    assert (openai.name, openai.timeout) == ("Qwen2.5-7B", 2.5)
    assert "sk-1" not in repr(config)
    assert (llamacpp.name, llamacpp.model, llamacpp.threads) == ("tiny-q4", "/models/tiny-q4.gguf", 2)
    assert config.deadline_for("ask") == 60.0


def test_names_that_are_the_same_are_numbered() -> None:
    """A name that was given stays."""
    same = [Ollama("a"), Ollama("a"), Ollama("x", name="a-2"), Ollama("a")]

    assert [table["name"] for table in tables(same)] == ["a", "a-3", "a-2", "a-4"]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=90))
def test_every_model_gets_a_name(model: str) -> None:
    """One that a configuration takes."""
    assert config_of([Ollama(model)], {}).providers[0].model == model


def test_it_shows_itself_without_its_key() -> None:
    assert repr(OpenAI("qwen", base_url="http://127.0.0.1:8000", api_key="sk-1")) == "<OpenAI qwen>"


def test_an_option_that_a_driver_does_not_read_is_refused() -> None:
    from llm_pool import ConfigError

    with pytest.raises(ConfigError, match=r"providers\[0\].think"):
        config_of([LlamaCpp("tiny.gguf", think=True)], {})

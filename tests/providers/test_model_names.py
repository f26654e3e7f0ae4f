"""Model names as Ollama compares them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.providers.model_names import full_name, is_cloud_name


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("llama3.1", "llama3.1:latest"),
        ("llama3.1:8b", "llama3.1:8b"),
        ("Phi3:Mini", "phi3:mini"),
        ("library/phi3", "phi3:latest"),
        ("registry.ollama.ai/library/phi3:latest", "phi3:latest"),
        ("https://registry.ollama.ai/library/phi3", "phi3:latest"),
        ("registry.ollama.ai/me/phi3", "me/phi3:latest"),
        ("me/phi3", "me/phi3:latest"),
        ("hf.co/bartowski/Llama-3.2-3B-GGUF:Q4_K_M", "hf.co/bartowski/llama-3.2-3b-gguf:q4_k_m"),
        ("localhost:5000/me/llama3.1", "localhost:5000/me/llama3.1:latest"),
        (" phi3 ", "phi3:latest"),
        ("phi3:", "phi3:latest"),
    ],
)
def test_all_names_of_a_model_are_one(model: str, name: str) -> None:
    assert full_name(model) == name


@given(st.from_regex(r"([a-z]{1,5}/){0,2}[A-Za-z0-9.]{1,8}(:[A-Za-z0-9_]{1,6})?", fullmatch=True))
def test_a_full_name_is_its_own(model: str) -> None:
    assert full_name(full_name(model)) == full_name(model) == full_name(model.upper())


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-oss:120b-cloud", True),
        ("qwen3-coder:cloud", True),
        ("gpt-oss:20b:cloud", True),
        ("GPT-OSS:120B-Cloud", True),
        ("cloud", False),
        ("me/cloud:7b", False),
        ("nextcloud:latest", False),
    ],
)
def test_models_that_run_elsewhere(model: str, *, expected: bool) -> None:
    assert is_cloud_name(model) is expected

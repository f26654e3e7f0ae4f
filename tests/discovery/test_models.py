"""What the names and words of models tell."""

from __future__ import annotations

import pytest

from llm_pool.config import Driver
from llm_pool.core.messages import ModelFacts
from llm_pool.discovery.models import FoundModel, may_chat


def found(name: str, size: int | None = None) -> FoundModel:
    return FoundModel(name=name, server="x", driver=Driver.OLLAMA, url="http://127.0.0.1:1", size=size)


@pytest.mark.parametrize(
    ("name", "billions"),
    [("qwen2.5-7b-instruct", 7), ("mixtral:8x7b", 56), ("gemma3:0.6b", 0.6), ("Qwen/Qwen3-30B-A3B", 30), ("phi", None)],
)
def test_a_size_that_is_not_told_is_read_from_the_name(name: str, billions: float | None) -> None:
    assert found(name).bytes == (None if billions is None else pytest.approx(billions * 0.6e9))


def test_a_size_that_is_told_counts() -> None:
    assert found("qwen3:4b", 5).bytes == 5


@pytest.mark.parametrize(
    ("name", "lineage"),
    [("hf.co/bartowski/Llama-3.2-3B-GGUF:Q4", "llama"), ("qwen3:4b", "qwen"), ("Qwen/Qwen2.5-7B", "qwen")],
)
def test_the_lineage_is_in_the_name(name: str, lineage: str) -> None:
    assert found(name).lineage == lineage


@pytest.mark.parametrize(
    "name",
    [
        "nomic-embed-text:latest",
        "text-embedding-nomic-embed-text-v1.5",
        "bge-m3",
        "BAAI/bge-reranker-v2-m3",
        "intfloat/e5-large",
        "all-minilm:33m",
        "whisper-large-v3",
        "emb-bge",
        "cross-encoder/ms-marco",
        "rhasspy/piper",
        "silero-vad",
        "gpt-image-1",
        "llama-guard-3:8b",
        "koboldcpp/no-model",
    ],
)
def test_names_of_other_work_do_not_chat(name: str) -> None:
    assert not may_chat(ModelFacts(name=name))


@pytest.mark.parametrize(
    "name", ["qwen3:4b", "gemma3:4b", "phi3:mini", "gpt-oss:20b", "default", "deepseek-r1:8b", "piperita", "imagine-7b"]
)
def test_other_names_do(name: str) -> None:
    assert may_chat(ModelFacts(name=name))


def test_what_the_server_says_is_stronger_than_a_name() -> None:
    assert may_chat(ModelFacts(name="bge-chat", capabilities=frozenset({"completion"})))
    assert not may_chat(ModelFacts(name="qwen3:4b", capabilities=frozenset({"embedding"})))


def test_a_model_in_the_cloud_is_not_on_this_machine() -> None:
    assert not may_chat(ModelFacts(name="gpt-oss:120b-cloud", capabilities=frozenset({"completion"}), remote=True))

"""What servers say of their models, in their own words."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.core.messages import ModelFacts
from llm_pool.providers.capabilities import entries, from_ollama, from_openai, name_of, with_shown

JSON: Any = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "models", "id", "name", "meta", "status", "details", "size", "capabilities", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        ({"object": "list", "data": [{"id": "a"}, {"id": "b"}]}, ["a", "b"]),
        ({"models": [{"name": "a"}, {"model": "b"}]}, ["a", "b"]),
        ([{"id": "a"}], ["a"]),
        (["a", "b"], ["a", "b"]),
        ({"data": None}, []),
        ({"models": None}, []),
        ({"object": "list"}, []),
        ({}, []),
        (None, []),
        ({"data": [None, 7, {}, {"id": None}, {"id": "a"}]}, ["a"]),
    ],
)
def test_lists_of_every_shape(listed: Any, names: list[str]) -> None:
    assert [name_of(one) for one in entries(listed)] == names


@pytest.mark.parametrize("listed", [7, "x", {"error": "no"}, True])
def test_what_is_no_list(listed: Any) -> None:
    with pytest.raises(ValueError, match="no list of models"):
        entries(listed)


def test_llama_server_says_in_its_second_list_what_a_model_can_do() -> None:
    (entry,) = entries(
        {
            "models": [{"name": "phi", "capabilities": ["completion", "multimodal"]}],
            "data": [
                {"id": "phi", "owned_by": "llamacpp", "meta": {"n_ctx": 2048, "n_ctx_train": 4096, "size": 927744}}
            ],
        }
    )

    assert from_openai(entry) == ModelFacts(
        name="phi", context=2048, size=927744, capabilities=frozenset({"completion", "vision"})
    )


@pytest.mark.parametrize(
    ("entry", "facts"),
    [
        ({"id": "m", "owned_by": "vllm", "max_model_len": 32768}, ModelFacts(name="m", context=32768)),
        ({"id": "m", "max_model_len": 4096.0}, ModelFacts(name="m", context=4096)),
        ({"id": "m", "max_model_len": None, "meta": None}, ModelFacts(name="m")),
        ({"id": "m", "status": {"value": "unloaded"}}, ModelFacts(name="m", loaded=False)),
        ({"id": "m", "status": {"value": "sleeping"}}, ModelFacts(name="m", loaded=True)),
        ({"id": "m", "status": {"value": "a new word"}}, ModelFacts(name="m")),
        (
            {
                "id": "m",
                "type": "vlm",
                "arch": "gemma3",
                "state": "not-loaded",
                "max_context_length": 131072,
                "capabilities": ["tool_use"],
            },
            ModelFacts(
                name="m",
                context=131072,
                family="gemma3",
                loaded=False,
                capabilities=frozenset({"completion", "vision", "tools"}),
            ),
        ),
        (
            {"id": "e", "type": "embeddings", "state": "loaded", "loaded_context_length": 512},
            ModelFacts(name="e", context=512, loaded=True, capabilities=frozenset({"embedding"})),
        ),
        (
            {"id": "d", "architecture": {"output_modalities": ["decisions"]}},
            ModelFacts(name="d", capabilities=frozenset({"decisions"})),
        ),
    ],
)
def test_entries_of_openai_shaped_servers(entry: dict[str, Any], facts: ModelFacts) -> None:
    assert from_openai(entry) == facts


def test_what_ollama_lists_shows_and_runs() -> None:
    listed = from_ollama({"name": "qwen3:4b", "size": 2_600_000_000, "details": {"family": "qwen3"}})
    shown = with_shown(
        listed, {"capabilities": ["completion", "thinking"], "model_info": {"qwen3.context_length": 40960}}
    )

    assert listed == ModelFacts(name="qwen3:4b", size=2_600_000_000, family="qwen3")
    assert shown == msgspec.structs.replace(listed, context=40960, capabilities=frozenset({"completion", "thinking"}))
    assert shown.can_chat


def test_what_is_loaded_is_known_better_than_what_could_be() -> None:
    running = from_ollama({"name": "qwen3:4b", "context_length": 4096})

    assert with_shown(running, {"model_info": {"qwen3.context_length": 40960}}).context == 4096


@pytest.mark.parametrize(
    ("entry", "remote"),
    [
        ({"name": "gpt-oss:120b-cloud"}, True),
        ({"name": "mine", "remote_host": "https://ollama.com", "remote_model": "x"}, True),
        ({"name": "gpt-oss:20b"}, False),
    ],
)
def test_models_that_run_elsewhere(entry: dict[str, Any], *, remote: bool) -> None:
    assert from_ollama(entry).remote is remote


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [(None, True), (frozenset({"completion"}), True), (frozenset({"embedding"}), False), (frozenset(), False)],
)
def test_what_can_chat(capabilities: frozenset[str] | None, *, expected: bool) -> None:
    assert ModelFacts(name="m", capabilities=capabilities).can_chat is expected


@given(JSON)
def test_nothing_a_server_says_breaks_the_reader(said: Any) -> None:
    try:
        found = entries(said)
    except ValueError:
        found = []
    for entry in found:
        assert from_openai(entry).name == from_ollama(entry).name == name_of(entry)
        with_shown(from_ollama(entry), said)

"""One record, read for what it says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.core.messages import TokenLogprob, Usage
from llm_pool.providers.chunks import Chunk, error_status, ollama_chunk, openai_chunk

SCRAPS = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def _choice(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, **fields}]}


@pytest.mark.parametrize(
    ("value", "chunk"),
    [
        (_choice(delta={"content": "a"}, finish_reason=None), Chunk(text="a")),
        (_choice(delta={"role": "assistant", "content": None, "tool_calls": None}), Chunk()),
        (_choice(delta={"content": None, "reasoning_content": "hm"}), Chunk(reasoning="hm")),
        (_choice(delta={"reasoning": "hm"}), Chunk(reasoning="hm")),
        (_choice(delta={"reasoning": "hm", "reasoning_content": "hm"}), Chunk(reasoning="hm")),
        (_choice(delta={}, finish_reason="stop"), Chunk(finish="stop")),
        (_choice(delta={}, finish_reason=None, finishReason="stop"), Chunk(finish="stop")),
        (_choice(delta={"content": "a"}, index="0"), Chunk(text="a")),
        (_choice(text="a", finish_reason=None), Chunk(text="a")),
        (_choice(message={"content": "a"}, finish_reason=None), Chunk(text="a", done=True)),
        (
            {"choices": [{"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": "a"}}]},
            Chunk(text="a"),
        ),
        ({"choices": None, "usage": {"prompt_tokens": 5.0, "completion_tokens": None}}, Chunk(usage=Usage(5, None))),
        ({"choices": [], "error": None}, Chunk()),
        (None, Chunk()),
        ([], Chunk()),
    ],
)
def test_openais_words(value: Any, chunk: Chunk) -> None:
    assert openai_chunk(value) == chunk


@pytest.mark.parametrize(
    ("value", "chunk"),
    [
        ({"message": {"content": "a"}, "done": False}, Chunk(text="a")),
        ({"message": {"content": "", "thinking": "hm"}, "done": False}, Chunk(reasoning="hm")),
        ({"response": "a", "thinking": "hm", "done": False}, Chunk(text="a", reasoning="hm")),
        (
            {"done": True, "done_reason": "length", "eval_count": 3.0, "load_duration": 5e8},
            Chunk(finish="length", done=True, usage=Usage(None, 3), loading=0.5),
        ),
        ({"done": True}, Chunk(done=True)),
        (None, Chunk()),
    ],
)
def test_ollamas_words(value: Any, chunk: Chunk) -> None:
    assert ollama_chunk(value) == chunk


@pytest.mark.parametrize("read", [openai_chunk, ollama_chunk])
@pytest.mark.parametrize(
    "error",
    [
        {"error": "out of memory"},
        {"error": {"message": "out of memory", "code": 500}},
        {"object": "error", "message": "out of memory"},
        {"type": "error", "message": "out of memory"},
        {"status": "error", "message": "out of memory"},
        {"detail": "out of memory"},
        {"errors": ["out of memory"]},
        {"message": "out of memory", "code": 507},
        {"text": "**NETWORK ERROR** (out of memory)", "error_code": 50002},
    ],
)
def test_an_error_in_any_shape_is_one(read: Any, error: Any) -> None:
    assert read(error).error == error


def test_an_error_beside_a_choice_is_one() -> None:
    """A router that lost its provider in the middle of a stream."""
    error = {"code": 502, "message": "provider gone"}

    assert openai_chunk(_choice(delta={"content": ""}, finish_reason="error", error=error)).error is not None


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"error": {"code": 429}}, 429),
        ({"error": "slow down", "code": "503"}, 503),
        ({"error": {"code": "context_length_exceeded", "status_code": 400}}, 400),
        ({"error": {"code": 1301}}, None),
        ({"error": {"code": True}}, None),
        ("words", None),
    ],
)
def test_an_error_may_name_its_status(error: Any, status: int | None) -> None:
    assert error_status(error) == status


def test_logprobs_that_are_no_numbers_are_left_out() -> None:
    weighed = {
        "token": "A",
        "logprob": -1,
        "top_logprobs": [{"token": "B", "logprob": None}, {"token": "C", "logprob": -2}],
    }
    value = _choice(delta={"content": "A"}, logprobs={"content": [weighed, {"token": 7, "logprob": -1}, None]})

    assert openai_chunk(value).logprobs == (TokenLogprob("A", -1, (("C", -2),)),)


@given(st.dictionaries(st.sampled_from(["choices", "usage", "message", "done", "error", "logprobs"]), SCRAPS))
def test_nothing_a_server_writes_breaks_the_reading(value: dict[str, Any]) -> None:
    assert isinstance(openai_chunk(value), Chunk)
    assert isinstance(ollama_chunk(value), Chunk)


@given(st.sampled_from(["role", "tool_calls", "refusal", "reasoning", "audio", "x"]), SCRAPS, SCRAPS)
def test_one_strange_field_takes_nothing_from_the_text(field: str, strange: Any, usage: Any) -> None:
    value = _choice(delta={"content": "hello", field: strange}, finish_reason=None) | {"usage": usage, "id": strange}

    assert openai_chunk(value).text == "hello"

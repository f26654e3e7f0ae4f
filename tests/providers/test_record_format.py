"""A plain record says what reading it by its fields says; whatever else is in it, it is read by its fields."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.core.messages import Usage
from llm_pool.providers.chunks import Chunk
from llm_pool.providers.json_values import parse
from llm_pool.providers.record_format import OLLAMA, OPENAI, RecordFormat

FIELDS = (
    *(
        "error",
        "errors",
        "detail",
        "message",
        "object",
        "type",
        "status",
        "usage",
        "index",
        "finish_reason",
        "logprobs",
    ),
    *("text", "role", "reasoning", "reasoning_content", "thinking", "tool_calls", "function_call", "response", "model"),
    *("done_reason", "load_duration", "prompt_eval_count", "eval_count", "content", "id", "created"),
)
COUNTS = {"prompt_tokens": 3, "completion_tokens": None, "total_tokens": 3}
VALUES = st.sampled_from(
    [None, "", "x", "error", 0, 7, -1, 2**63, True, False, 1.5, [], ["x"], {}, {"content": "y"}, COUNTS, "\ud83d"]
)
EXTRA = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=2)
TEXT = st.one_of(st.none(), st.text(max_size=5))


@st.composite
def openai_records(draw: st.DrawFn) -> Any:
    delta = {"content": draw(TEXT)} | draw(EXTRA)
    choice = {"index": 0, "delta": delta, "finish_reason": draw(st.sampled_from([None, "stop"]))} | draw(EXTRA)
    return {"object": "chat.completion.chunk", "choices": [choice] * draw(st.integers(0, 2))} | draw(EXTRA)


@st.composite
def ollama_records(draw: st.DrawFn) -> Any:
    return {"message": {"role": "assistant", "content": draw(TEXT)} | draw(EXTRA), "done": draw(st.booleans())} | draw(
        EXTRA
    )


def check(reading: RecordFormat, record: Any) -> None:
    data = json.dumps(record).encode()

    chunk = reading.plain(data)

    if chunk is not None:
        assert chunk == reading.chunk(parse(data))


@given(record=openai_records())
def test_openai_says_the_same_either_way(record: Any) -> None:
    """Or the plain way is not taken."""
    check(OPENAI, record)


@given(record=ollama_records())
def test_ollama_says_the_same_either_way(record: Any) -> None:
    """Likewise."""
    check(OLLAMA, record)


@pytest.mark.parametrize("content", ["blue", "", "grün 🦊"])
def test_most_records_are_plain(content: str) -> None:
    """Those of vLLM, llama-server and Ollama, with all they carry beside the text."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": content}, "logprobs": None, "finish_reason": None}
    chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    line = {"model": "m", "created_at": "2026", "message": {"role": "assistant", "content": content}, "done": False}

    assert OPENAI.plain(json.dumps(chunk).encode()) == Chunk(text=content)
    assert OLLAMA.plain(json.dumps(line).encode()) == Chunk(text=content)


def test_so_are_the_last_ones() -> None:
    """With a reason, and with the counts."""
    counts = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    last = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
    durations = {"total_duration": 5, "load_duration": 2_000_000_000, "prompt_eval_count": 3, "eval_count": 4}

    assert OPENAI.plain(json.dumps(end).encode()) == Chunk(finish="stop")
    assert OPENAI.plain(json.dumps(counts).encode()) == Chunk(usage=Usage(3, 4))
    assert OLLAMA.plain(json.dumps(last | durations).encode()) == Chunk(
        finish="stop", done=True, usage=Usage(3, 4), loading=2.0
    )


@pytest.mark.parametrize("data", [b"", b"[DONE]", b"{", b"[" * 5000, b"\xff", b'"x"'])
def test_what_is_no_record_is_not_plain(data: bytes) -> None:
    """And nothing is raised."""
    assert OPENAI.plain(data) is None
    assert OLLAMA.plain(data) is None

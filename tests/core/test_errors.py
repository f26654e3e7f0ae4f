"""What a client is told of its own request is short, however long what it sent is."""

from __future__ import annotations

import time

import pytest

from llm_pool.config.problem import nearest
from llm_pool.core.errors import MAX_SENTENCE, InvalidRequest, LlmPoolError, PermissionDenied, UnknownModel
from llm_pool.engine import parse_strategy, parse_think

LONG = "x" * 1_000_000


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("task", f"unknown task '{LONG}'"),
        InvalidRequest(LONG, "no such field"),
        UnknownModel(LONG),
        PermissionDenied(f"task {LONG} is not yours"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_sentence_is_bounded(error: LlmPoolError) -> None:
    assert len(str(error)) < 1.2 * MAX_SENTENCE
    assert "xxx … x" in str(error)


def test_a_short_one_stays_as_it_is() -> None:
    assert str(InvalidRequest("task", "unknown task 'x'")) == "task: unknown task 'x'"


def test_a_long_name_is_like_no_other() -> None:
    """Comparing it would take half a second of everybody's time."""
    began = time.process_time()

    assert nearest(LONG, ["fastest", "voting"]) == ""
    for parse in (parse_strategy, parse_think):
        with pytest.raises(InvalidRequest):
            parse(LONG)

    assert time.process_time() - began < 0.05

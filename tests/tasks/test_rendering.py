"""An input has no power over a chat template, however long it is, and nobody is held up meanwhile."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.tasks import rendering
from llm_pool.tasks.rendering import MAX_AT_ONCE, neutralized

MARKERS = [
    *("<|im_start|>", f"<|{'a' * 40}|>", "<s>", "</s>", "<<SYS>>", "</SYS>>", "<start_of_turn>", "<eos>"),
    *("[INST]", "[/TOOL_RESULTS]", "<\uff5cUser\uff5c>"),
]


@pytest.mark.parametrize("marker", MARKERS)
def test_a_marker_between_two_pieces_is_one(marker: str) -> None:
    """Wherever the end of a piece cuts it."""
    for before in range(len(marker) + 2):
        text = "a" * (MAX_AT_ONCE - before) + marker + "b"

        assert neutralized(text) == text.replace(marker, neutralized(marker))


@given(st.lists(st.sampled_from([*MARKERS, "<", "[", "|", "\x00", "a", "\n"]), max_size=30).map("".join))
def test_pieces_give_what_the_whole_gives(text: str) -> None:
    whole = neutralized(text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendering, "MAX_AT_ONCE", 7)
        assert neutralized(text) == whole


@pytest.mark.parametrize("unit", ["<[", "<", "<<", "</", "<|", "\x00", "<|im_start|>"])
def test_it_holds_nobody_up(unit: str) -> None:
    """A piece takes a few milliseconds, and a megabyte without an end of line as many as it has pieces."""

    def seconds(length: int) -> float:
        began = time.process_time()
        neutralized(unit * (length // len(unit)))
        return time.process_time() - began

    assert min(seconds(MAX_AT_ONCE) for _ in range(3)) < 0.02
    assert seconds(1 << 20) < 0.6

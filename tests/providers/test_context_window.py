"""How long a context a prompt needs, and how a cut prompt is noticed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.core.errors import Rejected
from llm_pool.core.messages import Prompt, Turn
from llm_pool.providers.context_window import (
    DEFAULT,
    LARGEST,
    ContextWindow,
    check_fits,
    complaint,
    estimated_tokens,
    fewest_tokens,
)

SHORT, LONG = Prompt("", "Is 17 prime?"), Prompt("Read.", "one word " * 3000)


def test_a_short_prompt_takes_what_the_server_gives() -> None:
    assert ContextWindow().size_for(SHORT, 256) is None


def test_a_long_prompt_asks_for_a_power_of_two_that_holds_it() -> None:
    assert ContextWindow().size_for(LONG, 256) == 16384


def test_what_was_asked_for_once_is_asked_for_again() -> None:
    """Every other length would load the model anew."""
    window = ContextWindow()
    window.size_for(LONG, 256)

    assert window.size_for(SHORT, 256) == 16384


def test_a_server_that_gives_enough_unasked_is_not_asked() -> None:
    window = ContextWindow()
    window.note_served(32768)

    assert window.size_for(LONG, 256) is None


def test_a_configured_length_is_the_length() -> None:
    assert ContextWindow(2048).size_for(LONG, 256) == 2048


def test_an_answer_of_no_stated_length_has_room() -> None:
    assert ContextWindow().size_for(Prompt("", "x" * 3 * 3500), None) == 8192


@given(st.lists(st.tuples(st.integers(0, 200_000), st.integers(1, 10_000)), max_size=5))
def test_lengths_never_shrink_and_hold_what_is_asked(questions: list[tuple[int, int]]) -> None:
    window, before = ContextWindow(), 0
    for size, answer in questions:
        prompt = Prompt("", "x" * size)
        asked = window.size_for(prompt, answer)

        assert (asked or DEFAULT) >= min(LARGEST, estimated_tokens(prompt) + answer)
        assert (asked or 0) >= before
        before = asked or 0


def test_half_a_character_has_a_length() -> None:
    assert estimated_tokens(Prompt("", "\ud800")) > 0


def test_every_part_of_a_prompt_counts() -> None:
    assert fewest_tokens(Prompt("a b", "c", (Turn("user", "d e f"),))) == 6


@pytest.mark.parametrize(("counted", "told"), [(2050, True), (3001, False), (9000, False), (None, False)])
def test_fewer_tokens_than_words_is_a_cut(counted: int | None, *, told: bool) -> None:
    prompt = Prompt("", "word " * 3000)

    assert ("the prompt was cut: 2050 tokens were read of 3000" in complaint(prompt, counted, 4096)) is told


def test_a_prompt_with_more_words_than_the_context_has_tokens_is_refused() -> None:
    with pytest.raises(Rejected, match="6001 tokens at least, its context 4096"):
        check_fits("phi", LONG, 4096)
    check_fits("phi", LONG, 8192)
    check_fits("phi", LONG, None)

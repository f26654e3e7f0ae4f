"""What a judge is shown of what does not fit into its context."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llm_pool.ensemble.excerpts import LEAST, fitted, room_for, shorten


def size(text: str) -> int:
    return len(text.encode())


def test_what_fits_is_shown_whole() -> None:
    """And nothing is said to be cut."""
    shown = fitted("q" * 5000, ["a" * 2000, "b"], 7001)

    assert (shown.question, shown.candidates, shown.cut) == ("q" * 5000, ("a" * 2000, "b"), "")


def test_candidates_are_cut_before_the_question_and_the_longest_first() -> None:
    """Head and tail stay, since an answer's point stands at its start or its end."""
    shown = fitted("q" * 3000, ["head" + "x" * 9000 + "tail", "short", "y" * 900], 5000)

    assert shown.question == "q" * 3000
    assert shown.candidates[0].startswith("head")
    assert shown.candidates[0].endswith("tail")
    assert shown.candidates[1:] == ("short", "y" * 900)
    assert shown.cut == "1 of 3 candidates to 1095 bytes"


def test_the_question_is_cut_last() -> None:
    """Where the candidates are at their least and it still does not fit."""
    shown = fitted("begin" + "q" * 9000 + "end", ["a" * 3000, "b" * 3000], 4000)

    assert [size(text) for text in shown.candidates] == [LEAST, LEAST]
    assert shown.question.startswith("begin")
    assert shown.question.endswith("end")
    assert "the question to 3200 of its 9008 bytes" in shown.cut


@given(st.text(max_size=900), st.lists(st.text(max_size=900), min_size=1, max_size=4), st.integers(0, 2000))
def test_what_is_shown_fits(question: str, candidates: list[str], room: int) -> None:
    """Whatever the lengths, letters of several bytes and no room at all included."""
    shown = fitted(question, candidates, room)

    assert size(shown.question) + sum(map(size, shown.candidates)) <= room
    assert len(shown.candidates) == len(candidates)
    assert bool(shown.cut) == ((shown.question, list(shown.candidates)) != (question, candidates))


@given(st.text(), st.integers(0, 100))
def test_a_shorter_text_keeps_its_limit(text: str, limit: int) -> None:
    """In bytes."""
    assert size(shorten(text, limit)) <= limit


def test_a_known_context_is_the_budget() -> None:
    """An unknown one counts as small; one too short for anything has no room."""
    assert room_for(8192, 128) > 2 * room_for(4096, 128) > 0
    assert room_for(None, 128) == room_for(4096, 128)
    assert room_for(64, 128) == 0

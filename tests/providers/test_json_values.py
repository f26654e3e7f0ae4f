"""JSON as servers write it: no value of one field takes anything from the others."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.providers.json_values import WholeCharacters, count_of, parse, reasoning_of, text_of, whole_characters

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (b'{"a": "x\xff."}', {"a": "x\ufffd."}),
        (b'{"a": "\\ud83d"}', {"a": "\ud83d"}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a": "one\ntwo"}', {"a": "one\ntwo"}),
        (b'{"a": -Infinity}', {"a": -math.inf}),
        (b"\xef\xbb\xbf[1]", [1]),
    ],
)
def test_what_is_almost_json_is_read(written: bytes, meant: Any) -> None:
    assert parse(written) == meant


@pytest.mark.parametrize("written", [b"", b"{", b"word", b'{"a": }', b"[" * 100_000, b'{"a":' * 100_000])
def test_what_is_no_json_is_refused(written: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the words are those of the decoder
        parse(written)


@given(ANY_JSON)
def test_json_is_read_as_it_is(value: Any) -> None:
    assert json.dumps(parse(json.dumps(value).encode())) == json.dumps(value)


@given(ANY_JSON)
def test_text_and_counts_are_found_or_not(value: Any) -> None:
    """Whatever a field holds."""
    assert isinstance(text_of(value), str)
    assert isinstance(reasoning_of(value), str)
    assert count_of(value) is None or count_of(value) >= 0


@pytest.mark.parametrize(
    ("value", "text", "reasoning"),
    [
        ("a", "a", ""),
        (None, "", ""),
        (7, "7", ""),
        (0.5, "0.5", ""),
        (True, "", ""),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab", ""),
        (["a", {"content": "b"}, None], "ab", ""),
        (
            [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "a"}],
            "a",
            "hm",
        ),
        ({"type": "text", "text": "a"}, "a", ""),
    ],
)
def test_a_list_of_parts_is_a_text(value: Any, text: str, reasoning: str) -> None:
    assert (text_of(value), reasoning_of(value)) == (text, reasoning)


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (5, 5),
        (5.0, 5),
        (5.7, 5),
        (-1, None),
        (True, None),
        ("5", None),
        (math.nan, None),
        (math.inf, None),
        (10**30, None),
    ],
)
def test_a_count_may_be_a_float(value: Any, count: int | None) -> None:
    assert count_of(value) == count


@given(st.text(st.characters(min_codepoint=0x10000)), st.lists(st.integers(0, 20)))
def test_characters_survive_being_torn_into_halves(text: str, cuts: list[int]) -> None:
    """A server that streams UTF-16 code units cuts a character between two events."""
    halves = text.encode("utf-16-le").decode("utf-16-le", "surrogatepass")
    units = [chr(int.from_bytes(text.encode("utf-16-le")[at : at + 2], "little")) for at in range(0, 4 * len(text), 2)]
    marks = sorted({0, len(units), *(cut for cut in cuts if cut < len(units))})
    whole = WholeCharacters()

    out = "".join(whole.feed("".join(units[begin:end])) for begin, end in pairwise(marks)) + whole.finish()

    assert out == text == halves


@given(st.text(st.characters(codec=None, categories=None)))
def test_whatever_comes_can_be_encoded_after(text: str) -> None:
    whole_characters(text).encode()


def test_half_a_character_at_the_end_is_marked() -> None:
    whole = WholeCharacters()

    assert whole.feed("a\ud83d") + whole.finish() == "a\ufffd"

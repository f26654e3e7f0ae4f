"""Halves of characters in JSON text become U+FFFD, and nothing else changes."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.wire.surrogates import MAX_REPLACED, with_whole_characters

PIECES = st.sampled_from(
    [r"\ud83d", r"\uD83D", r"\ude00", r"\uDE00", r"\\", r"\"", r"\n", "ud83d", "a", "é", r"\u00e9"]
)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (r'"cut \ud83d"', "cut �"),
        (r'"\ude00 first"', "� first"),
        (r'"\ud83d\ude00"', "😀"),
        (r'"\ud83d\ud83d\ude00\ude00"', "�😀�"),
        (r'"\\ud83d"', r"\ud83d"),
        (r'"\\\ud83d"', "\\�"),
        (r'"\ud83d\\ude00"', r"�\ude00"),
    ],
)
def test_halves_are_replaced_and_whole_characters_stay(text: str, read: str) -> None:
    assert json.loads(with_whole_characters(text.encode())) == read


@given(st.lists(PIECES, max_size=12).map("".join))
def test_the_text_is_what_a_lenient_reader_reads(inner: str) -> None:
    """Python's own parser keeps halves; replaced afterwards, they give the same text."""
    text = f'"{inner}"'

    said = json.loads(with_whole_characters(text.encode()))

    assert said == re.sub("[\ud800-\udfff]", "�", json.loads(text))


@pytest.mark.parametrize("unit", [rb"\ud83d", rb"\\", rb"\ud83d\ude00", rb"\ud83", b"a"])
def test_four_megabytes_take_milliseconds(unit: bytes) -> None:
    """Whatever they are made of; what is beyond a bound stays as it was, and is refused as no JSON."""
    for size in (100_000, 4 << 20):
        began = time.process_time()
        found = with_whole_characters(unit * (size // len(unit)))
        assert time.process_time() - began < 0.05
        assert found.count(rb"\ufffd") in {0, MAX_REPLACED}

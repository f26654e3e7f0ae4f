"""
Reading takes time linear in the length of the text, whatever the text.

Measured by doubling: the CPU time of twice the text over that of the text is near 2, and near 4 where it is quadratic.
"""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_pool.reading import MAX_AT_ONCE, Unreadable, read
from llm_pool.reading.reasoning import Splitter, split
from llm_pool.reading.repair import MAX_REPAIR

if TYPE_CHECKING:
    from collections.abc import Callable

VALUE = {
    "type": "object",
    "required": ["answer"],
    "properties": {"reasoning": {"type": "string"}, "answer": {"type": ["string", "number", "array", "object"]}},
}
OBJECT = {"type": "object", "required": ["a", "b"], "properties": {"a": {"enum": ["x", "y"]}, "b": {"type": "number"}}}
RANKING = {"type": "object", "required": ["ranking"], "properties": {"ranking": {"type": "array"}}}

BEGINNINGS = ["", '{"answer": ', '{"reasoning": "', '{"answer": [', "{answer: ", "<think>"]
UNITS = [
    *("True", "True, ", "{", "[", "{}", '{"a": ', '{"a', "{'a': '", "{a:{", '{"a": "b" c', "{a: b, c", '"a" ', "“a”"),
    *(
        "\n\n ,",
        '{"answer": "x\n"y',
        '"answer": ',
        '{"answer": 1, ',
        "/*",
        '{"a": /*',
        "// a\n",
        "```\n{",
        "`",
        "(",
        "\\",
    ),
    *("\\boxed{", "\\frac{1}", '\\"', '{\\"a\\": ', "1,234,", "a > b\n", "the answer is ", "answer: ", "<think>", "> "),
    *("</think>\n", '"</think>', "<|channel|>", "<|end|>", "_", "...", " ", '{"answer": [{"answer": "'),
]
MOST = 3.2
"""Ratio at a doubling; 2 is linear, and the rest is for a loaded machine."""


def everything(text: str) -> None:
    """Reads *text* in every way."""
    for schema, kind, field, ids in (
        (VALUE, "value", "answer", ()),
        (OBJECT, "object", "", ()),
        (RANKING, "ranking", "ranking", ("a", "b", "c", "d")),
        (None, "text", "", ()),
    ):
        for finish in ("stop", "length"):
            with suppress(Unreadable):
                read(text, schema=schema, kind=kind, field=field, ids=ids, finish=finish)  # type: ignore[arg-type]


def seconds(action: Callable[[], object]) -> float:
    """CPU time of *action*, the lesser of two."""

    def once() -> float:
        began = time.process_time()
        action()
        return time.process_time() - began

    return min(once() for _ in range(2))


def ratio(action: Callable[[int], object], length: int) -> float:
    """
    How much longer twice the work takes.

    What is over in 10 ms is lengthened first; what is still quick at eight times the length is linear enough.
    """
    for _ in range(3):
        if (single := seconds(partial(action, length))) > 0.01:
            return seconds(partial(action, 2 * length)) / single
        length *= 2
    return 0.0


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_twice_the_text_takes_twice_the_time(beginning: str) -> None:
    for unit in UNITS:

        def reading(length: int, unit: str = unit) -> None:
            everything(beginning + unit * (length // len(unit)))

        found = ratio(reading, MAX_REPAIR // 8)
        assert found < MOST, f"{beginning!r} and then {unit!r} over and over: {found:.1f} times the time"


@settings(max_examples=25, deadline=None)
@given(
    st.text("{}[]\"'\\,:/*\n abT1<>|`_“”.-", max_size=8),
    st.text("{}[]\"'\\,:/*\n abT1<>|`_“”.-", min_size=1, max_size=8),
)
def test_no_repetition_is_quadratic(beginning: str, unit: str) -> None:
    def reading(length: int) -> None:
        everything(beginning + unit * (length // len(unit)))

    assert ratio(reading, MAX_REPAIR // 8) < MOST


@pytest.mark.parametrize("unit", UNITS)
def test_what_is_read_at_once_holds_nobody_up(unit: str) -> None:
    """Each takes a few milliseconds on an idle machine; the event loop has longer texts read in a thread."""
    text = f'{{"answer": [{unit * MAX_AT_ONCE}'[:MAX_AT_ONCE]

    def reading() -> None:
        with pytest.raises(Unreadable):
            read(text, schema=VALUE, kind="value", field="answer")

    assert seconds(reading) < 0.03


@pytest.mark.parametrize(
    "unit", ["<think></think>", 'a "</think>" ', "<|start|>", "<|channel|>x<|message|>y<|end|>", "<", " "]
)
def test_reasoning_is_split_off_in_linear_time(unit: str) -> None:
    def whole(length: int) -> None:
        split(unit * (length // len(unit)))

    def streamed(length: int) -> None:
        splitter = Splitter()
        for letter in unit * (length // len(unit)):
            splitter.feed(letter)

    assert ratio(whole, 20_000) < MOST
    assert ratio(streamed, 5_000) < MOST

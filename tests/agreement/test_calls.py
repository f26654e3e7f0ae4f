"""When calls of tools are the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool import agreement
from llm_pool.core.messages import Reading, Task, ToolCall

ASK = Task(name="ask", template="")


def calling(*calls: tuple[str, Any], text: str = "") -> Reading:
    made = tuple(ToolCall(f"c{at}", name, json.dumps(arguments)) for at, (name, arguments) in enumerate(calls))
    return Reading(text, None, tool_calls=made)


ROME = ("weather", {"city": "Rome", "days": 2})


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        (calling(("weather", {"days": 2, "city": "Rome"})), True),
        (calling(("weather", {"city": "rome", "days": 2.0}), text="Let me look."), True),
        (calling(("weather", {"city": "Rome", "days": 3})), False),
        (calling(("weather", {"city": "Rome"})), False),
        (calling(("Weather", {"city": "Rome", "days": 2})), False),
        (calling(ROME, ROME), False),
        (Reading('weather({"city": "Rome", "days": 2})', None), False),
    ],
)
def test_names_count_to_the_letter_and_arguments_as_objects(other: Reading, is_same: bool) -> None:
    keys = [agreement.key(ASK, reading) for reading in (calling(ROME), other)]

    assert (len(agreement.grouped(keys)) == 1) is is_same
    assert agreement.unclear(ASK, [calling(ROME), other]) == set()


@given(st.permutations([("weather", {"city": city}) for city in ("Rome", "Oslo", "5 km")]))
def test_the_order_of_parallel_calls_says_nothing(calls: list[tuple[str, Any]]) -> None:
    first = calling(*[("weather", {"city": city}) for city in ("Rome", "Oslo", "5 km")])

    assert agreement.alike(ASK, [first, calling(*calls)]) == [[0, 1]]

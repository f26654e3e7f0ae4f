"""Which calls may be made."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.core.messages import Tool, ToolCall
from llm_pool.reading import Unreadable
from llm_pool.reading.tool_calls import check_calls

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = (Tool("weather", "", SCHEMA), Tool("now", "", {"type": "object"}))
ROME = ToolCall("c", "weather", '{"city": "Rome"}')


def check(*calls: ToolCall, **more: Any) -> None:
    check_calls(calls, TOOLS, **{"choice": "auto", "parallel": True, **more})


@pytest.mark.parametrize("choice", ["auto", "required", "weather"])
def test_a_whole_call_of_a_tool_that_was_shown_may_be_made(choice: str) -> None:
    check(ROME, choice=choice)


@pytest.mark.parametrize(
    ("calls", "more", "why"),
    [
        ([ToolCall("c", "wether", "{}")], {}, "'wether', which it was not given"),
        ([ROME, ROME], {"parallel": False}, "2 calls at once"),
        ([ROME], {"choice": "now"}, "calls weather, where now was to be called"),
        ([ToolCall("c", "now", '{"a": ')], {}, "not whole JSON"),
        ([ToolCall("c", "now", "")], {}, "not whole JSON"),
        ([ToolCall("c", "now", "[1]")], {}, "no object"),
        ([ToolCall("c", "now", "[" * 100_000)], {}, "not whole JSON"),
        ([ToolCall("c", "now", '{"a":' * 100 + "1" + "}" * 100)], {}, "too much"),
        ([ToolCall("c", "weather", "{}")], {}, "city"),
        ([ToolCall("c", "weather", '{"city": 7}')], {}, "city"),
    ],
)
def test_others_may_not(calls: list[ToolCall], more: dict[str, Any], why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        check(*calls, **more)


@given(st.text(max_size=30), st.integers(0, 200))
def test_no_beginning_of_arguments_is_taken_for_all(city: str, cut: int) -> None:
    """A stream that is cut anywhere gives no call."""
    whole = json.dumps({"city": city})

    with pytest.raises(Unreadable):
        check(ToolCall("c", "weather", whole[: min(cut, len(whole) - 1)]))

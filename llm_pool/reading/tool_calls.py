"""
Whether what a model calls may be called: a tool that it was shown, with arguments that are whole and fit its schema.

Nothing is repaired here: a call is acted on, and half of one is worse than none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from llm_pool.reading.expectation import Unreadable
from llm_pool.reading.schemas import fault, is_deep, is_too_much

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.messages import Tool, ToolCall


def check_calls(calls: Sequence[ToolCall], tools: Sequence[Tool], *, choice: str, parallel: bool) -> None:
    """
    Refuse *calls*, at least one, that may not be made.

    Args:
        calls: of one answer.
        tools: those that the model was shown.
        choice: ``auto``, ``required``, or the name of the one that must be called.
        parallel: whether there may be several.

    Raises:
        Unreadable: and nothing else; it names the call.
    """
    known = {tool.name: tool for tool in tools}
    if len(calls) > 1 and not parallel:
        raise Unreadable(f"it makes {len(calls)} calls at once, where one was asked for")
    for call in calls:
        if call.name not in known:
            raise Unreadable(f"it calls the tool '{call.name[:64]}', which it was not given")
        if choice in known and call.name != choice:
            raise Unreadable(f"it calls {call.name}, where {choice} was to be called")
        _check_arguments(call, known[call.name])


def _check_arguments(call: ToolCall, tool: Tool) -> None:
    try:
        value = msgspec.json.decode(call.arguments)
    except (msgspec.DecodeError, RecursionError):
        raise Unreadable(f"the arguments of its call of {call.name} are not whole JSON") from None
    if not isinstance(value, dict):
        raise Unreadable(f"the arguments of its call of {call.name} are no object")
    if is_deep(value) or is_too_much(tool.parameters, value, len(call.arguments)):
        raise Unreadable(f"the arguments of its call of {call.name} are too much to check")
    found = fault(tool.parameters, value)
    if found is not None:
        path, wrong = found
        raise Unreadable(f"its call of {call.name}: {path}{': ' if path else ''}{wrong}")

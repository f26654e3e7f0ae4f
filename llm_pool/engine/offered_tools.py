"""What a query may ask of tools and pictures: checked once, with the field named that is wrong."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from llm_pool.core.errors import InvalidRequest
from llm_pool.reading.schemas import complaint_about, whole_numbers

if TYPE_CHECKING:
    from llm_pool.core.messages import Call, Json, Query, Task, Tool, Turn

MAX_TOOLS = 512
"""Tools of one request: agents with many servers of tools behind them have some hundreds."""
_NAME = re.compile(r"[\w.:/-]{1,128}", re.ASCII)
_WORDS = frozenset({"auto", "none", "required"})
NOTHING: frozenset[str] = frozenset()
"""What a plain question needs."""


def offered_tools(query: Query, task: Task) -> tuple[Tool, ...]:
    """
    The tools that the models are shown: none where the choice is ``none``.

    Raises:
        InvalidRequest: one is no tool, the choice names none of them, or *task* has answers of its own shape.
    """
    if not query.tools:
        if query.tool_choice not in {"auto", "none"}:
            raise InvalidRequest("tool_choice", f"'{query.tool_choice[:64]}', and there are no tools")
        return ()
    if len(query.tools) > MAX_TOOLS:
        raise InvalidRequest("tools", f"{len(query.tools)} of them, more than {MAX_TOOLS}")
    tools = tuple(_checked(tool, at) for at, tool in enumerate(query.tools))
    names = Counter(tool.name for tool in tools)
    if twice := next((name for name, count in names.items() if count > 1), ""):
        raise InvalidRequest("tools", f"there are two called '{twice}'")
    if query.tool_choice not in {*_WORDS, *names}:
        raise InvalidRequest(
            "tool_choice", f"expected auto, none, required or the name of a tool, got '{query.tool_choice[:64]}'"
        )
    if query.tool_choice == "none":
        return ()
    if task.input_schema is not None or task.output_schema is not None:
        raise InvalidRequest("tools", f"task '{task.name}' has answers of its own shape", hint="leave the tools out")
    return tools


def _checked(tool: Tool, at: int) -> Tool:
    """*tool* with parameters that are the schema of an object; null, as Go writes an empty list, says nothing."""
    if _NAME.fullmatch(tool.name) is None:
        raise InvalidRequest(f"tools[{at}].name", f"expected up to 128 of a-z, 0-9, _ . : / -, got '{tool.name[:60]}'")
    said = {keyword: value for keyword, value in tool.parameters.items() if value is not None}
    parameters: dict[str, Json] = {"type": "object", **said}
    if wrong := complaint_about(parameters):
        raise InvalidRequest(f"tools[{at}].parameters", wrong)
    return msgspec.structs.replace(tool, parameters=whole_numbers(parameters))


def check_turns(turns: tuple[Turn, ...]) -> None:
    """
    Refuse *turns* whose calls are not whole.

    Raises:
        InvalidRequest: the arguments of a call are no JSON object.
    """
    for at, turn in enumerate(turns):
        for number, call in enumerate(turn.tool_calls):
            try:
                whole = isinstance(msgspec.json.decode(call.arguments), dict)
            except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
                whole = False
            if not whole:
                place = f"turns[{at}].tool_calls[{number}].arguments"
                raise InvalidRequest(place, f"expected the JSON of an object, got '{call.arguments[:60]}'")


def needs(call: Call) -> frozenset[str]:
    """What a model must be able to do to be asked *call*: of ``tools`` and ``vision``."""
    prompt = call.prompt
    if not (call.tools or prompt.images or prompt.turns):
        return NOTHING
    pictures = prompt.images or any(turn.images for turn in prompt.turns)
    return frozenset({*(("tools",) if call.tools else ()), *(("vision",) if pictures else ())})


FIELDS = {"tools": "tools", "vision": "images"}
"""The field of a query that needs an ability."""
VERBS = {"tools": "calls tools", "vision": "sees pictures"}


def nobody_able(lacking: dict[str, frozenset[str]]) -> InvalidRequest:
    """The error where no provider can be asked; *lacking* has what each cannot do."""
    word = min(word for words in lacking.values() for word in words)
    names = ", ".join(name for name, words in lacking.items() if word in words)
    return InvalidRequest(
        FIELDS[word],
        f"none of the models that could be asked {VERBS[word]}: {names}",
        hint="leave the field out, or add a provider whose model can",
    )

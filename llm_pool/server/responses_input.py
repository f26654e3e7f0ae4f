"""
Items of a request to OpenAI's Responses API, as turns.

The calls of one answer are one turn, with the text before them. What models thought is not sent to them again, and what
OpenAI's own tools did cannot be: these items are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import ToolCall, Turn
from llm_pool.server.chat import turn
from llm_pool.server.image_parts import image_at
from llm_pool.server.responses_tools import ToolBody, arguments_with, known_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.messages import Image

STATELESS = "responses are not kept: send the whole conversation"
TEXTS = frozenset({"input_text", "output_text", "text"})
OUTPUTS = frozenset(
    {
        "function_call_output",
        "custom_tool_call_output",
        "local_shell_call_output",
        "shell_call_output",
        "apply_patch_call_output",
    }
)
"""Types of results of calls."""
READ = OUTPUTS | {
    "message",
    "function_call",
    "custom_tool_call",
    "local_shell_call",
    "shell_call",
    "apply_patch_call",
    "additional_tools",
    "reasoning",
}
"""Types of items that are read, or known to say nothing to another model."""


class Part(msgspec.Struct, frozen=True):
    """A part of what is said."""

    type: str
    text: str = ""
    refusal: str = ""
    image_url: str | None = None


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """An item of the input, of any type; the fields of one are empty in the others."""

    type: str = "message"
    id: str | None = None
    role: str = ""
    content: str | list[Part] | None = None
    call_id: str | None = None
    name: str = ""
    namespace: str | None = None
    arguments: str | dict[str, Any] = ""
    input: str = ""
    action: Any = None
    operation: Any = None
    output: Any = ""
    tools: list[ToolBody] = []


def turns_of(items: Sequence[Item]) -> list[Turn]:
    """The turns in *items*; raises InvalidRequest, which names the item."""
    turns: list[Turn] = []
    for at, item in enumerate(items):
        place = f"input[{at}]"
        if item.type == "item_reference":
            raise InvalidRequest(place, STATELESS)
        if item.type == "message":
            turns.append(_said(item, place))
        elif item.type in OUTPUTS:
            turns.append(_result(item, f"{place}.output"))
        elif (call := _call(item)) is not None:
            before = turns.pop() if turns and turns[-1].role == "assistant" else Turn("assistant", "")
            turns.append(msgspec.structs.replace(before, tool_calls=(*before.tool_calls, call)))
    return turns


def left_out(items: Sequence[Item]) -> list[str]:
    """Types of those of *items* that are not read."""
    return list(dict.fromkeys(f"input.{item.type}" for item in items if item.type not in READ))


def _call(item: Item) -> ToolCall | None:
    """The call in *item*; None where it is none that a model can be told of."""
    match item.type:
        case "function_call":
            name, arguments = item.name, item.arguments if isinstance(item.arguments, str) else _json(item.arguments)
        case "custom_tool_call":
            name, arguments = item.name, arguments_with(item.input)
        case "local_shell_call" | "shell_call":
            name, arguments = item.type.removesuffix("_call"), _json(item.action)
        case "apply_patch_call":
            name, arguments = "apply_patch", _json(item.operation)
        case _:
            return None
    return ToolCall(item.call_id or item.id or "", known_name(name, item.namespace or ""), arguments or "{}")


def _json(value: Any) -> str:
    return msgspec.json.encode({} if value is None else value).decode()


def _result(item: Item, place: str) -> Turn:
    """What a tool gave: text, parts, or another value as JSON."""
    call_id = item.call_id or item.id or ""
    if isinstance(item.output, str):
        return Turn("tool", item.output, tool_call_id=call_id)
    try:
        parts = msgspec.convert(item.output, list[Part])
        known = all(part.type in TEXTS | {"refusal", "input_image"} for part in parts)
    except msgspec.ValidationError:
        known = False
    if not known:
        return Turn("tool", _json(item.output), tool_call_id=call_id)
    return Turn("tool", _text(parts, place), tool_call_id=call_id, images=_images(parts, place))


def _said(item: Item, place: str) -> Turn:
    parts = item.content if isinstance(item.content, list) else [Part("input_text", item.content or "")]
    if item.role == "tool":
        raise InvalidRequest(
            f"{place}.role", "expected system, user or assistant; results are of type function_call_output"
        )
    said = turn(item.role, _text(parts, f"{place}.content"), place)
    images = _images(parts, f"{place}.content")
    if images and said.role != "user":
        raise InvalidRequest(f"{place}.content", f"no picture is read from the {said.role} here")
    return msgspec.structs.replace(said, images=images)


def _text(parts: Sequence[Part], place: str) -> str:
    for part in parts:
        if part.type not in TEXTS | {"refusal", "input_image"}:
            raise InvalidRequest(place, f"no part of type '{part.type[:40]}' is read here")
    return "\n".join(part.refusal or part.text for part in parts if part.type != "input_image")


def _images(parts: Sequence[Part], place: str) -> tuple[Image, ...]:
    return tuple(image_at(part.image_url or "", place) for part in parts if part.type == "input_image")

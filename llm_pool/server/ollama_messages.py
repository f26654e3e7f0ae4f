"""
Messages and tools of Ollama's API, as turns and tools of ours.

Its calls need no ids, and its results name the tool alone. Ours have both, so ids are made of places: the same
conversation has the same ones each time, and is found in the cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Tool, ToolCall
from llm_pool.server.chat import turn
from llm_pool.server.image_parts import image_from

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.messages import Image, Json, Turn


class Function(msgspec.Struct, frozen=True):
    """The function that is called."""

    name: str
    arguments: dict[str, Any] | str | None = None


class MessageCall(msgspec.Struct, frozen=True):
    """A call in an assistant's message."""

    function: Function
    id: str | None = None


class Message(msgspec.Struct, frozen=True):
    """A message of a conversation; fields that are not here are another server's."""

    role: str
    content: str | None = None
    images: list[Any] | None = None
    tool_calls: list[MessageCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class FunctionTool(msgspec.Struct, frozen=True):
    """What a model is told of a function."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ToolBody(msgspec.Struct, frozen=True):
    """A tool that is offered."""

    type: str = "function"
    function: FunctionTool | None = None


def turns_of(messages: Sequence[Message]) -> list[Turn]:
    """*messages* as turns; raises InvalidRequest, which names the message."""
    turns: list[Turn] = []
    open_calls: list[ToolCall] = []
    for at, message in enumerate(messages):
        place = f"messages[{at}]"
        calls = tuple(_called(call, at, number) for number, call in enumerate(message.tool_calls or ()))
        answered = message.tool_call_id or ""
        if message.role == "tool":
            answered = answered or _call_answered_by(message.tool_name or "", open_calls)
            open_calls = [call for call in open_calls if call.id != answered]
        open_calls = list(calls) if calls else open_calls
        said = turn(message.role, message.content or "", place, may_be_tool=True)
        images = images_of(message.images, f"{place}.images")
        turns.append(msgspec.structs.replace(said, tool_calls=calls, tool_call_id=answered, images=images))
    return turns


def _called(call: MessageCall, at: int, number: int) -> ToolCall:
    given = call.function.arguments or {}
    arguments = given if isinstance(given, str) else msgspec.json.encode(given).decode()
    return ToolCall(call.id or f"call_{at}_{number}", call.function.name, arguments)


def _call_answered_by(tool: str, open_calls: Sequence[ToolCall]) -> str:
    """The id of the first of *open_calls* to *tool*, or of the first, where the result names none of them."""
    named = [call.id for call in open_calls if call.name == tool]
    return next(iter(named or [call.id for call in open_calls]), "")


def images_of(images: Sequence[Any] | None, place: str) -> tuple[Image, ...]:
    """Pictures in base64; raises InvalidRequest, which names their *place*."""
    for at, image in enumerate(images or ()):
        if not isinstance(image, str):
            raise InvalidRequest(f"{place}[{at}]", "expected a picture in base64")
    return tuple(image_from(image, f"{place}[{at}]") for at, image in enumerate(images or ()))


def tools_of(bodies: Sequence[ToolBody] | None) -> tuple[Tool, ...]:
    """The tools in *bodies*; raises InvalidRequest for one that is no function."""
    tools = []
    for at, body in enumerate(bodies or ()):
        if body.type != "function" or body.function is None:
            raise InvalidRequest(f"tools[{at}].type", f"only tools of type function are served, got '{body.type[:40]}'")
        parameters: dict[str, Json] = body.function.parameters or {}
        tools.append(Tool(body.function.name, body.function.description or "", parameters))
    return tuple(tools)

"""Messages and tools of OpenAI's chat API, as turns and tools of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Tool, ToolCall
from llm_pool.server.chat import turn
from llm_pool.server.image_parts import image_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llm_pool.core.messages import Image, Json, Turn

WORDS = frozenset({"auto", "none", "required"})
"""What ``tool_choice`` may be, where it names no function."""


class ImageUrl(msgspec.Struct, frozen=True):
    """Where a picture is: a ``data:`` URL."""

    url: str


class Part(msgspec.Struct, frozen=True):
    """A part of what a message says."""

    type: str
    text: str = ""
    image_url: ImageUrl | None = None


class Function(msgspec.Struct, frozen=True):
    """The function that is called."""

    name: str
    arguments: str | None = None


class MessageCall(msgspec.Struct, frozen=True):
    """A call in an assistant's message."""

    function: Function
    id: str = ""


class Message(msgspec.Struct, frozen=True):
    """A message of a conversation; fields that are not here are another server's."""

    role: str
    content: str | list[Part] | None = None
    tool_calls: list[MessageCall] | None = None
    tool_call_id: str | None = None


class FunctionTool(msgspec.Struct, frozen=True):
    """What a model is told of a function."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ToolBody(msgspec.Struct, frozen=True):
    """A tool that is offered; only functions are served."""

    type: str
    function: FunctionTool | None = None


class ChoiceBody(msgspec.Struct, frozen=True):
    """The tool that shall be called."""

    type: str
    function: Function | None = None


def turns_of(messages: Sequence[Message]) -> list[Turn]:
    """*messages* as turns; raises InvalidRequest, which names the message."""
    return [_turn(message, f"messages[{at}]") for at, message in enumerate(messages)]


def _turn(message: Message, place: str) -> Turn:
    said = turn(message.role, _text(message.content, place), place, may_be_tool=True)
    return msgspec.structs.replace(
        said,
        images=tuple(_images(message.content, place)),
        tool_calls=tuple(_called(call) for call in message.tool_calls or ()),
        tool_call_id=message.tool_call_id or "",
    )


def _called(call: MessageCall) -> ToolCall:
    """*call*; some clients send no arguments where a function takes none."""
    return ToolCall(call.id, call.function.name, call.function.arguments or "{}")


def _text(content: str | list[Part] | None, place: str) -> str:
    if not isinstance(content, list):
        return content or ""
    for part in content:
        if part.type not in {"text", "image_url"}:
            reason = f"only parts of type text and image_url are read, got '{part.type[:40]}'"
            raise InvalidRequest(f"{place}.content", reason)
    return "\n".join(part.text for part in content if part.type == "text")


def _images(content: str | list[Part] | None, place: str) -> Iterator[Image]:
    for at, part in enumerate(content if isinstance(content, list) else ()):
        if part.type == "image_url":
            where = f"{place}.content[{at}].image_url"
            if part.image_url is None:
                raise InvalidRequest(where, "it is missing")
            yield image_at(part.image_url.url, f"{where}.url")


def tools_of(bodies: Sequence[ToolBody] | None) -> tuple[Tool, ...]:
    """The tools in *bodies*; raises InvalidRequest for one that is no function."""
    return tuple(_tool(body, f"tools[{at}]") for at, body in enumerate(bodies or ()))


def _tool(body: ToolBody, place: str) -> Tool:
    if body.type != "function" or body.function is None:
        raise InvalidRequest(f"{place}.type", f"only tools of type function are served, got '{body.type[:40]}'")
    parameters: dict[str, Json] = body.function.parameters or {}
    return Tool(body.function.name, body.function.description or "", parameters)


def choice_of(body: str | ChoiceBody | None) -> str:
    """Our word for OpenAI's ``tool_choice``; raises InvalidRequest."""
    if body is None:
        return "auto"
    if isinstance(body, str):
        if body not in WORDS:
            raise InvalidRequest("tool_choice", f"expected auto, none, required or a function, got '{body[:40]}'")
        return body
    if body.type != "function" or body.function is None:
        raise InvalidRequest("tool_choice.type", f"expected function, got '{body.type[:40]}'")
    return body.function.name

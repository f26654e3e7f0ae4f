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

WORDS = {"auto": "auto", "none": "none", "required": "required", "any": "required"}
"""What ``tool_choice`` may be, where it names no function, and our words for it; ``any`` is Mistral's."""
TEXTS = frozenset({"text", "input_text", "output_text", "refusal"})
PICTURES = frozenset({"image_url", "input_image"})
THOUGHTS = frozenset({"thinking", "redacted_thinking", "reasoning"})
"""Types of parts that are left out: what models thought is not sent to them again."""


class ImageUrl(msgspec.Struct, frozen=True):
    """Where a picture is: a ``data:`` URL."""

    url: str


class Part(msgspec.Struct, frozen=True):
    """A part of what a message says; those of the Responses API too, which some clients send here."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | str | None = None


class Function(msgspec.Struct, frozen=True):
    """The function that is called."""

    name: str
    arguments: str | dict[str, Any] | None = None


class MessageCall(msgspec.Struct, frozen=True):
    """A call in an assistant's message."""

    function: Function
    id: str | None = None


class Message(msgspec.Struct, frozen=True):
    """A message of a conversation; fields that are not here are another server's."""

    role: str
    content: str | list[Part] | None = None
    tool_calls: list[MessageCall] | None = None
    tool_call_id: str | None = None
    function_call: Function | None = None


class FunctionTool(msgspec.Struct, frozen=True):
    """What a model is told of a function."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ToolBody(msgspec.Struct, frozen=True):
    """A tool that is offered; only functions are served."""

    type: str = "function"
    function: FunctionTool | None = None


class AllowedTools(msgspec.Struct, frozen=True):
    """The only tools that may be called."""

    mode: str = "auto"
    tools: list[ToolBody] = []


class ChoiceBody(msgspec.Struct, frozen=True):
    """The tool that shall be called, or those that may be."""

    type: str
    function: Function | None = None
    name: str = ""
    allowed_tools: AllowedTools | None = None


def turns_of(messages: Sequence[Message]) -> list[Turn]:
    """*messages* as turns; raises InvalidRequest, which names the message."""
    turns: list[Turn] = []
    for at, message in enumerate(messages):
        if message.role == "function":  # as tools were before they had ids
            turns.append(_turn(message, f"messages[{at}]", "tool", _last_call(turns)))
        else:
            turns.append(_turn(message, f"messages[{at}]", message.role, message.tool_call_id or ""))
    return turns


def _turn(message: Message, place: str, role: str, answers: str) -> Turn:
    said = turn(role, _text(message.content, place), place, may_be_tool=True)
    calls = [_called(call.function, call.id or "") for call in message.tool_calls or ()]
    if message.function_call is not None and not calls:
        calls.append(_called(message.function_call, f"call_{place}"))
    images = tuple(_images(message.content, place))
    return msgspec.structs.replace(said, images=images, tool_calls=tuple(calls), tool_call_id=answers)


def _called(function: Function, call_id: str) -> ToolCall:
    """The call of *function*; some clients send no arguments where it takes none."""
    given = function.arguments
    arguments = msgspec.json.encode(given).decode() if isinstance(given, dict) else given
    return ToolCall(call_id, function.name, arguments or "{}")


def _last_call(turns: Sequence[Turn]) -> str:
    """The id of the last call in *turns*."""
    return next((said.tool_calls[-1].id for said in reversed(turns) if said.tool_calls), "")


def _text(content: str | list[Part] | None, place: str) -> str:
    if not isinstance(content, list):
        return content or ""
    for part in content:
        if part.type not in TEXTS | PICTURES | THOUGHTS:
            reason = f"only parts of type text and image_url are read, got '{part.type[:40]}'"
            raise InvalidRequest(f"{place}.content", reason)
    return "\n".join(part.text or part.refusal or "" for part in content if part.type in TEXTS)


def _images(content: str | list[Part] | None, place: str) -> Iterator[Image]:
    for at, part in enumerate(content if isinstance(content, list) else ()):
        if part.type in PICTURES:
            where = f"{place}.content[{at}].image_url"
            if part.image_url is None:
                raise InvalidRequest(where, "it is missing")
            url = part.image_url if isinstance(part.image_url, str) else part.image_url.url
            yield image_at(url, where if isinstance(part.image_url, str) else f"{where}.url")


def tools_of(bodies: Sequence[ToolBody] | None, choice: str | ChoiceBody | None = None) -> tuple[Tool, ...]:
    """The functions in *bodies*; with a *choice* of allowed ones, these alone. Raises InvalidRequest for none."""
    tools = [_tool(body, f"tools[{at}]") for at, body in enumerate(bodies or ()) if body.type == "function"]
    if not isinstance(choice, ChoiceBody) or choice.allowed_tools is None:
        return tuple(tools)
    allowed = {body.function.name for body in choice.allowed_tools.tools if body.function is not None}
    return tuple(tool for tool in tools if tool.name in allowed)


def foreign_tools(bodies: Sequence[ToolBody] | None) -> list[str]:
    """Types of those of *bodies* that are no functions, each once: their makers run them."""
    return list(dict.fromkeys(f"tools.{body.type[:40]}" for body in bodies or () if body.type != "function"))


def _tool(body: ToolBody, place: str) -> Tool:
    if body.function is None:
        raise InvalidRequest(f"{place}.function", "it is missing")
    return tool_of(body.function)


def tool_of(function: FunctionTool) -> Tool:
    """The tool that *function* is."""
    parameters: dict[str, Json] = function.parameters or {}
    return Tool(function.name, function.description or "", parameters)


def choice_of(body: str | ChoiceBody | None) -> str:
    """Our word for OpenAI's ``tool_choice``; raises InvalidRequest."""
    if isinstance(body, ChoiceBody):
        if body.type == "allowed_tools" and body.allowed_tools is not None:
            body = body.allowed_tools.mode
        elif body.type != "function" or not (name := body.name if body.function is None else body.function.name):
            raise InvalidRequest("tool_choice.type", f"expected function or allowed_tools, got '{body.type[:40]}'")
        else:
            return name
    if body is not None and body not in WORDS:
        raise InvalidRequest("tool_choice", f"expected auto, none, required or a function, got '{body[:40]}'")
    return WORDS[body or "auto"]


def legacy_choice(body: str | Function | None) -> str:
    """Our word for OpenAI's ``function_call``, as ``tool_choice`` was called before; raises InvalidRequest."""
    if isinstance(body, Function):
        return body.name
    if body not in {None, "auto", "none"}:
        raise InvalidRequest("function_call", f"expected auto, none or a function, got '{body[:40]}'")
    return body or "auto"

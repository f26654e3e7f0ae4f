"""
Tools of OpenAI's Responses API, as tools of ours, and back.

::

    function                  ─▶ the tool itself
    custom, which takes text  ─▶ a tool with one argument, ``input``; its grammar is told in words
    namespace                 ─▶ each of its tools, by the name ``namespace__tool``
    any other                 ─▶ left out: its maker runs it

Source: https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Tool

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

CHOICES = frozenset({"auto", "none", "required"})
"""What ``tool_choice`` may be, where it names no tool."""
BY_NAME = frozenset({"function", "custom"})
"""Types of tools that are called by their name."""
INPUT = "input"
"""The argument that holds the text of a custom tool."""


class Grammar(msgspec.Struct, frozen=True):
    """What the text of a custom tool looks like."""

    type: str = "text"
    syntax: str = ""
    definition: str = ""


class ToolBody(msgspec.Struct, frozen=True):
    """A tool that is offered, of any type; the fields of one are empty in the others."""

    type: str
    name: str = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None
    format: Grammar | None = None
    tools: list[ToolBody] = []


class ChoiceBody(msgspec.Struct, frozen=True):
    """The tool that shall be called, or those that may be."""

    type: str
    name: str = ""
    mode: str = "auto"
    tools: list[dict[str, Any]] = []


class OfferedTool(NamedTuple):
    """A *tool* as the models see it, and what its client calls it; *takes_text*: it is a custom one."""

    tool: Tool
    name: str
    namespace: str = ""
    takes_text: bool = False


def offered_tools(bodies: Sequence[ToolBody], choice: str | ChoiceBody | None = None) -> list[OfferedTool]:
    """
    Those of *bodies* that the models are shown; with a *choice* of allowed ones, these alone.

    Raises:
        InvalidRequest: one has no name.
    """
    found = [tool for at, body in enumerate(bodies) for tool in _offered(body, f"tools[{at}]")]
    if not isinstance(choice, ChoiceBody) or choice.type != "allowed_tools":
        return found
    allowed = {tool.get("name") for tool in choice.tools}
    return [one for one in found if not allowed.isdisjoint({one.name, one.tool.name})]


def foreign_types(bodies: Sequence[ToolBody]) -> list[str]:
    """Types of those of *bodies* that are left out, each once."""
    inner = [tool for body in bodies for tool in (body.tools if body.type == "namespace" else (body,))]
    return list(dict.fromkeys(body.type for body in inner if body.type not in BY_NAME))


def _offered(body: ToolBody, place: str, namespace: str = "") -> Iterator[OfferedTool]:
    if body.type == "namespace" and not namespace:
        for at, inner in enumerate(body.tools):
            yield from _offered(inner, f"{place}.tools[{at}]", body.name)
    elif body.type in BY_NAME:
        if not body.name:
            raise InvalidRequest(f"{place}.name", "it is missing")
        name, takes_text = known_name(body.name, namespace), body.type == "custom"
        tool = _custom(name, body) if takes_text else Tool(name, body.description or "", body.parameters or {})
        yield OfferedTool(tool, body.name, namespace, takes_text)


def _custom(name: str, body: ToolBody) -> Tool:
    grammar = "" if body.format is None else body.format.definition
    rule = f"The input must match this grammar ({body.format.syntax}):\n{grammar}" if body.format and grammar else ""
    schema = {
        "type": "object",
        "properties": {INPUT: {"type": "string", "description": "The text for the tool, as it is."}},
        "required": [INPUT],
        "additionalProperties": False,
    }
    return Tool(name, "\n\n".join(filter(None, (body.description, rule))), schema)


def known_name(name: str, namespace: str) -> str:
    """What the models call the tool *name* of *namespace*; ``mcp__files__`` and ``read`` are ``mcp__files__read``."""
    return f"{namespace}{'' if namespace.endswith('__') or not namespace else '__'}{name}"


def input_of(arguments: str) -> str:
    """The text in *arguments*, whole JSON, of a custom tool; empty where there is none."""
    value = msgspec.json.decode(arguments)
    text = value.get(INPUT) if isinstance(value, dict) else None
    return text if isinstance(text, str) else ""


def arguments_with(text: str) -> str:
    """The arguments of a custom tool that is given *text*."""
    return msgspec.json.encode({INPUT: text}).decode()


def tool_choice(choice: str | ChoiceBody | None, tools: Collection[OfferedTool]) -> str:
    """Our word for *choice* among *tools*; raises InvalidRequest."""
    if isinstance(choice, ChoiceBody):
        if choice.type in BY_NAME and choice.name:
            return next((one.tool.name for one in tools if choice.name in {one.name, one.tool.name}), choice.name)
        if choice.type != "allowed_tools":
            known = "function, custom or allowed_tools"
            raise InvalidRequest("tool_choice.type", f"expected {known}, got '{choice.type[:40]}'")
        choice = choice.mode
    if choice is not None and choice not in CHOICES:
        raise InvalidRequest("tool_choice", f"expected auto, none, required or a function, got '{choice[:40]}'")
    return choice or "auto"

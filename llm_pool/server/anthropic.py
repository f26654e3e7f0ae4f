"""
Anthropic's Messages API over the pool: ``/v1/messages``.

A request's blocks become turns: what models thought earlier is not sent to them again, and cache marks change nothing.
Tools that Anthropic itself runs are told in ``llm_pool.ignored``.

Source: https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Query, Tool, ToolCall, Turn
from llm_pool.server.anthropic_encoder import MessageEncoder, error_shape
from llm_pool.server.chat_route import add_chat_route
from llm_pool.server.image_parts import image_from
from llm_pool.server.last_word import last_word
from llm_pool.server.openapi_foreign import EVENTS, ForeignOperation
from llm_pool.server.routing import Route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_pool.core.messages import Image, Json, Think
    from llm_pool.engine import PoolManager
    from llm_pool.server.chat import Model
    from llm_pool.server.middleware import AccessControl, Receive, Scope, Send
    from llm_pool.server.routing import Routes

PATH = "/v1/messages"
FIELDS = {
    "prompt": "messages",
    "turns": "messages",
    "stop": "stop_sequences",
    "output_schema": "output_config.format.schema",
    "think": "thinking",
    "strategy": "model",
    "task": "model",
}
"""Where the fields of a query stand in a body, where it has another name for them."""
THOUGHTS = frozenset({"thinking", "redacted_thinking"})
CHOICES = {"auto": "auto", "any": "required", "none": "none"}
"""Anthropic's words for whether tools are called, and ours."""


class _Source(msgspec.Struct, frozen=True):
    type: str
    data: str = ""


class _Block(msgspec.Struct, frozen=True, kw_only=True):
    """A part of what is said, of any type; the fields of one are empty in the others."""

    type: str
    text: str = ""
    source: _Source | None = None
    id: str = ""
    name: str = ""
    input: dict[str, Any] = {}
    tool_use_id: str = ""
    content: str | list[_Block] | None = None


class _Message(msgspec.Struct, frozen=True):
    role: Literal["user", "assistant", "system"]
    content: str | list[_Block]


class _Tool(msgspec.Struct, frozen=True):
    name: str = ""
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None


class _Choice(msgspec.Struct, frozen=True):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _Thinking(msgspec.Struct, frozen=True):
    type: Literal["enabled", "disabled", "adaptive"]


class _Format(msgspec.Struct, frozen=True):
    type: Literal["json_schema"]
    schema: dict[str, Any]


class _OutputConfig(msgspec.Struct, frozen=True):
    format: _Format | None = None
    effort: str | None = None


class MessagesBody(msgspec.Struct, frozen=True, kw_only=True):
    """A request; fields that are not here change nothing: one provider alone may take them, or they are told."""

    model: str
    messages: list[_Message]
    max_tokens: int | None = None
    system: str | list[_Block] | None = None
    stream: bool | None = None
    temperature: float | None = None
    stop_sequences: list[str] | None = None
    tools: list[_Tool] | None = None
    tool_choice: _Choice | None = None
    thinking: _Thinking | None = None
    output_config: _OutputConfig | None = None
    output_format: _Format | None = None
    metadata: dict[str, Any] | None = None

    @property
    def left_out(self) -> list[str]:
        """Parts of served fields that change nothing: tools that Anthropic itself runs, and how hard to think."""
        effort = self.output_config is not None and self.output_config.effort is not None
        foreign = [f"tools.{tool.type}" for tool in self.tools or () if _is_foreign(tool)]
        return [*dict.fromkeys(foreign), *(["output_config.effort"] if effort else [])]


def add_routes(routes: Routes, manager: PoolManager, access: AccessControl) -> None:
    """Add the routes to *routes*."""
    source = "https://docs.anthropic.com/en/api/messages"
    operation = ForeignOperation(
        path=PATH,
        summary="A conversation, answered, in Anthropic's shape.",
        source=source,
        body=MessagesBody,
        example={"model": "pool", "max_tokens": 256, "messages": [{"role": "user", "content": "Is 17 prime?"}]},
        streamed=EVENTS,
    )
    add_chat_route(
        routes,
        manager,
        access,
        operation,
        query_of=lambda body, model, _: query_from(body, model),
        encoder_of=lambda body, ignored, _: MessageEncoder(body.model, [*ignored, *body.left_out]),
        error_shape=error_shape,
        fields=FIELDS,
    )

    async def count(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise InvalidRequest("model", "nobody counts tokens ahead: the models of a pool share no tokens")

    routes.add(Route(f"{PATH}/count_tokens", count, methods=["POST"]))
    routes.document(
        ForeignOperation(path=f"{PATH}/count_tokens", summary="Refused: nobody counts tokens ahead.", source=source),
    )


def query_from(body: MessagesBody, model: Model) -> Query:
    """
    The query in *body*, put to *model*.

    Raises:
        InvalidRequest: it asks for what the pool cannot do; the field says what.
    """
    turns = [Turn("system", _text(body.system, "system"))] if body.system else []
    for at, message in enumerate(body.messages):
        turns += _turns(message, f"messages[{at}].content")
    asked = last_word(turns, "messages")
    wanted = (body.output_config and body.output_config.format) or body.output_format
    return Query(
        prompt=asked.prompt,
        images=asked.images,
        turns=asked.turns,
        task=model.task,
        strategy=model.strategy,
        providers=model.providers,
        max_tokens=body.max_tokens,
        temperature=body.temperature,
        stop=tuple(filter(None, body.stop_sequences or ())),
        output_schema=None if wanted is None else wanted.schema,
        tools=tuple(_tools(body)),
        tool_choice=_choice(body.tool_choice),
        parallel_tool_calls=body.tool_choice is None or not body.tool_choice.disable_parallel_tool_use,
        think=_think(body.thinking),
        meta={name: value for name, value in (body.metadata or {}).items() if isinstance(value, str)},
    )


def _turns(message: _Message, place: str) -> Iterator[Turn]:
    """The turns in one message: results of tools, each by itself, and then what is said beside them."""
    blocks = [_Block(type="text", text=message.content)] if isinstance(message.content, str) else message.content
    texts: list[str] = []
    calls: list[ToolCall] = []
    images: list[Image] = []
    for at, block in enumerate(blocks):
        where = f"{place}[{at}]"
        match block.type:
            case "text":
                texts.append(block.text)
            case "image" if message.role == "user":
                images.append(_image(block, where))
            case "tool_use" if message.role == "assistant":
                calls.append(ToolCall(block.id, block.name, msgspec.json.encode(block.input).decode()))
            case "tool_result" if message.role == "user":
                yield Turn("tool", _text(block.content or "", where), tool_call_id=block.tool_use_id)
            case kind if kind in THOUGHTS:
                pass
            case kind:
                raise InvalidRequest(f"{where}.type", f"no {kind[:40]} is read from the {message.role} here")
    if texts or calls or images:
        yield Turn(message.role, "\n".join(texts), tuple(calls), images=tuple(images))


def _text(content: str | list[_Block], place: str) -> str:
    if isinstance(content, str):
        return content
    for block in content:
        if block.type != "text":
            raise InvalidRequest(place, f"only blocks of type text are read here, got '{block.type[:40]}'")
    return "\n".join(block.text for block in content)


def _image(block: _Block, place: str) -> Image:
    if block.source is None or block.source.type != "base64":
        raise InvalidRequest(f"{place}.source", "expected base64: no address is fetched", hint="send the bytes")
    return image_from(block.source.data, f"{place}.source")


def _is_foreign(tool: _Tool) -> bool:
    """Whether Anthropic would run *tool*, or knows what it takes."""
    return tool.type not in {None, "custom"}


def _tools(body: MessagesBody) -> Iterator[Tool]:
    for at, tool in enumerate(body.tools or ()):
        if _is_foreign(tool):
            continue
        if not tool.name:
            raise InvalidRequest(f"tools[{at}].name", "it is missing")
        schema: dict[str, Json] = tool.input_schema or {"type": "object"}
        yield Tool(tool.name, tool.description or "", schema)


def _choice(choice: _Choice | None) -> str:
    if choice is None:
        return "auto"
    if choice.type == "tool":
        if not choice.name:
            raise InvalidRequest("tool_choice.name", "it is missing")
        return choice.name
    if choice.type not in CHOICES:
        raise InvalidRequest("tool_choice.type", f"expected auto, any, tool or none, got '{choice.type[:40]}'")
    return CHOICES[choice.type]


def _think(thinking: _Thinking | None) -> Think | None:
    """Whether models think; ``adaptive`` leaves it to them."""
    return None if thinking is None or thinking.type == "adaptive" else thinking.type == "enabled"

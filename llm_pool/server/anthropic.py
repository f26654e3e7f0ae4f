"""
Anthropic's Messages API over the pool: ``/v1/messages``.

Cache marks change nothing. Tools that Anthropic itself runs, and what they did, are told in ``llm_pool.ignored``.

Source: https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Query, Tool, Turn
from llm_pool.server.anthropic_encoder import MessageEncoder, error_shape
from llm_pool.server.anthropic_messages import Block, Message, left_out, text_of, turns_of
from llm_pool.server.chat_route import add_chat_route
from llm_pool.server.last_word import last_word
from llm_pool.server.openapi_foreign import EVENTS, ForeignOperation
from llm_pool.server.queries import whole
from llm_pool.server.routing import Route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_pool.core.messages import Json, Think
    from llm_pool.engine import PoolManager
    from llm_pool.server.chat import Model
    from llm_pool.server.middleware import AccessControl, Receive, Scope, Send
    from llm_pool.server.routing import Routes

PATH = "/v1/messages"
FIELDS = {
    "prompt": "messages",
    "turns": "messages",
    "images": "messages",
    "stop": "stop_sequences",
    "output_schema": "output_config.format.schema",
    "think": "thinking",
    "strategy": "model",
    "task": "model",
}
"""Where the fields of a query stand in a body, where it has another name for them."""
CHOICES = {"auto": "auto", "any": "required", "none": "none"}
"""Anthropic's words for whether tools are called, and ours."""


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
    messages: list[Message]
    max_tokens: int | float | None = None
    system: str | list[Block] | None = None
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
        """Parts of served fields that change nothing: tools that Anthropic itself runs, how hard to think."""
        effort = self.output_config is not None and self.output_config.effort is not None
        foreign = [f"tools.{tool.type}" for tool in self.tools or () if _is_foreign(tool)]
        told = [*dict.fromkeys(foreign), *left_out(self.messages)]
        return [*told, "output_config.effort"] if effort else told


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
    turns = [Turn("system", text_of(body.system, "system"))] if body.system else []
    for at, message in enumerate(body.messages):
        turns += turns_of(message, f"messages[{at}].content")
    asked = last_word(turns, "messages")
    wanted = (body.output_config and body.output_config.format) or body.output_format
    return Query(
        prompt=asked.prompt,
        images=asked.images,
        turns=asked.turns,
        task=model.task,
        strategy=model.strategy,
        providers=model.providers,
        max_tokens=whole(body.max_tokens, "max_tokens"),
        temperature=body.temperature,
        stop=tuple(filter(None, body.stop_sequences or ())),
        output_schema=None if wanted is None else wanted.schema,
        tools=tuple(_tools(body)),
        tool_choice=_choice(body.tool_choice),
        parallel_tool_calls=body.tool_choice is None or not body.tool_choice.disable_parallel_tool_use,
        think=_think(body.thinking),
        meta={name: value for name, value in (body.metadata or {}).items() if isinstance(value, str)},
    )


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

"""
OpenAI's Responses API over the pool: ``/v1/responses``, stateless.

Nothing is kept: ``store`` is answered with false whatever it asks, and what would need a kept response is refused.
Tools that OpenAI itself would run are told in ``llm_pool.ignored``, so that programs which always offer some (Codex)
are answered without them; likewise items of a conversation that say nothing to other models.

Source: https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Query, Turn
from llm_pool.engine import ANY_OBJECT
from llm_pool.server.chat import reject_unsupported
from llm_pool.server.chat_route import add_chat_route
from llm_pool.server.last_word import last_word
from llm_pool.server.openai_words import error_shape, meta_of, project_of, think_of_effort
from llm_pool.server.openapi_foreign import EVENTS, ForeignOperation
from llm_pool.server.queries import decode, whole
from llm_pool.server.responses_encoder import ResponseEncoder
from llm_pool.server.responses_input import STATELESS, Item, left_out, turns_of
from llm_pool.server.responses_tools import ChoiceBody, ToolBody, foreign_types, offered_tools, tool_choice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.messages import Json
    from llm_pool.engine import PoolManager
    from llm_pool.server.chat import Model
    from llm_pool.server.middleware import AccessControl
    from llm_pool.server.routing import Routes

PATH = "/v1/responses"
UNSUPPORTED = {
    "previous_response_id": STATELESS,
    "conversation": STATELESS,
    "background": STATELESS,
}
"""Fields that ask for what cannot be had, and why."""
FIELDS = {
    "prompt": "input",
    "turns": "input",
    "images": "input",
    "max_tokens": "max_output_tokens",
    "output_schema": "text.format.schema",
    "think": "reasoning.effort",
    "strategy": "model",
    "task": "model",
    "project_id": "OpenAI-Project",
}
"""Where the fields of a query stand in a body."""


class _Format(msgspec.Struct, frozen=True):
    type: str
    schema: dict[str, Any] | None = None


class _Text(msgspec.Struct, frozen=True):
    format: _Format | None = None
    verbosity: str | None = None


class _Reasoning(msgspec.Struct, frozen=True):
    effort: str | None = None


class ResponsesBody(msgspec.Struct, frozen=True, kw_only=True):
    """A request; fields that are not here change nothing: one provider alone may take them, or they are told."""

    model: str
    input: str | list[Item]
    instructions: str | None = None
    max_output_tokens: int | float | None = None
    temperature: float | None = None
    stream: bool | None = None
    text: _Text | None = None
    tools: list[ToolBody] | None = None
    tool_choice: str | ChoiceBody | None = None
    parallel_tool_calls: bool | None = None
    reasoning: _Reasoning | None = None
    metadata: dict[str, Any] | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    background: bool | None = None
    prompt: Any = None
    store: bool | None = None

    @property
    def items(self) -> list[Item]:
        """The input as items."""
        return [Item(role="user", content=self.input)] if isinstance(self.input, str) else self.input

    @property
    def all_tools(self) -> list[ToolBody]:
        """The tools of the request, and those that its items add."""
        return [*(self.tools or ()), *(tool for item in self.items for tool in item.tools)]

    @property
    def left_out(self) -> list[str]:
        """Parts of served fields that change nothing: tools that OpenAI runs, and the like."""
        foreign = [f"tools.{kind}" for kind in foreign_types(self.all_tools)]
        told = [*foreign, *left_out(self.items), *(["text.verbosity"] if self.text and self.text.verbosity else [])]
        return ["prompt", *told] if self.prompt else told


def add_routes(routes: Routes, manager: PoolManager, access: AccessControl) -> None:
    """Add the route to *routes*."""
    operation = ForeignOperation(
        path=PATH,
        summary="A conversation, answered, in OpenAI's Responses shape, without state.",
        source="https://platform.openai.com/docs/api-reference/responses",
        body=ResponsesBody,
        example={"model": "pool", "input": "Is 17 prime?"},
        streamed=EVENTS,
    )
    add_chat_route(
        routes,
        manager,
        access,
        operation,
        query_of=lambda body, model, scope: query_from(body, model, project_of(scope)),
        encoder_of=_encoder,
        error_shape=error_shape,
        fields=FIELDS,
    )


def _encoder(body: ResponsesBody, ignored: Sequence[str], sent: bytes) -> ResponseEncoder:
    request = decode(sent, dict[str, Any])
    return ResponseEncoder(body.model, [*ignored, *body.left_out], request, offered_tools(body.all_tools))


def query_from(body: ResponsesBody, model: Model, project: str = "") -> Query:
    """
    The query in *body*, put to *model*.

    Raises:
        InvalidRequest: it asks for what the pool cannot do; the field says what.
    """
    reject_unsupported(body, UNSUPPORTED)
    if isinstance(body.prompt, dict):
        raise InvalidRequest("prompt", "no prompts are kept; send the text")
    turns = [Turn("system", body.instructions)] if body.instructions else []
    turns += turns_of(body.items)
    asked, tools = last_word(turns, "input"), offered_tools(body.all_tools, body.tool_choice)
    return Query(
        prompt=asked.prompt,
        images=asked.images,
        turns=asked.turns,
        task=model.task,
        strategy=model.strategy,
        providers=model.providers,
        project_id=project,
        max_tokens=whole(body.max_output_tokens, "max_output_tokens"),
        temperature=body.temperature,
        output_schema=_schema(None if body.text is None else body.text.format),
        tools=tuple(offered.tool for offered in tools),
        tool_choice=tool_choice(body.tool_choice, tools),
        parallel_tool_calls=body.parallel_tool_calls is not False,
        think=think_of_effort(None if body.reasoning is None else body.reasoning.effort, "reasoning.effort"),
        meta=meta_of(body.metadata),
    )


def _schema(wanted: _Format | None) -> dict[str, Json] | None:
    match wanted:
        case None | _Format(type="text"):
            return None
        case _Format(type="json_object"):
            return ANY_OBJECT
        case _Format(type="json_schema", schema=dict() as schema):
            return schema
        case _Format(type="json_schema"):
            raise InvalidRequest("text.format.schema", "it is missing")
        case _:
            raise InvalidRequest("text.format.type", "expected text, json_object or json_schema")

"""
OpenAI's Responses API over the pool: ``/v1/responses``, stateless.

Nothing is kept: ``store`` is answered with false whatever it asks, and what would need a kept response is refused.
Items become turns; what models thought earlier is not sent to them again. Tools of other types than ``function`` are
told in ``llm_pool.ignored``, so that programs which always offer some (Codex) are answered without them.

Source: https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Query, Tool, ToolCall, Turn
from llm_pool.engine import ANY_OBJECT
from llm_pool.server.chat import reject_unsupported, turn
from llm_pool.server.chat_route import add_chat_route
from llm_pool.server.image_parts import image_at
from llm_pool.server.last_word import last_word
from llm_pool.server.openai_words import error_shape, project_of, think_of_effort
from llm_pool.server.openapi_foreign import EVENTS, ForeignOperation
from llm_pool.server.queries import decode
from llm_pool.server.responses_encoder import ResponseEncoder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llm_pool.core.messages import Json
    from llm_pool.engine import PoolManager
    from llm_pool.server.chat import Model
    from llm_pool.server.middleware import AccessControl
    from llm_pool.server.routing import Routes

PATH = "/v1/responses"
STATELESS = "responses are not kept: send the whole conversation"
UNSUPPORTED = {
    "previous_response_id": STATELESS,
    "conversation": STATELESS,
    "background": STATELESS,
}
"""Fields that ask for what cannot be had, and why."""
FIELDS = {
    "prompt": "input",
    "turns": "input",
    "max_tokens": "max_output_tokens",
    "output_schema": "text.format.schema",
    "think": "reasoning.effort",
    "strategy": "model",
    "task": "model",
    "project_id": "OpenAI-Project",
}
"""Where the fields of a query stand in a body."""
TEXTS = frozenset({"input_text", "output_text", "text"})
CHOICES = frozenset({"auto", "none", "required"})


class _Part(msgspec.Struct, frozen=True):
    type: str
    text: str = ""
    refusal: str = ""
    image_url: str | None = None


class _Item(msgspec.Struct, frozen=True, kw_only=True):
    """An item of the input, of any type; the fields of one are empty in the others."""

    type: str = "message"
    role: str = ""
    content: str | list[_Part] | None = None
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    output: str | list[_Part] = ""


class _Tool(msgspec.Struct, frozen=True):
    type: str
    name: str = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None


class _Choice(msgspec.Struct, frozen=True):
    type: str
    name: str = ""
    mode: str = "auto"
    tools: list[dict[str, Any]] = []


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
    input: str | list[_Item]
    instructions: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    stream: bool | None = None
    text: _Text | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | _Choice | None = None
    parallel_tool_calls: bool | None = None
    reasoning: _Reasoning | None = None
    metadata: dict[str, str] | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    background: bool | None = None
    prompt: Any = None
    store: bool | None = None

    @property
    def left_out(self) -> list[str]:
        """Parts of served fields that change nothing: tools that are no functions, and the like."""
        foreign = [f"tools.{tool.type}" for tool in self.tools or () if tool.type != "function"]
        told = [*dict.fromkeys(foreign), *(["text.verbosity"] if self.text and self.text.verbosity else [])]
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
    return ResponseEncoder(body.model, [*ignored, *body.left_out], decode(sent, dict[str, Any]))


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
    turns += _turns([_Item(role="user", content=body.input)] if isinstance(body.input, str) else body.input)
    asked, choice = last_word(turns, "input"), _choice(body.tool_choice)
    return Query(
        prompt=asked.prompt,
        images=asked.images,
        turns=asked.turns,
        task=model.task,
        strategy=model.strategy,
        providers=model.providers,
        project_id=project,
        max_tokens=body.max_output_tokens,
        temperature=body.temperature,
        output_schema=_schema(None if body.text is None else body.text.format),
        tools=tuple(_tools(body)),
        tool_choice=choice,
        parallel_tool_calls=body.parallel_tool_calls is not False,
        think=think_of_effort(None if body.reasoning is None else body.reasoning.effort, "reasoning.effort"),
        meta=body.metadata or {},
    )


def _turns(items: list[_Item]) -> list[Turn]:
    """The turns in *items*; the calls of one answer are one turn, with the text before them."""
    turns: list[Turn] = []
    for at, item in enumerate(items):
        match item.type:
            case "message":
                turns.append(_said(item, f"input[{at}]"))
            case "function_call":
                before = turns.pop() if turns and turns[-1].role == "assistant" else Turn("assistant", "")
                call = ToolCall(item.call_id, item.name, item.arguments)
                turns.append(msgspec.structs.replace(before, tool_calls=(*before.tool_calls, call)))
            case "function_call_output":
                turns.append(Turn("tool", _text(item.output, f"input[{at}].output"), tool_call_id=item.call_id))
            case "reasoning":
                pass
            case "item_reference":
                raise InvalidRequest(f"input[{at}]", STATELESS)
            case kind:
                raise InvalidRequest(f"input[{at}].type", f"no item of type '{kind[:40]}' is read here")
    return turns


def _said(item: _Item, place: str) -> Turn:
    parts = item.content if isinstance(item.content, list) else [_Part("input_text", item.content or "")]
    pictures = [part for part in parts if part.type == "input_image"]
    if item.role == "tool":
        raise InvalidRequest(
            f"{place}.role", "expected system, user or assistant; results are of type function_call_output"
        )
    said = turn(item.role, _text([part for part in parts if part not in pictures], f"{place}.content"), place)
    if pictures and said.role != "user":
        raise InvalidRequest(f"{place}.content", f"no picture is read from the {said.role} here")
    images = tuple(image_at(part.image_url or "", f"{place}.content") for part in pictures)
    return msgspec.structs.replace(said, images=images)


def _text(content: str | list[_Part], place: str) -> str:
    if isinstance(content, str):
        return content
    for part in content:
        if part.type not in TEXTS | {"refusal"}:
            raise InvalidRequest(place, f"no part of type '{part.type[:40]}' is read here")
    return "\n".join(part.refusal or part.text for part in content)


def _tools(body: ResponsesBody) -> Iterator[Tool]:
    choice = body.tool_choice
    allowed = None
    if isinstance(choice, _Choice) and choice.type == "allowed_tools":
        allowed = {tool.get("name") for tool in choice.tools}
    for at, tool in enumerate(body.tools or ()):
        if tool.type != "function" or (allowed is not None and tool.name not in allowed):
            continue
        if not tool.name:
            raise InvalidRequest(f"tools[{at}].name", "it is missing")
        schema: dict[str, Json] = tool.parameters or {"type": "object"}
        yield Tool(tool.name, tool.description or "", schema)


def _choice(choice: str | _Choice | None) -> str:
    if isinstance(choice, _Choice):
        if choice.type == "function" and choice.name:
            return choice.name
        if choice.type != "allowed_tools":
            raise InvalidRequest("tool_choice.type", f"expected function or allowed_tools, got '{choice.type[:40]}'")
        choice = choice.mode
    if choice is not None and choice not in CHOICES:
        raise InvalidRequest("tool_choice", f"expected auto, none, required or a function, got '{choice[:40]}'")
    return choice or "auto"


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

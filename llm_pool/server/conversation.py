"""
The parts of a conversation as our own HTTP API takes them: turns, tools, calls, pictures.

They have the fields of ``core.messages``, and documentation. A field nobody knows is an error, as everywhere.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import msgspec

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Image, Tool, ToolCall, Turn
from llm_pool.server.image_parts import MEDIA_TYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

ROLES = frozenset({"system", "user", "assistant", "tool"})


def _doc(description: str, *examples: Any) -> msgspec.Meta:
    return msgspec.Meta(description=description, examples=list(examples) or None)


class ImageBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A picture."""

    media_type: Annotated[str, _doc("image/png, image/jpeg, image/webp or image/gif.", "image/png")]
    data: Annotated[str, _doc("Its bytes in base64.")]


class ToolCallBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model's wish that a tool be called."""

    id: Annotated[str, _doc("The turn with its result names it.", "call_1")]
    name: str
    arguments: Annotated[str, _doc("The JSON of an object, as text.", '{"city": "Rome"}')]


class ToolBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A function that the models may call instead of answering."""

    name: Annotated[str, _doc("Up to 128 of a-z, 0-9, _ . : / -.", "get_weather")]
    description: Annotated[str | None, _doc("What it does, for the models to read.")] = None
    parameters: Annotated[dict[str, Any] | None, _doc("JSON Schema of its arguments, an object.")] = None


class TurnBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing said earlier in the conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    tool_calls: Annotated[list[ToolCallBody] | None, _doc("Of an assistant's turn: what it wanted called.")] = None
    tool_call_id: Annotated[str | None, _doc("Of a tool's turn: the call whose result the text is.")] = None
    images: Annotated[list[ImageBody] | None, _doc("Of a user's turn.")] = None


Turns: TypeAlias = "tuple[Turn, ...]"


def turns_of(bodies: Sequence[TurnBody] | None) -> Turns:
    """Turns of a conversation."""
    return tuple(
        Turn(
            body.role,
            body.text,
            tuple(ToolCall(call.id, call.name, call.arguments) for call in body.tool_calls or ()),
            body.tool_call_id or "",
            images_of(body.images),
        )
        for body in bodies or ()
    )


def tools_of(bodies: Sequence[ToolBody] | None) -> tuple[Tool, ...]:
    """Tools of a request."""
    return tuple(Tool(body.name, body.description or "", body.parameters or {}) for body in bodies or ())


def images_of(bodies: Sequence[ImageBody] | None) -> tuple[Image, ...]:
    """Pictures of a request."""
    return tuple(Image(body.media_type, body.data) for body in bodies or ())


def check_images(images: Sequence[Image], place: str) -> None:
    """Raise InvalidRequest for one of *images*, which are at *place*, that is none."""
    for at, image in enumerate(images):
        if image.media_type not in MEDIA_TYPES:
            known = ", ".join(sorted(MEDIA_TYPES))
            raise InvalidRequest(f"{place}[{at}].media_type", f"expected one of {known}, got '{image.media_type[:40]}'")
        try:
            base64.b64decode(image.data, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidRequest(f"{place}[{at}].data", "it is no base64") from None

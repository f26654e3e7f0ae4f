"""
Messages of Anthropic's API, as turns: a result of a tool is a turn by itself, before what is said beside it.

Text, pictures, documents of text and results of searches are read. What the models thought earlier is not sent to them
again; what tools did that Anthropic runs cannot be, and is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import ToolCall, Turn
from llm_pool.server.image_parts import image_from

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from llm_pool.core.messages import Image

THOUGHTS = frozenset({"thinking", "redacted_thinking"})
SAID = frozenset({"text", "image", "document", "search_result"})
"""Types of blocks that say something to the model, wherever they stand."""


class Source(msgspec.Struct, frozen=True):
    """Where the bytes of a picture are, or the text of a document."""

    type: str
    data: str = ""
    content: str | list[Block] = ""


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A part of what is said, of any type; the fields of one are empty in the others."""

    type: str
    text: str = ""
    source: Source | str | None = None
    title: str | None = None
    context: str | None = None
    id: str = ""
    name: str = ""
    input: dict[str, Any] = {}
    tool_use_id: str = ""
    tool_name: str = ""
    is_error: bool | None = None
    content: Any = None


class Message(msgspec.Struct, frozen=True):
    """Something that was said."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class _Said(NamedTuple):
    text: str
    images: tuple[Image, ...] = ()


def turns_of(message: Message, place: str) -> Iterator[Turn]:
    """The turns in *message*, at *place*; raises InvalidRequest, which names the block."""
    blocks = [Block(type="text", text=message.content)] if isinstance(message.content, str) else message.content
    said: list[_Said] = []
    calls: list[ToolCall] = []
    for at, block in enumerate(blocks):
        where = f"{place}[{at}]"
        match block.type:
            case "tool_use" if message.role == "assistant":
                calls.append(ToolCall(block.id, block.name, msgspec.json.encode(block.input).decode()))
            case "tool_result" if message.role == "user":
                yield _result(block, where)
            case kind if kind in SAID and (kind != "image" or message.role == "user"):
                said.append(_said(block, where))
            case kind if message.role == "user" and kind not in THOUGHTS:
                raise InvalidRequest(f"{where}.type", f"no {kind[:40]} is read from the {message.role} here")
            case _:
                pass
    if said or calls:
        everything = _joined(said)
        yield Turn(message.role, everything.text, tuple(calls), images=everything.images)


def left_out(messages: Iterable[Message]) -> list[str]:
    """Types of blocks of the assistant that are not read, each once."""
    read = SAID - {"image"} | THOUGHTS | {"tool_use"}
    blocks = [
        block for one in messages if one.role == "assistant" and isinstance(one.content, list) for block in one.content
    ]
    return list(dict.fromkeys(f"messages.{block.type}" for block in blocks if block.type not in read))


def text_of(content: str | Sequence[Block], place: str) -> str:
    """The text of *content*, which has nothing else; raises InvalidRequest."""
    if isinstance(content, str):
        return content
    for block in content:
        if block.type != "text":
            raise InvalidRequest(place, f"only blocks of type text are read here, got '{block.type[:40]}'")
    return "\n".join(block.text for block in content)


def _result(block: Block, place: str) -> Turn:
    """What a tool gave; that it failed is said, as models know of no other sign."""
    said = _content(block.content, place)
    text = f"Error: {said.text}".rstrip() if block.is_error else said.text
    return Turn("tool", text, tool_call_id=block.tool_use_id, images=said.images)


def _content(content: Any, place: str) -> _Said:
    """What *content* says, text or a list of blocks."""
    if content is None or isinstance(content, str):
        return _Said(content or "")
    try:
        blocks = msgspec.convert(content, list[Block])
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{place}.content", f"expected text or blocks: {error}") from None
    return _joined([_said(inner, f"{place}.content[{at}]") for at, inner in enumerate(blocks)])


def _said(block: Block, place: str) -> _Said:
    match block.type:
        case "text":
            return _Said(block.text)
        case "image":
            return _Said("", (_image(block, place),))
        case "document":
            return _document(block, place)
        case "search_result":
            heading = [text for text in (block.title, block.source) if isinstance(text, str) and text]
            return _joined([*map(_Said, heading), _content(block.content, place)])
        case "tool_reference":
            return _Said(block.tool_name)
        case kind:
            raise InvalidRequest(f"{place}.type", f"no {kind[:40]} is read here")


def _document(block: Block, place: str) -> _Said:
    heading = [_Said(text) for text in (block.title, block.context) if text]
    match block.source:
        case Source(type="text", data=text):
            return _joined([*heading, _Said(text)])
        case Source(type="content", content=content):
            return _joined([*heading, _content(msgspec.to_builtins(content), f"{place}.source")])
        case _:
            raise InvalidRequest(f"{place}.source", "only documents of text are read here", hint="send their text")


def _image(block: Block, place: str) -> Image:
    if not isinstance(block.source, Source) or block.source.type != "base64":
        raise InvalidRequest(f"{place}.source", "expected base64: no address is fetched", hint="send the bytes")
    return image_from(block.source.data, f"{place}.source")


def _joined(said: Sequence[_Said]) -> _Said:
    pictures = tuple(image for one in said for image in one.images)
    return _Said("\n".join(one.text for one in said if one.text or not one.images), pictures)

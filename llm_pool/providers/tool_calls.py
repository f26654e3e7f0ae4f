r"""
Calls of tools on the wire: how servers are told of tools, and from the pieces they write to numbered calls.

::

    {"index": 0, "id": "c1", "function": {"name": "now", "arguments": ""}} ─▶ ToolCallDelta(0, "c1", "now", "")
    {"index": 0, "function": {"arguments": "{\"zone\":"}}                 ─▶ ToolCallDelta(0, arguments="{\"zone\":")
    {"index": 0, "function": {"arguments": "\"UTC\"}"}}                   ─▶ ToolCallDelta(0, arguments="\"UTC\"}")

Servers differ: an index may be missing, or be 0 for every call; an id may be missing; arguments may be an object, null,
or come whole. Nothing here looks into the arguments: whether they are whole is for ``reading.tool_calls`` to say.

Sources: OpenAI's API reference, chat; Ollama, api/types.go; vLLM, entrypoints/openai; llama.cpp, docs/function-calling.
"""

from __future__ import annotations

import uuid
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import msgspec

from llm_pool.core.messages import ToolCallDelta
from llm_pool.providers.json_values import WholeCharacters, list_of, object_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from llm_pool.core.messages import Json, Tool

MAX_CALLS: Final = 128
"""Calls of one answer; as many tools as OpenAI takes."""


class CallPiece(msgspec.Struct, frozen=True):
    """
    A piece of a call as a server writes it.

    Attributes:
        index: the server's own number for the call; None where it gives none.
        is_whole: nothing of this call comes before or after it.
    """

    index: int | None = None
    id: str = ""
    name: str = ""
    arguments: str = ""
    is_whole: bool = False


def tools_json(tools: Sequence[Tool]) -> list[dict[str, Json]]:
    """*tools* as OpenAI's API and Ollama's take them."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
        for tool in tools
    ]


def call_pieces(said: Mapping[str, Json], *, are_whole: bool) -> tuple[CallPiece, ...]:
    """The pieces in *said*, a message or what is added to one; OpenAI's older ``function_call`` too."""
    if not ("tool_calls" in said or "function_call" in said):
        return ()
    pieces = [_piece(object_of(entry), are_whole=are_whole) for entry in list_of(said.get("tool_calls"))]
    if isinstance(legacy := said.get("function_call"), dict) and not pieces:
        pieces.append(_piece({"index": 0, "function": legacy}, are_whole=are_whole))
    return tuple(piece for piece in pieces if piece.id or piece.name or piece.arguments)


def _piece(entry: Mapping[str, Json], *, are_whole: bool) -> CallPiece:
    function, index, given = object_of(entry.get("function")), entry.get("index"), entry.get("id")
    name = function.get("name")
    return CallPiece(
        index=index if isinstance(index, int) and not isinstance(index, bool) else None,
        id=given if isinstance(given, str) else "",
        name=name if isinstance(name, str) else "",
        arguments=_arguments(function.get("arguments")),
        is_whole=are_whole,
    )


def _arguments(value: Json) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


class ToolCallStream:
    """The calls of one answer, as their pieces come."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._numbers = count()

    def __bool__(self) -> bool:
        return bool(self._calls)

    def feed(self, piece: CallPiece) -> ToolCallDelta | None:
        """
        What *piece* adds; None while the name of its call is not known.

        Raises:
            ValueError: there are more calls than MAX_CALLS.
        """
        return self._call_of(piece).add(piece)

    def close(self) -> tuple[ToolCallDelta, ...]:
        """
        What is still to be added: ``{}`` for the arguments of a call that has none.

        Raises:
            ValueError: a call has no name.
        """
        return tuple(delta for call in self._calls if (delta := call.close()) is not None)

    def _call_of(self, piece: CallPiece) -> _Call:
        found: _Call | None = None
        if not piece.is_whole:
            found = self._known(piece)
        if found is None:
            found = self._begin(piece)
        if piece.index is not None:
            self._by_index[piece.index] = found
        return found

    def _known(self, piece: CallPiece) -> _Call | None:
        if piece.index is not None:
            call = self._by_index.get(piece.index)
            return None if call is None or call.is_other(piece) else call
        if piece.id:
            return next((call for call in self._calls if call.given_id == piece.id), None)
        return None if piece.name or not self._calls else self._calls[-1]

    def _begin(self, piece: CallPiece) -> _Call:
        if len(self._calls) == MAX_CALLS:
            raise ValueError(f"it calls more than {MAX_CALLS} tools at once")
        taken = {call.id for call in self._calls}
        call_id = piece.id if piece.id and piece.id not in taken else _new_id()
        call = _Call(self._numbers, call_id, piece.id)
        self._calls.append(call)
        return call


class _Call:
    """One call: what is known of it, and what waits for its name."""

    def __init__(self, numbers: Iterator[int], id: str, given_id: str) -> None:  # noqa: A002 -- as on the wire
        self.id, self.given_id = id, given_id
        self._numbers, self._index = numbers, -1
        self._name, self._held = "", ""
        self._has_arguments = self._is_told = False
        self._characters = WholeCharacters()

    def is_other(self, piece: CallPiece) -> bool:
        """Whether *piece* begins another call under the same index, as some servers number all of them 0."""
        another_id = bool(piece.id and self.given_id and piece.id != self.given_id)
        return bool(piece.name) and (another_id or bool(self._name and piece.name != self._name))

    def add(self, piece: CallPiece) -> ToolCallDelta | None:
        self._name = self._name or piece.name
        arguments = self._held + self._characters.feed(piece.arguments)
        self._has_arguments |= bool(arguments.strip())
        if not self._name:
            self._held = arguments
            return None
        self._held = ""
        return self._told(arguments)

    def close(self) -> ToolCallDelta | None:
        if not self._name:
            raise ValueError("it calls a tool without a name")
        rest = self._characters.finish() or ("" if self._has_arguments else "{}")
        return self._told(rest) if rest else None

    def _told(self, arguments: str) -> ToolCallDelta | None:
        if self._is_told:
            return ToolCallDelta(self._index, arguments=arguments) if arguments else None
        self._is_told, self._index = True, next(self._numbers)  # a call is numbered once its name is known
        return ToolCallDelta(self._index, self.id, self._name, arguments)


def _new_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"


def openai_choice(choice: str) -> Any:
    """OpenAI's ``tool_choice`` for *choice*: a word, or the object that names a tool."""
    return choice if choice in {"auto", "none", "required"} else {"type": "function", "function": {"name": choice}}

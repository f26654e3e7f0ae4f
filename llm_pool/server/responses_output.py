"""
Items of a response, as OpenAI's Responses API has them: a message, what was thought, calls of tools.

Each knows itself begun and done, and the events of its own between ``output_item.added`` and ``output_item.done``:
kinds without ``response.``, and fields without the item's place.
"""

from __future__ import annotations

import uuid
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, TypeAlias

from llm_pool.server.responses_tools import input_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from llm_pool.core.messages import Json
    from llm_pool.server.responses_tools import OfferedTool

    Event: TypeAlias = tuple[str, dict[str, Json]]


class OutputItem(Protocol):
    """An item that is written piece by piece."""

    id: str

    def begun(self) -> dict[str, Json]:
        """The item without a word."""

    def opening(self) -> Iterator[Event]:
        """What follows its beginning."""

    def add(self, text: str) -> Iterator[Event]:
        """One more piece."""

    def closing(self) -> Iterator[Event]:
        """What comes before its end."""

    def done(self) -> dict[str, Json]:
        """The item with all that was added."""


class _TextItem:
    """An item of text, and the words of its events."""

    part: str
    event: str
    index: str
    extra: Mapping[str, Json] = MappingProxyType({})
    prefix: str

    def __init__(self, text: str = "") -> None:
        self.id, self._pieces = new_id(self.prefix), [text]

    @staticmethod
    def part_of(text: str) -> dict[str, Json]:
        """Its part."""
        raise NotImplementedError

    def begun(self) -> dict[str, Json]:
        raise NotImplementedError

    def opening(self) -> Iterator[Event]:
        yield f"{self.part}.added", {self.index: 0, "part": self.part_of("")}

    def add(self, text: str) -> Iterator[Event]:
        self._pieces.append(text)
        if text:
            yield f"{self.event}.delta", {self.index: 0, "delta": text, **self.extra}

    def closing(self) -> Iterator[Event]:
        yield f"{self.event}.done", {self.index: 0, "text": self.text, **self.extra}
        yield f"{self.part}.done", {self.index: 0, "part": self.part_of(self.text)}

    @property
    def text(self) -> str:
        """What was added so far."""
        return "".join(self._pieces)


class MessageItem(_TextItem):
    """What is said."""

    part, event, index, prefix = "content_part", "output_text", "content_index", "msg"
    extra = MappingProxyType({"logprobs": []})

    @staticmethod
    def part_of(text: str) -> dict[str, Json]:
        """Its part."""
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def begun(self) -> dict[str, Json]:
        """Without a word."""
        return {"id": self.id, "type": "message", "status": "in_progress", "role": "assistant", "content": []}

    def done(self) -> dict[str, Json]:
        """With all that was added."""
        return {**self.begun(), "status": "completed", "content": [self.part_of(self.text)]}


class ReasoningItem(_TextItem):
    """What is thought: in the summary, where clients look for what they show."""

    part, event, index, prefix = "reasoning_summary_part", "reasoning_summary_text", "summary_index", "rs"

    @staticmethod
    def part_of(text: str) -> dict[str, Json]:
        """Its part."""
        return {"type": "summary_text", "text": text}

    def begun(self) -> dict[str, Json]:
        """Without a word."""
        return {"id": self.id, "type": "reasoning", "summary": []}

    def done(self) -> dict[str, Json]:
        """With all that was added."""
        return {**self.begun(), "summary": [self.part_of(self.text)]}


class _FunctionCall:
    """A call of a function."""

    def __init__(self, call_id: str, tool: OfferedTool, arguments: str = "") -> None:
        self.id, self._call_id, self._tool, self._pieces = new_id("fc"), call_id, tool, [arguments]

    @property
    def arguments(self) -> str:
        """What was added so far."""
        return "".join(self._pieces)

    def begun(self) -> dict[str, Json]:
        return {**self._head("function_call"), "status": "in_progress", "arguments": ""}

    def opening(self) -> Iterator[Event]:
        yield from ()

    def add(self, text: str) -> Iterator[Event]:
        self._pieces.append(text)
        if text:
            yield "function_call_arguments.delta", {"delta": text}

    def closing(self) -> Iterator[Event]:
        yield "function_call_arguments.done", {"name": self._tool.name, "arguments": self.arguments}

    def done(self) -> dict[str, Json]:
        return {**self.begun(), "status": "completed", "arguments": self.arguments}

    def _head(self, kind: str) -> dict[str, Json]:
        within = {"namespace": self._tool.namespace} if self._tool.namespace else {}
        return {"id": self.id, "type": kind, "call_id": self._call_id, "name": self._tool.name, **within}


class _CustomCall(_FunctionCall):
    """A call of a tool that takes text: told once its arguments are whole, since the text is within them."""

    def begun(self) -> dict[str, Json]:
        return {**self._head("custom_tool_call"), "input": ""}

    def add(self, text: str) -> Iterator[Event]:
        self._pieces.append(text)
        yield from ()

    def closing(self) -> Iterator[Event]:
        text = input_of(self.arguments)
        if text:
            yield "custom_tool_call_input.delta", {"delta": text}
        yield "custom_tool_call_input.done", {"input": text}

    def done(self) -> dict[str, Json]:
        return {**self.begun(), "input": input_of(self.arguments)}


def call_item(call_id: str, tool: OfferedTool, arguments: str = "") -> OutputItem:
    """The item for a call of *tool*."""
    return (_CustomCall if tool.takes_text else _FunctionCall)(call_id, tool, arguments)


def new_id(prefix: str) -> str:
    """An id as OpenAI's are: what it is of, and letters."""
    return f"{prefix}_{uuid.uuid4().hex}"

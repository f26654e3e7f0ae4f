"""
An answer in the words of OpenAI's Responses API: one object of items, or the events in which they come to be.

::

    created ─▶ in_progress ─▶ [item added ─▶ part added ─▶ delta… ─▶ text done ─▶ part done ─▶ item done]… ─▶ completed
                                                                               incomplete, failed: instead ◀──┘

What a model thinks is an item of type ``reasoning``, its text in ``summary``, where clients look for what they show.
"""

from __future__ import annotations

import time
import uuid
from types import MappingProxyType
from typing import TYPE_CHECKING

from llm_pool.core.messages import ToolCall
from llm_pool.server.chat import decision_details, finish, thinking_of
from llm_pool.server.openai_words import error_shape
from llm_pool.server.sse import CONTENT_TYPE, PING, encode
from llm_pool.server.status import status_of
from llm_pool.wire.json import error_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_pool.core.errors import LlmPoolError
    from llm_pool.core.messages import Answer, Json, ToolCallDelta
    from llm_pool.server.chat import StreamEnd

ECHOED: dict[str, Json] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
}
"""Fields of the request that the response repeats, and what stands there where the request has none."""


CODES = {429: "rate_limit_exceeded"}
"""OpenAI's few words for why a response failed; any other is a ``server_error``."""


class ResponseEncoder:
    """
    What one request is told.

    Args:
        model: by the name it was asked for.
        ignored: what was asked for in vain.
        request: the body, for the fields that are repeated.
    """

    content_type = CONTENT_TYPE

    def __init__(self, model: str, ignored: Sequence[str], request: Mapping[str, Json]) -> None:
        self._ignored = ignored
        echoed = {name: default if request.get(name) is None else request[name] for name, default in ECHOED.items()}
        self._head: dict[str, Json] = {
            "id": _id("resp"),
            "object": "response",
            "created_at": int(time.time()),
            "model": model,
            "store": False,
            "background": False,
            "previous_response_id": None,
            "truncation": "disabled",
            **echoed,
        }
        self._sequence = 0
        self._output: list[dict[str, Json]] = []
        self._open: _TextItem | None = None
        self._call: _Call | None = None
        self._late: list[str] = []  # text that came after a call was begun: items come one after the other

    def whole(self, answer: Answer) -> dict[str, Json]:
        """The answer in one piece."""
        thinking, calls = thinking_of(answer), answer.tool_calls
        items = [_Reasoning(thinking).done()] if thinking else []
        items += [_Message(answer.content).done()] if answer.content or not calls else []
        return self._ended(answer, [*items, *(_Call().item(call, call.arguments, "completed") for call in calls)])

    def opening(self) -> bytes:
        """The response, without a word yet."""
        response = {**self._head, **_state("in_progress"), "output": [], "usage": None}
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def piece(self, text: str) -> bytes:
        """A piece of text, in the item for it."""
        if self._call is not None:
            self._late.append(text)
            return b""
        return self._write(_Message, text)

    def thought(self, text: str) -> bytes:
        """A piece of thought, likewise; none after a call."""
        return b"" if self._call is not None else self._write(_Reasoning, text)

    def called(self, piece: ToolCallDelta) -> bytes:
        """A piece of the first call. The others wait for its end, as items come one after the other."""
        if piece.index:
            return b""
        output = b"" if self._call else self._begin_call(ToolCall(piece.id, piece.name, ""))
        return output + self._add_arguments(piece.arguments)

    def heartbeat(self) -> bytes:
        """A comment."""
        return PING

    def ending(self, end: StreamEnd) -> bytes:
        """The rest of the text, the calls, and the response with everything in it."""
        answer = end.answer
        output = self.piece(end.rest) if end.rest else b""
        output += self._close()
        if not self._output and not answer.tool_calls:
            output += self.piece("") + self._close()
        for at, call in enumerate(answer.tool_calls):
            if at or self._call is None:
                output += self._begin_call(call)
            output += self._end_call(call)
        if self._late:
            output += self._write(_Message, "".join(self._late)) + self._close()
        response = self._ended(answer, self._output)
        return output + self._event(f"response.{response['status']}", response=response)

    def failed(self, error: LlmPoolError) -> bytes:
        """The response that failed; nothing comes after it."""
        status = status_of(error).http
        said = error_shape(status, error_json(error))["error"]
        told = {"code": CODES.get(status, "server_error"), "message": said["message"]}
        response = {**self._head, **_state("failed", error=told), "output": self._output, "usage": None}
        return self._event("response.failed", response=response)

    def _write(self, kind: type[_TextItem], text: str) -> bytes:
        output = b""
        if not isinstance(self._open, kind):
            output = self._close()
            self._open = kind()
            output += self._item_event("added", self._open.begun())
            output += self._part_event(f"{kind.part}.added", part=kind.part_of(""))
        self._open.text.append(text)
        return output + (self._part_event(f"{kind.event}.delta", delta=text, **kind.extra) if text else b"")

    def _close(self) -> bytes:
        """The end of the item that is open."""
        item, self._open = self._open, None
        if item is None:
            return b""
        self._open, text = item, "".join(item.text)
        output = self._part_event(f"{item.event}.done", text=text, **item.extra)
        output += self._part_event(f"{item.part}.done", part=item.part_of(text))
        self._open = None
        return output + self._finished(item.done())

    def _begin_call(self, call: ToolCall) -> bytes:
        output = self._close()
        self._call = _Call()
        return output + self._item_event("added", self._call.item(call, "", "in_progress"))

    def _add_arguments(self, text: str) -> bytes:
        assert self._call is not None
        self._call.told += len(text)
        return self._call_event("delta", delta=text) if text else b""

    def _end_call(self, call: ToolCall) -> bytes:
        """The rest of *call*, which was begun, and its end."""
        assert self._call is not None
        output = self._add_arguments(call.arguments[self._call.told :])
        output += self._call_event("done", name=call.name, arguments=call.arguments)
        return output + self._finished(self._call.item(call, call.arguments, "completed"))

    def _call_event(self, what: str, **fields: Json) -> bytes:
        assert self._call is not None
        place = {"item_id": self._call.id, "output_index": len(self._output)}
        return self._event(f"response.function_call_arguments.{what}", **place, **fields)

    def _finished(self, item: dict[str, Json]) -> bytes:
        output = self._item_event("done", item)
        self._output.append(item)
        return output

    def _item_event(self, what: str, item: dict[str, Json]) -> bytes:
        return self._event(f"response.output_item.{what}", output_index=len(self._output), item=item)

    def _part_event(self, name: str, **fields: Json) -> bytes:
        assert self._open is not None
        place = {"item_id": self._open.id, "output_index": len(self._output), self._open.index: 0}
        return self._event(f"response.{name}", **place, **fields)

    def _event(self, kind: str, **fields: Json) -> bytes:
        sequence, self._sequence = self._sequence, self._sequence + 1
        return encode(kind, {"type": kind, "sequence_number": sequence, **fields})

    def _ended(self, answer: Answer, output: list[dict[str, Json]]) -> dict[str, Json]:
        is_whole = answer.finish == "tool_calls" or finish(answer) == "stop"
        state = _state("completed") if is_whole else _state("incomplete", details={"reason": "max_output_tokens"})
        ours = decision_details(answer, self._ignored)
        return {**self._head, **state, "output": output, "usage": _usage(answer), "llm_pool": ours}


class _TextItem:
    """An item that is written piece by piece, and the words of its events."""

    part: str
    event: str
    index: str
    extra: Mapping[str, Json] = MappingProxyType({})
    prefix: str

    def __init__(self, text: str = "") -> None:
        self.id, self.text = _id(self.prefix), [text]

    @staticmethod
    def part_of(text: str) -> dict[str, Json]:
        """Its part."""
        raise NotImplementedError

    def begun(self) -> dict[str, Json]:
        """The item without a word."""
        raise NotImplementedError

    def done(self) -> dict[str, Json]:
        """The item with all its text."""
        raise NotImplementedError


class _Message(_TextItem):
    part, event, index, prefix = "content_part", "output_text", "content_index", "msg"
    extra = MappingProxyType({"logprobs": []})

    @staticmethod
    def part_of(text: str) -> dict[str, Json]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def begun(self) -> dict[str, Json]:
        return {"id": self.id, "type": "message", "status": "in_progress", "role": "assistant", "content": []}

    def done(self) -> dict[str, Json]:
        return {**self.begun(), "status": "completed", "content": [self.part_of("".join(self.text))]}


class _Reasoning(_TextItem):
    part, event, index, prefix = "reasoning_summary_part", "reasoning_summary_text", "summary_index", "rs"

    @staticmethod
    def part_of(text: str) -> dict[str, Json]:
        return {"type": "summary_text", "text": text}

    def begun(self) -> dict[str, Json]:
        return {"id": self.id, "type": "reasoning", "summary": []}

    def done(self) -> dict[str, Json]:
        return {**self.begun(), "summary": [self.part_of("".join(self.text))]}


class _Call:
    """An item for a call, and how many characters of its arguments were told."""

    def __init__(self) -> None:
        self.id, self.told = _id("fc"), 0

    def item(self, call: ToolCall, arguments: str, status: str) -> dict[str, Json]:
        said = {"call_id": call.id, "name": call.name, "arguments": arguments}
        return {"id": self.id, "type": "function_call", "status": status, **said}


def _state(status: str, *, error: Json = None, details: Json = None) -> dict[str, Json]:
    return {"status": status, "error": error, "incomplete_details": details}


def _usage(answer: Answer) -> dict[str, Json]:
    """What the whole panel spent; a backend that does not count adds nothing, and none says what thinking took."""
    asked, output = answer.usage.prompt_tokens or 0, answer.usage.completion_tokens or 0
    return {
        "input_tokens": asked,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": asked + output,
    }


def _id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex}"

"""
An answer in the words of OpenAI's Responses API: one object of items, or the events in which they come to be.

::

    created ─▶ in_progress ─▶ [item added ─▶ part added ─▶ delta… ─▶ text done ─▶ part done ─▶ item done]… ─▶ completed
                                                                               incomplete, failed: instead ◀──┘

What a model thinks is an item of type ``reasoning``, its text in ``summary``, where clients look for what they show.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from llm_pool.core.messages import Tool
from llm_pool.server.call_order import CallsInOrder
from llm_pool.server.chat import decision_details, finish, thinking_of
from llm_pool.server.openai_words import error_shape
from llm_pool.server.responses_output import MessageItem, ReasoningItem, call_item, new_id
from llm_pool.server.responses_tools import OfferedTool
from llm_pool.server.sse import CONTENT_TYPE, PING, encode
from llm_pool.server.status import status_of
from llm_pool.wire.json import error_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from llm_pool.core.errors import LlmPoolError
    from llm_pool.core.messages import Answer, Json, ToolCallDelta
    from llm_pool.server.chat import StreamEnd
    from llm_pool.server.responses_output import OutputItem

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
        tools: that may be called.
    """

    content_type = CONTENT_TYPE

    def __init__(
        self, model: str, ignored: Sequence[str], request: Mapping[str, Json], tools: Sequence[OfferedTool] = ()
    ) -> None:
        self._ignored = ignored
        echoed = {name: default if request.get(name) is None else request[name] for name, default in ECHOED.items()}
        self._head: dict[str, Json] = {
            "id": new_id("resp"),
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
        self._open: OutputItem | None = None
        self._tools = {offered.tool.name: offered for offered in tools}
        self._calls = CallsInOrder()
        self._late: list[str] = []  # text that came after a call was begun: items come one after the other

    def whole(self, answer: Answer) -> dict[str, Json]:
        """The answer in one piece."""
        thinking, calls = thinking_of(answer), answer.tool_calls
        items: list[OutputItem] = [ReasoningItem(thinking)] if thinking else []
        items += [MessageItem(answer.content)] if answer.content or not calls else []
        items += [call_item(call.id, self._tool(call.name), call.arguments) for call in calls]
        return self._ended(answer, [item.done() for item in items])

    def opening(self) -> bytes:
        """The response, without a word yet."""
        response = {**self._head, **_state("in_progress"), "output": [], "usage": None}
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def piece(self, text: str) -> bytes:
        """A piece of text, in the item for it."""
        if self._calls.began:
            self._late.append(text)
            return b""
        return self._write(MessageItem, text)

    def thought(self, text: str) -> bytes:
        """A piece of thought, likewise; none after a call."""
        return b"" if self._calls.began else self._write(ReasoningItem, text)

    def called(self, piece: ToolCallDelta) -> bytes:
        """A piece of a call, in an item of its own."""
        return b"".join(map(self._write_call, self._calls.feed(piece)))

    def heartbeat(self) -> bytes:
        """A comment."""
        return PING

    def ending(self, end: StreamEnd) -> bytes:
        """The rest of the text, the calls, and the response with everything in it."""
        answer = end.answer
        output = self.piece(end.rest) if end.rest else b""
        output += b"".join(map(self._write_call, self._calls.rest(answer.tool_calls)))
        if self._late:
            output += self._write(MessageItem, "".join(self._late))
        if self._open is None:
            output += self._begin(MessageItem())
        output += self._close()
        response = self._ended(answer, self._output)
        return output + self._event(f"response.{response['status']}", response=response)

    def failed(self, error: LlmPoolError) -> bytes:
        """The response that failed; nothing comes after it."""
        status = status_of(error).http
        said = error_shape(status, error_json(error))["error"]
        told = {"code": CODES.get(status, "server_error"), "message": said["message"]}
        response = {**self._head, **_state("failed", error=told), "output": self._output, "usage": None}
        return self._event("response.failed", response=response)

    def _write(self, kind: type[MessageItem | ReasoningItem], text: str) -> bytes:
        output = b"" if isinstance(self._open, kind) else self._begin(kind())
        return output + self._add(text)

    def _write_call(self, piece: ToolCallDelta) -> bytes:
        output = self._begin(call_item(piece.id, self._tool(piece.name))) if piece.name else b""
        return output + self._add(piece.arguments)

    def _tool(self, name: str) -> OfferedTool:
        """The tool *name*; a model may call one that it was not shown, which is found at the end."""
        return self._tools.get(name) or OfferedTool(Tool(name), name)

    def _begin(self, item: OutputItem) -> bytes:
        """The end of the item that is open, and the beginning of another."""
        output, self._open = self._close(), item
        output += self._item_event("added", item.begun())
        return output + self._told(item.opening())

    def _add(self, text: str) -> bytes:
        assert self._open is not None
        return self._told(self._open.add(text))

    def _close(self) -> bytes:
        """The end of the item that is open."""
        if self._open is None:
            return b""
        output, done = self._told(self._open.closing()), self._open.done()
        output += self._item_event("done", done)
        self._output.append(done)
        self._open = None
        return output

    def _told(self, events: Iterable[tuple[str, dict[str, Json]]]) -> bytes:
        """*events* of the item that is open."""
        assert self._open is not None
        place = {"item_id": self._open.id, "output_index": len(self._output)}
        return b"".join(self._event(f"response.{kind}", **place, **fields) for kind, fields in events)

    def _item_event(self, what: str, item: dict[str, Json]) -> bytes:
        return self._event(f"response.output_item.{what}", output_index=len(self._output), item=item)

    def _event(self, kind: str, **fields: Json) -> bytes:
        sequence, self._sequence = self._sequence, self._sequence + 1
        return encode(kind, {"type": kind, "sequence_number": sequence, **fields})

    def _ended(self, answer: Answer, output: list[dict[str, Json]]) -> dict[str, Json]:
        is_whole = answer.finish == "tool_calls" or finish(answer) == "stop"
        state = _state("completed") if is_whole else _state("incomplete", details={"reason": "max_output_tokens"})
        ours = decision_details(answer, self._ignored)
        return {**self._head, **state, "output": output, "usage": _usage(answer), "llm_pool": ours}


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

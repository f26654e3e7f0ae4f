"""An answer in Anthropic's words: one message, or the events of its blocks."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import msgspec

from llm_pool.server.call_order import CallsInOrder
from llm_pool.server.chat import decision_details, thinking_of
from llm_pool.server.sse import CONTENT_TYPE, encode
from llm_pool.server.status import status_of
from llm_pool.wire.json import error_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_pool.core.errors import LlmPoolError
    from llm_pool.core.messages import Answer, Json, ToolCallDelta
    from llm_pool.server.chat import StreamEnd

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""Anthropic's word for a status; other 4xx are ``invalid_request_error``, 5xx ``api_error``."""
REASONS = {"stop": "end_turn", "tool_calls": "tool_use"}
"""Anthropic's words for why a message ends; any other end is ``max_tokens``."""


def error_shape(status: int, body: Mapping[str, Json]) -> dict[str, Json]:
    """*body*, from ``wire.error_json``, as Anthropic would say it under *status*."""
    error = body["error"]
    kind = TYPES.get(status) or ("api_error" if status >= 500 else "invalid_request_error")
    message = f"{error['message']} ({error['hint']})" if error.get("hint") else error["message"]
    return {"type": "error", "error": {"type": kind, "message": message}}


class MessageEncoder:
    """
    What one request is told.

    Args:
        model: by the name it was asked for.
        ignored: what was asked for in vain.
    """

    content_type = CONTENT_TYPE

    def __init__(self, model: str, ignored: Sequence[str]) -> None:
        self._model, self._ignored, self._id = model, ignored, f"msg_{uuid.uuid4().hex}"
        self._index, self._open = -1, ""
        self._calls = CallsInOrder()
        self._late: list[str] = []  # text that came after a call was begun: blocks come one after the other

    def whole(self, answer: Answer) -> dict[str, Json]:
        """The answer in one piece."""
        thinking, calls = thinking_of(answer), answer.tool_calls
        blocks = [_thinking(thinking)] if thinking else []
        blocks += [{"type": "text", "text": answer.content}] if answer.content or not calls else []
        blocks += [_tool_use(call.id, call.name, msgspec.json.decode(call.arguments)) for call in calls]
        return {**self._message(blocks), **_end(answer), "usage": _usage(answer), "llm_pool": self._ours(answer)}

    def opening(self) -> bytes:
        """The message, without a word yet."""
        usage = {"input_tokens": 0, "output_tokens": 0}
        message = {**self._message([]), "stop_reason": None, "stop_sequence": None, "usage": usage}
        return _event("message_start", {"message": message})

    def piece(self, text: str) -> bytes:
        """A piece of text, in a block of its own kind."""
        if self._calls.began:
            self._late.append(text)
            return b""
        return self._in_block({"type": "text", "text": ""}) + self._delta({"type": "text_delta", "text": text})

    def thought(self, text: str) -> bytes:
        """A piece of thought, likewise; none after a call."""
        if self._calls.began:
            return b""
        return self._in_block(_thinking("")) + self._delta({"type": "thinking_delta", "thinking": text})

    def called(self, piece: ToolCallDelta) -> bytes:
        """A piece of a call, in a block of its own."""
        return b"".join(map(self._call, self._calls.feed(piece)))

    def heartbeat(self) -> bytes:
        """A ping, as Anthropic sends them."""
        return _event("ping", {})

    def ending(self, end: StreamEnd) -> bytes:
        """The rest of the text, the calls, why the message ends and what it took."""
        output = self.piece(end.rest) if end.rest else b""
        output += b"".join(map(self._call, self._calls.rest(end.answer.tool_calls)))
        if self._late:
            output += self._in_block({"type": "text", "text": ""})
            output += self._delta({"type": "text_delta", "text": "".join(self._late)})
        if self._index < 0:
            output += self._in_block({"type": "text", "text": ""})
        delta = {"delta": _end(end.answer), "usage": _usage(end.answer), "llm_pool": self._ours(end.answer)}
        return output + self._close() + _event("message_delta", delta) + _event("message_stop", {})

    def failed(self, error: LlmPoolError) -> bytes:
        """An error; nothing comes after it."""
        return encode("error", error_shape(status_of(error).http, error_json(error)))

    def _call(self, piece: ToolCallDelta) -> bytes:
        output = self._close() + self._in_block(_tool_use(piece.id, piece.name, {})) if piece.name else b""
        written = {"type": "input_json_delta", "partial_json": piece.arguments}
        return output + (self._delta(written) if piece.arguments else b"")

    def _in_block(self, block: dict[str, Json]) -> bytes:
        """The begin of *block*, and the end of another before it; nothing where one of its kind is open."""
        if self._open == block["type"]:
            return b""
        closed = self._close()
        self._index, self._open = self._index + 1, block["type"]
        return closed + _event("content_block_start", {"index": self._index, "content_block": block})

    def _delta(self, delta: dict[str, Json]) -> bytes:
        return _event("content_block_delta", {"index": self._index, "delta": delta})

    def _close(self) -> bytes:
        kind, self._open = self._open, ""
        if not kind:
            return b""
        signed = self._delta({"type": "signature_delta", "signature": ""}) if kind == "thinking" else b""
        return signed + _event("content_block_stop", {"index": self._index})

    def _message(self, blocks: list[dict[str, Json]]) -> dict[str, Json]:
        return {"id": self._id, "type": "message", "role": "assistant", "model": self._model, "content": blocks}

    def _ours(self, answer: Answer) -> dict[str, Json]:
        return decision_details(answer, self._ignored)


def _thinking(text: str) -> dict[str, Json]:
    return {"type": "thinking", "thinking": text, "signature": ""}


def _tool_use(call_id: str, name: str, arguments: Json) -> dict[str, Json]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def _end(answer: Answer) -> dict[str, Json]:
    """Why it ends. Which stop text it was, backends do not say."""
    return {"stop_reason": REASONS.get(answer.finish, "max_tokens"), "stop_sequence": None}


def _usage(answer: Answer) -> dict[str, Json]:
    """What the whole panel spent; a backend that does not count adds nothing."""
    return {"input_tokens": answer.usage.prompt_tokens or 0, "output_tokens": answer.usage.completion_tokens or 0}


def _event(kind: str, fields: dict[str, Json]) -> bytes:
    return encode(kind, {"type": kind, **fields})

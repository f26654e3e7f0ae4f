"""
What one record of a stream says, in OpenAI's words and in Ollama's: also a whole completion, which is its only record.

Read for what it holds: a field that is null, missing, unknown or of another type takes nothing from the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from llm_pool.core.messages import Json, TokenLogprob, Usage
from llm_pool.providers.finishes import word_of
from llm_pool.providers.json_values import count_of, list_of, object_of, reasoning_of, text_of
from llm_pool.providers.tool_calls import CallPiece, call_pieces

if TYPE_CHECKING:
    from collections.abc import Mapping

_REASONING = ("reasoning_content", "reasoning", "thinking")
"""Fields of one meaning: some servers send two of them with the same text, so the first that says something counts."""


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a record says.

    Attributes:
        finish: the server's word on why the answer ends; empty while it goes on.
        done: nothing follows that matters.
        usage: None where the record does not count.
        loading: seconds the model took to load, where it says so.
        error: the server's words on what went wrong, in whatever shape; None where nothing did.
        tool_calls: pieces of calls.
    """

    text: str = ""
    reasoning: str = ""
    finish: str = ""
    done: bool = False
    usage: Usage | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    loading: float | None = None
    error: Json = None
    tool_calls: tuple[CallPiece, ...] = ()


ReadChunk: TypeAlias = Callable[[Json], Chunk]
"""Gives what a record, parsed, says."""


def openai_chunk(value: Json) -> Chunk:
    """
    A chunk or a whole of ``/v1/chat/completions`` or ``/v1/completions``.

    Sources: OpenAI's API; llama.cpp, tools/server; vLLM, entrypoints/openai; Ollama, openai/openai.go.
    """
    body = object_of(value)
    if (error := error_in(body, known=("choices", "usage"))) is not None:
        return Chunk(error=error)
    choice = _first(list_of(body.get("choices")))
    if (error := error_in(choice, known=("delta", "message", "text"))) is not None:
        return Chunk(error=error)
    delta, message = object_of(choice.get("delta")), choice.get("message")
    said = delta or object_of(message)
    content = said.get("content")
    return Chunk(
        text=text_of(content) or text_of(choice.get("text")),
        reasoning=_reasoning(said) or reasoning_of(content),
        finish=word_of(choice.get("finish_reason") or choice.get("finishReason")),  # the latter: Gemini
        done=isinstance(message, dict),
        usage=_usage(body.get("usage"), "prompt_tokens", "completion_tokens"),
        logprobs=_logprobs(object_of(choice.get("logprobs")).get("content")),
        tool_calls=call_pieces(said, are_whole=not delta),
    )


def ollama_chunk(value: Json) -> Chunk:
    """
    A line or a whole of ``/api/chat`` or ``/api/generate``; its durations are nanoseconds.

    Source: Ollama, api/types.go.
    """
    body = object_of(value)
    if (error := error_in(body, known=("response", "done"))) is not None:
        return Chunk(error=error)
    message = object_of(body.get("message"))
    content = message.get("content")
    loading = count_of(body.get("load_duration"))
    return Chunk(
        text=text_of(content) or text_of(body.get("response")),
        reasoning=_reasoning(message) or _reasoning(body) or reasoning_of(content),
        finish=word_of(body.get("done_reason")),
        done=body.get("done") is True,
        usage=_usage(body, "prompt_eval_count", "eval_count"),
        logprobs=_logprobs(body.get("logprobs")),
        loading=None if loading is None else loading / 1e9,
        tool_calls=call_pieces(message, are_whole=True),
    )


def error_in(body: Mapping[str, Json], *, known: tuple[str, ...]) -> Json:
    """
    The error that *body* tells of, in any of the shapes in use; None where it tells of none.

    Args:
        body: an object.
        known: fields of a record that is no error; beside them ``message`` and ``detail`` mean something else.
    """
    get = body.get
    if get("error") or get("object") == "error" or get("type") == "error" or get("status") == "error":
        return body
    if count_of(get("error_code")):  # FastChat, whose words stand where a text would
        return body
    for field in known:
        if get(field) is not None:
            return None
    return body if body.get("errors") or body.get("detail") or isinstance(body.get("message"), str) else None


def error_status(error: Json) -> int | None:
    """The HTTP status that *error*, an object of ``error_in``, stands for; None where it names none."""
    for body in (object_of(object_of(error).get("error")), object_of(error)):
        for field in ("code", "status_code", "status"):
            code = body.get(field)
            if isinstance(code, str) and code.isascii() and code.isdecimal():
                code = int(code[:4])
            if isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 600:
                return code
    return None


def _first(choices: list[Json]) -> dict[str, Json]:
    """The choice that was asked for: the one with index 0, which some write as a string, or without one."""
    for choice in choices:
        if isinstance(choice, dict) and choice.get("index") in (None, 0, "0", ""):
            return choice
    return {}


def _reasoning(said: Mapping[str, Json]) -> str:
    for field in _REASONING:
        if field in said and (text := text_of(said[field])):
            return text
    return ""


def _usage(counts: Json, prompt: str, completion: str) -> Usage | None:
    if not isinstance(counts, dict):
        return None
    asked, output = count_of(counts.get(prompt)), count_of(counts.get(completion))
    return None if asked is None and output is None else Usage(asked, output)


def _logprobs(tokens: Json) -> tuple[TokenLogprob, ...]:
    if not tokens:
        return ()
    return tuple(
        TokenLogprob(token["token"], token["logprob"], _alternatives(token.get("top_logprobs")))
        for token in list_of(tokens)
        if _is_weighed(token)
    )


def _alternatives(tokens: Json) -> tuple[tuple[str, float], ...]:
    return tuple((token["token"], token["logprob"]) for token in list_of(tokens) if _is_weighed(token))


def _is_weighed(token: Any) -> bool:
    return (
        isinstance(token, dict)
        and isinstance(token.get("token"), str)
        and isinstance(token.get("logprob"), int | float)
        and not isinstance(token.get("logprob"), bool)
    )

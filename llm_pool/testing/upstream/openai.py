"""``/v1/chat/completions`` in two accents: llama-server's, which vLLM and LM Studio are close to, and Ollama's."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.testing.upstream.answers import TextRequest
from llm_pool.testing.upstream.instances import TYPES
from llm_pool.testing.upstream.ollama import Refused, results_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llm_pool.testing.upstream.generation import CallToken, Generation, Token
    from llm_pool.testing.upstream.http import Headers
    from llm_pool.testing.upstream.machine import Model

KINDS = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 503: "unavailable_error"}
SERVER = (("Server", "llama.cpp"), ("Access-Control-Allow-Origin", ""))
KEEP_ALIVE = (("Keep-Alive", "timeout=5, max=100"),)
LLAMA_JSON = (*SERVER, ("Content-Type", "application/json; charset=utf-8"), *KEEP_ALIVE)
LLAMA_ERROR = (*SERVER, ("Content-Type", "application/json; charset=utf-8"), ("Connection", "close"))
LLAMA_SSE = (*SERVER, ("X-Accel-Buffering", "no"), ("Content-Type", "text/event-stream"), *KEEP_ALIVE)
OLLAMA_JSON = (("Content-Type", "application/json"),)
OLLAMA_SSE = (("Content-Type", "text/event-stream"),)
NOT_FOUND = b'{"error":{"message":"File Not Found","type":"not_found_error","code":404}}'

encode = msgspec.json.encode


class LlamaServer:
    """
    llama.cpp's accent.

    Args:
        usage: whether a stream ends with a chunk that counts the tokens.
    """

    stream_headers: Headers = LLAMA_SSE
    whole_headers: Headers = LLAMA_JSON
    error_headers: Headers = LLAMA_ERROR

    def __init__(self, model: str, *, number: int, usage: bool) -> None:
        self._usage = usage
        self._model, self._created, self._id = model, int(time.time()), f"chatcmpl-{number:032d}"

    def opening(self) -> bytes:
        """A chunk with the role and no text."""
        return _event(self._chunk([_choice(None, delta={"role": "assistant", "content": None})]))

    def piece(self, token: Token) -> bytes:
        """A chunk with the token: of a call first id and name, then its arguments piece by piece."""
        if token.call is not None:
            return _event(self._chunk([_choice(None, delta={"tool_calls": [_call_piece(token.call)]})]))
        field = "reasoning_content" if token.is_reasoning else "content"
        return _event(self._chunk([_choice(None, delta={field: token.text}, tokens=[token])]))

    def ending(self, generation: Generation) -> bytes:
        """The reason, the counts if asked for, and ``[DONE]``."""
        timings = {"timings": _timings(generation)}
        end = self._chunk([_choice(generation.finish, delta={})])
        if not self._usage:
            return _event(end | timings) + b"data: [DONE]\n\n"
        return _event(end) + _event(self._chunk([]) | {"usage": _usage(generation)} | timings) + b"data: [DONE]\n\n"

    def whole(self, generation: Generation) -> bytes:
        """One object."""
        message: dict[str, Any] = {"role": "assistant", "content": generation.text}
        if generation.calls:
            message |= {"tool_calls": [_call(call) for call in generation.calls]}
        if generation.reasoning:
            message["reasoning_content"] = generation.reasoning
        return encode(
            {
                "choices": [_choice(generation.finish, message=message, tokens=generation.tokens)],
                "created": self._created,
                "model": self._model,
                "system_fingerprint": "b1-0c1e570",
                "object": "chat.completion",
                "usage": _usage(generation),
                "id": self._id,
                "timings": _timings(generation),
            }
        )

    def error(self, status: int, message: str) -> bytes:
        """An object with code, message and type."""
        return encode({"error": _error_json(status, message)})

    def error_piece(self, message: str) -> bytes:
        """The same as an event."""
        return _event({"error": _error_json(500, message)})

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        named = {"choices": choices, "created": self._created, "id": self._id, "model": self._model}
        return named | {"system_fingerprint": "b1-0c1e570", "object": "chat.completion.chunk"}


class OllamaV1:
    """Ollama's accent; *usage* as above."""

    stream_headers: Headers = OLLAMA_SSE
    whole_headers: Headers = OLLAMA_JSON
    error_headers: Headers = OLLAMA_JSON

    def __init__(self, model: str, *, number: int, usage: bool) -> None:
        self._usage = usage
        self._model, self._created, self._id = model, int(time.time()), f"chatcmpl-{number % 1000}"
        self._begun = False

    def opening(self) -> bytes:
        """Nothing: the role comes with the first token."""
        return b""

    def piece(self, token: Token) -> bytes:
        """A chunk with the token; the first one names the role too. Calls come whole."""
        role = {} if self._begun else {"role": "assistant"}
        if token.call is not None and not token.call.is_last:
            return b""
        self._begun = True
        if token.call is not None:
            delta = role | {"content": "", "tool_calls": [_call(token.call) | {"index": token.call.index}]}
            return _event(self._chunk([_ollama_choice("delta", delta, None, [])]))
        spoken = {"content": "", "reasoning": token.text} if token.is_reasoning else {"content": token.text}
        return _event(self._chunk([_ollama_choice("delta", role | spoken, None, [token])]))

    def ending(self, generation: Generation) -> bytes:
        """The reason, the counts if asked for, and ``[DONE]``."""
        end = _event(self._chunk([_ollama_choice("delta", {"content": ""}, generation.finish, [])]))
        counts = _event(self._chunk([]) | {"usage": _plain_usage(generation)}) if self._usage else b""
        return end + counts + b"data: [DONE]\n\n"

    def whole(self, generation: Generation) -> bytes:
        """One object, and a newline."""
        message: dict[str, Any] = {"role": "assistant", "content": generation.text}
        if generation.calls:
            message |= {"tool_calls": [_call(call) for call in generation.calls]}
        if generation.reasoning:
            message["reasoning"] = generation.reasoning
        choice = _ollama_choice("message", message, generation.finish, generation.tokens)
        answer = self._named("chat.completion") | {"choices": [choice], "usage": _plain_usage(generation)}
        return encode(answer) + b"\n"

    def error(self, status: int, message: str) -> bytes:
        """An object as OpenAI's own."""
        kind = KINDS.get(status, "api_error")
        return encode({"error": {"message": message, "type": kind, "param": None, "code": None}}) + b"\n"

    def error_piece(self, message: str) -> bytes:
        """The same as an event."""
        return b"data: " + self.error(500, message) + b"\n"

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return self._named("chat.completion.chunk") | {"choices": choices}

    def _named(self, kind: str) -> dict[str, Any]:
        named = {"id": self._id, "object": kind, "created": self._created}
        return named | {"model": self._model, "system_fingerprint": "fp_ollama"}


def read_body(body: bytes) -> dict[str, Any]:
    """The request's JSON object; Refused as llama-server would."""
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise Refused(500, f"[json.exception.parse_error.101] parse error: {error}") from None
    if not isinstance(value, dict) or "messages" not in value:
        raise Refused(400, "'messages' is required")
    return value


def read_text_request(body: dict[str, Any]) -> TextRequest:
    """The question in a body of ``/v1/chat/completions``."""
    turns = [str(message.get("content", "")) for message in body["messages"]]
    return TextRequest(
        model=str(body.get("model", "")),
        text="\n".join(turns),
        user=turns[-1] if turns else "",
        stream=bool(body.get("stream")),
        schema=_schema(body.get("response_format") or {}),
        max_tokens=body.get("max_tokens") or body.get("max_completion_tokens"),
        top_logprobs=int(body.get("top_logprobs") or 0) if body.get("logprobs") else None,
        thinks=(body.get("chat_template_kwargs") or {}).get("enable_thinking") is not False
        and body.get("reasoning_effort") != "none",
        tools=tuple(tool["function"] for tool in body.get("tools") or ()),
        must_call=(body.get("tool_choice") or "auto") not in ("auto", "none"),
        named_tool=_named(body.get("tool_choice")),
        results=tuple(str(message["content"]) for message in results_of(body["messages"])),
        images=tuple(_images(body["messages"][-1].get("content")) if body["messages"] else ()),
    )


def _images(content: Any) -> Iterator[str]:
    for part in content if isinstance(content, list) else ():
        if part.get("type") == "image_url":
            yield part["image_url"]["url"].partition("base64,")[2]


def _named(choice: Any) -> str:
    """The tool that *choice* names; empty where it is a word."""
    return str(choice["function"]["name"]) if isinstance(choice, dict) else ""


def _call(call: CallToken) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _call_piece(call: CallToken) -> dict[str, Any]:
    if not call.piece:
        return _call(call) | {"index": call.index, "function": {"name": call.name, "arguments": ""}}
    return {"index": call.index, "function": {"arguments": call.piece}}


def wants_usage(body: dict[str, Any]) -> bool:
    """Whether a stream shall end with the counts."""
    return bool((body.get("stream_options") or {}).get("include_usage"))


def too_long(tokens: int, context: int) -> bytes:
    """llama-server's word on a prompt that does not fit."""
    message = f"request ({tokens} tokens) exceeds the available context size ({context} tokens), try increasing it"
    error = {"code": 400, "message": message, "type": "exceed_context_size_error"}
    return encode({"error": error | {"n_prompt_tokens": tokens, "n_ctx": context}})


def llama_models(models: Sequence[Model]) -> bytes:
    """``/v1/models`` of llama-server, which lists them twice, once for Ollama's clients."""
    details = {"parent_model": "", "format": "gguf", "family": "", "families": [""]}
    details |= {"parameter_size": "", "quantization_level": ""}
    meta = {"vocab_type": 2, "n_vocab": 271, "n_ctx": 2048, "n_ctx_train": 4096, "n_embd": 128, "n_params": 463232}
    first, second = [], []
    for model in models:
        named: dict[str, Any] = dict.fromkeys(("name", "model"), model.name) | dict.fromkeys(
            ("modified_at", "size", "digest"), ""
        )
        kind = {"type": "model", "description": "", "tags": [""], "capabilities": ["completion"], "parameters": ""}
        first.append({**named, **kind, "details": details})
        named = {"id": model.name, "aliases": [model.name], "tags": [], "object": "model"}
        rest = {
            "created": int(time.time()),
            "owned_by": "llamacpp",
            "meta": meta | {"size": model.size, "ftype": "F16"},
        }
        second.append({**named, **rest})
    return encode({"models": first, "object": "list", "data": second})


def ollama_models(models: Sequence[Model]) -> bytes:
    """``/v1/models`` of Ollama."""
    listed = [{"id": m.name, "object": "model", "created": int(time.time()), "owned_by": "library"} for m in models]
    return encode({"object": "list", "data": listed}) + b"\n"


def _choice(
    finish: str | None,
    *,
    delta: dict[str, Any] | None = None,
    message: dict[str, Any] | None = None,
    tokens: Sequence[Token] = (),
) -> dict[str, Any]:
    output = {"delta": delta} if message is None else {"message": message}
    return {"finish_reason": finish, "index": 0} | output | _logprobs(tokens, ids=True)


def _ollama_choice(kind: str, output: dict[str, Any], finish: str | None, tokens: Sequence[Token]) -> dict[str, Any]:
    return {"index": 0, kind: output, "finish_reason": finish} | _logprobs(tokens, ids=False)


def _logprobs(tokens: Sequence[Token], *, ids: bool) -> dict[str, Any]:
    weighed = [
        _weighed(token.text, token.top[0][1], ids=ids)
        | {"top_logprobs": [_weighed(text, logprob, ids=ids) for text, logprob in token.top]}
        for token in tokens
        if token.top
    ]
    return {"logprobs": {"content": weighed}} if weighed else {}


def _weighed(text: str, logprob: float, *, ids: bool) -> dict[str, Any]:
    spelled = list(text.encode())
    if ids:
        return {"id": sum(spelled), "token": text, "bytes": spelled, "logprob": logprob}
    return {"token": text, "logprob": logprob, "bytes": spelled}


def _schema(wanted: dict[str, Any]) -> dict[str, Any] | None:
    if wanted.get("type") == "json_object":
        schema: dict[str, Any] | None = wanted.get("schema", {})
    else:
        schema = (wanted.get("json_schema") or {}).get("schema")
    kind = (schema or {}).get("type", "object")
    if isinstance(kind, str) and kind not in TYPES:
        generator = "Unable to generate parser for this template. Automatic parser generation failed"
        raise Refused(400, f"{generator}: JSON schema error at #: unrecognized type {kind}")
    return schema


def _error_json(status: int, message: str) -> dict[str, Any]:
    return {"code": status, "message": message, "type": KINDS.get(status, "server_error")}


def _usage(generation: Generation) -> dict[str, Any]:
    output, asked = generation.count, generation.prompt_tokens
    counts = {"completion_tokens": output, "prompt_tokens": asked, "total_tokens": output + asked}
    return counts | {"prompt_tokens_details": {"cached_tokens": 0}}


def _plain_usage(generation: Generation) -> dict[str, Any]:
    output, asked = generation.count, generation.prompt_tokens
    return {"prompt_tokens": asked, "completion_tokens": output, "total_tokens": output + asked}


def _timings(generation: Generation) -> dict[str, Any]:
    timings: dict[str, Any] = {"cache_n": 0}
    speaking = max(0.0, generation.total - generation.loading - generation.ttft)
    for part, count, seconds in (
        ("prompt", generation.prompt_tokens, generation.ttft),
        ("predicted", generation.count, speaking),
    ):
        timings[f"{part}_n"] = count
        timings[f"{part}_ms"] = seconds * 1000
        timings[f"{part}_per_token_ms"] = seconds * 1000 / max(1, count)
        timings[f"{part}_per_second"] = count / seconds if seconds else 0.0
    return timings


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + encode(value) + b"\n\n"

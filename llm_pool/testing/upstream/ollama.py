"""Ollama's own API: what it reads and, byte for byte, what it writes."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.testing.upstream.answers import TextRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.testing.upstream.generation import CallToken, Generation, Token
    from llm_pool.testing.upstream.http import Headers
    from llm_pool.testing.upstream.machine import Model, Resident

JSON = (("Content-Type", "application/json; charset=utf-8"),)
NDJSON = (("Content-Type", "application/x-ndjson"),)
BUSY = "server busy, please try again.  maximum pending requests exceeded"
VERSION = "0.33.0-rc2"

encode = msgspec.json.encode


class Refused(Exception):
    """A request that is answered with *status* and *message* before anybody thinks about it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Generate:
    """``/api/generate``."""

    stream_headers: Headers = NDJSON
    whole_headers: Headers = JSON
    error_headers: Headers = JSON

    def __init__(self, model: str) -> None:
        self._model = model

    def opening(self) -> bytes:
        """Nothing: the first token is the first line."""
        return b""

    def piece(self, token: Token) -> bytes:
        """A line with the token; calls come whole."""
        if token.call is not None:
            return self._call_line(token.call) if token.call.is_last else b""
        thought, said = (token.text, "") if token.is_reasoning else ("", token.text)
        return self._line(said, thought, {"done": False} | _logprobs([token]))

    def ending(self, generation: Generation) -> bytes:
        """The line that says done."""
        return self._line("", "", self._done(generation, []))

    def whole(self, generation: Generation) -> bytes:
        """One object, with no newline after it."""
        done = self._done(generation, generation.tokens)
        return self._line(generation.text, generation.reasoning, done, generation.calls).rstrip(b"\n")

    def error(self, _status: int, message: str) -> bytes:
        """The same for every status."""
        return encode({"error": message})

    def error_piece(self, message: str) -> bytes:
        """A line, under the status of the stream."""
        return encode({"error": message}) + b"\n"

    def _line(self, text: str, thinking: str, rest: dict[str, Any], calls: Sequence[CallToken] = ()) -> bytes:
        return encode(_begun(self._model) | self._text_field(text, thinking, calls) | rest) + b"\n"

    def _call_line(self, call: CallToken) -> bytes:
        return self._line("", "", {"done": False}, [call])

    def _text_field(self, text: str, thinking: str, _calls: Sequence[CallToken]) -> dict[str, Any]:
        return {"response": text} | ({"thinking": thinking} if thinking else {})

    def _done(self, generation: Generation, tokens: Sequence[Token]) -> dict[str, Any]:
        done = {"done": True, "done_reason": generation.finish, "context": [268, 117, 115]}
        return done | _measured(generation) | _logprobs(tokens)


class Chat(Generate):
    """``/api/chat``."""

    def _text_field(self, text: str, thinking: str, calls: Sequence[CallToken]) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": text}
        called = {"tool_calls": [_call(call) for call in calls]} if calls else {}
        return {"message": message | ({"thinking": thinking} if thinking else {}) | called}

    def _done(self, generation: Generation, tokens: Sequence[Token]) -> dict[str, Any]:
        reason = "stop" if generation.finish == "tool_calls" else generation.finish
        return {"done": True, "done_reason": reason} | _logprobs(tokens) | _measured(generation)


def _call(call: CallToken) -> dict[str, Any]:
    function = {"index": call.index, "name": call.name, "arguments": msgspec.json.decode(call.arguments)}
    return {"id": call.id, "function": function}


def read_body(body: bytes) -> dict[str, Any]:
    """The request's JSON object; Refused as Go's decoder would."""
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError:
        odd = (body.lstrip()[1:2] or b" ").decode("latin-1")
        raise Refused(400, f"invalid character '{odd}' looking for beginning of object key string") from None
    if not isinstance(value, dict):
        raise Refused(400, "json: cannot unmarshal into Go value of type api.GenerateRequest")
    return value


def read_text_request(body: dict[str, Any]) -> TextRequest:
    """The question in a body of ``/api/chat`` or ``/api/generate``, checked as Ollama checks it."""
    options = body.get("options") or {}
    predict = options.get("num_predict")
    if predict is not None and not isinstance(predict, int):
        raise Refused(500, 'option "num_predict" must be of type integer')
    messages = body.get("messages") or []
    turns = [str(m.get("content", "")) for m in messages] or [str(body.get("system", "")), str(body.get("prompt", ""))]
    return TextRequest(
        model=str(body.get("model", "")),
        text="\n".join(turns),
        user=turns[-1],
        stream=body.get("stream", True),
        schema=_schema(body.get("format")),
        max_tokens=predict if predict and predict > 0 else None,
        top_logprobs=int(body.get("top_logprobs", 0)) if body.get("logprobs") else None,
        thinks=body.get("think") is not False,
        tools=tuple(tool["function"] for tool in body.get("tools") or ()),
        results=tuple(str(message["content"]) for message in results_of(messages)),
        images=tuple((messages or [body])[-1].get("images") or ()),
    )


def results_of(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages of tools at the end of a conversation."""
    results: list[dict[str, Any]] = []
    for message in reversed(messages):
        if message.get("role") != "tool":
            break
        results.insert(0, message)
    return results


def check_able(body: dict[str, Any], model: Model) -> None:
    """Refused, in Ollama's words, where *body* asks for what *model* cannot do."""
    if body.get("tools") and "tools" not in model.capabilities:
        raise Refused(400, f"registry.ollama.ai/library/{model.name} does not support tools")
    if any(message.get("images") for message in body.get("messages") or ()) and "vision" not in model.capabilities:
        raise Refused(500, "this model is missing data required for image input")


def asks_nothing(body: dict[str, Any]) -> bool:
    """No prompt: the request only loads the model, or unloads it with ``keep_alive: 0``."""
    return not body.get("prompt") and not body.get("messages")


def keep_alive(body: dict[str, Any]) -> float:
    """Seconds the model stays after this request; 300 by default, infinite for a negative number."""
    value = body.get("keep_alive", 300)
    if isinstance(value, str):
        unit = {"s": 1, "m": 60, "h": 3600}.get(value[-1:], 0)
        value = float(value[:-1]) * unit if unit else float(value)
    return float("inf") if value < 0 else float(value)


def no_answer(model: str, reason: str, *, chat: bool) -> bytes:
    """The answer to a request that asks nothing; *reason* is ``load`` or ``unload``."""
    said = {"message": {"role": "assistant", "content": ""}} if chat else {"response": ""}
    return encode(_begun(model) | said | {"done": True, "done_reason": reason})


def tags(models: Sequence[Model]) -> bytes:
    """``/api/tags``: the models on disk."""
    on_disk = []
    for model in models:
        details = _details() | {"context_length": 4096, "embedding_length": 128}
        named = {"name": model.name, "model": model.name, "modified_at": _now()}
        rest = {
            "size": model.size,
            "digest": digest(model.name),
            "details": details,
            "capabilities": model.capabilities,
        }
        on_disk.append(named | rest)
    return encode({"models": on_disk})


def ps(residents: Sequence[Resident], now: float) -> bytes:
    """``/api/ps``: the models in memory, those still loading left out."""
    in_memory = []
    for resident in residents:
        name, stays = resident.model.name, resident.expires - now
        named = {"name": name, "model": name, "size": resident.model.size, "digest": digest(name)}
        rest = {"details": _details(), "expires_at": _now(min(stays, 3e9)), "size_vram": 0, "context_length": 4096}
        in_memory.append(named | rest)
    return encode({"models": in_memory})


def show(model: Model) -> bytes:
    """``/api/show``: what a model is made of."""
    return encode(
        {
            "modelfile": f'# Modelfile generated by "ollama show"\nFROM {model.name}\n',
            "parameters": 'stop                           "<|im_end|>"',
            "template": "{{- range .Messages }}{{ .Role }}\n{{ .Content }}\n{{ end }}",
            "details": _details(),
            "model_info": {
                "general.architecture": "llama",
                "general.parameter_count": 463232,
                "llama.context_length": 4096,
            },
            "tensors": [],
            "capabilities": model.capabilities,
            "modified_at": _now(),
        }
    )


def digest(name: str) -> str:
    """A digest that stays the same for the same name."""
    return hashlib.sha256(name.encode()).hexdigest()


def _begun(model: str) -> dict[str, Any]:
    return {"model": model, "created_at": _now()}


def _measured(generation: Generation) -> dict[str, Any]:
    speaking = generation.total - generation.loading - generation.ttft
    return {
        "total_duration": _nanoseconds(generation.total),
        "load_duration": _nanoseconds(generation.loading),
        "prompt_eval_count": generation.prompt_tokens,
        "prompt_eval_duration": _nanoseconds(generation.ttft),
        "eval_count": generation.count,
        "eval_duration": _nanoseconds(max(0.0, speaking)),
    }


def _logprobs(tokens: Sequence[Token]) -> dict[str, Any]:
    weighed = [
        _weighed(token.text, token.top[0][1]) | {"top_logprobs": [_weighed(text, weight) for text, weight in token.top]}
        for token in tokens
        if token.top
    ]
    return {"logprobs": weighed} if weighed else {}


def _weighed(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def _schema(wanted: Any) -> dict[str, Any] | None:
    if wanted in (None, ""):
        return None
    if wanted == "json":
        return {}
    if isinstance(wanted, dict):
        return wanted
    shown = encode(encode(wanted).decode()).decode()
    raise Refused(500, f'invalid format: {shown}; expected "json" or a valid JSON Schema object')


def _details() -> dict[str, Any]:
    family = {"parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"]}
    return family | {"parameter_size": "463K", "quantization_level": "F16"}


def _now(later: float = 0.0) -> str:
    instant = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=later)
    return instant.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)

"""What a program asks for, and the request that goes over the wire."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llm_pool.client.http_transport import body_of
from llm_pool.facade.questions import query_of
from llm_pool.server.queries import decode_infer
from llm_pool.wire.json import answer_json
from tools.vectors import samples

if TYPE_CHECKING:
    from llm_pool.core.messages import Json

QUERIES: dict[str, dict[str, Any]] = {
    "a question": {"prompt": "Is 17 prime?", "request_id": "r1"},
    "a task": {"prompt": "cinematic lounge videos", "task": "expand_queries", "request_id": "r1", "max_tokens": 256},
    "beyond ASCII": {"prompt": "Ist 17 prim? \U0001f642 \u2028", "request_id": "r1"},
    "everything": {
        "prompt": "What is on the picture?",
        "task": "describe",
        "request_id": "r1",
        "tenant_id": "acme",
        "project_id": "site",
        "max_tokens": -1,
        "strategy": "VOTING",
        "meta": {"page": "7"},
        "no_cache": True,
        "think": "low",
        "turns": [
            {"role": "system", "text": "Be brief."},
            {"role": "user", "text": "What is the weather in Rome?"},
            {"role": "assistant", "text": "", "tool_calls": [{"id": "call_1", "name": "weather", "arguments": "{}"}]},
            {"role": "tool", "text": "18 degrees", "tool_call_id": "call_1"},
        ],
        "output_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": []},
        "temperature": 0.0,
        "seed": 0,
        "stop": ["\n"],
        "providers": ["phi3"],
        "tools": [{"name": "weather", "description": "In a city.", "parameters": {"type": "object"}}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "images": [{"media_type": "image/png", "data": "iVBORw0KGgo="}],
    },
    "thinking switched off": {"prompt": "Is 17 prime?", "request_id": "r1", "think": False},
}
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "My name is Ada."},
    {"role": "assistant", "content": "Hello Ada."},
    {"role": "user", "content": "What is my name?"},
]
REFUSED = {
    "no message": [],
    "the user asks nothing": MESSAGES[:3],
    "the system asks": MESSAGES[:1],
}
TOKEN = {"authorization": "Bearer lpsk_of-the-vectors"}


def vectors() -> list[Json]:
    """
    One for each call.

    *url* is what the client was given, *token* what it was told to prove itself with. The header ``x-deadline-ms`` is
    what is left then, here no time at all has passed; see ``deadlines.json``. A query without ``request_id`` gets one.
    """
    answer = json.loads(json.dumps(answer_json(samples.ANSWER)))
    queries = [_infer(name, query, answer) for name, query in QUERIES.items()]
    timed = {**QUERIES["a question"], "deadline_ms": 3000}
    return [
        *queries,
        _infer("an answer from the cache", QUERIES["a task"], json.loads(json.dumps(answer_json(samples.CACHED)))),
        _infer("a deadline", timed, answer, headers={"x-deadline-ms": "3000"}),
        _infer("a token", QUERIES["a question"], answer, token="lpsk_of-the-vectors", headers=TOKEN),  # noqa: S106
        _infer("a path before ours", QUERIES["a question"], answer, url="/pool/", path="/pool/v1/infer"),
        _chat("a conversation", MESSAGES, {"request_id": "r1", "strategy": "VOTING"}, answer),
        *({"name": name, "call": "chat", "messages": said, "refused": "messages"} for name, said in REFUSED.items()),
        _health("health", 200, healthy=True),
        _health("nobody is well", 503, healthy=False),
    ]


def _infer(
    name: str,
    query: dict[str, Any],
    answer: Json,
    *,
    url: str = "",
    path: str = "/v1/infer",
    token: str | None = None,
    headers: dict[str, str] | None = None,
) -> Json:
    body = json.loads(body_of(decode_infer(json.dumps(query).encode()).query))
    request = _request("POST", path, {"content-type": "application/json", **(headers or {})}, body)
    return {
        "name": name,
        "call": "infer",
        "url": url,
        "token": token,
        "query": query,
        "request": request,
        **_answered(answer),
    }


def _chat(name: str, messages: list[Any], query: dict[str, Any], answer: Json) -> Json:
    body = json.loads(body_of(query_of(messages, query)))  # type: ignore[arg-type]
    request = _request("POST", "/v1/infer", {"content-type": "application/json"}, body)
    return {"name": name, "call": "chat", "messages": messages, "query": query, "request": request, **_answered(answer)}


def _health(name: str, status: int, *, healthy: bool) -> Json:
    state = {"name": "phi3", "model": "phi3:mini", "state": "healthy" if healthy else "unreachable"}
    reload = {"at": 1_800_000_000.5, "ok": True, "generation": 1, "error": None}
    body = {
        "healthy": healthy,
        "providers": [{**state, "detail": "", "hint": "" if healthy else "ollama serve", "loaded": ["phi3:mini"]}],
        "version": "0.1.0",
        "generation": 1,
        "in_flight": 0,
        "last_reload": reload,
    }
    return {"name": name, "call": "health", "request": _request("GET", "/health", {}, None), **_answered(body, status)}


def _request(method: str, path: str, headers: dict[str, str], body: Json) -> Json:
    return {"method": method, "path": path, "headers": headers, "body": body}


def _answered(body: Json, status: int = 200) -> dict[str, Json]:
    return {"response": {"status": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}}

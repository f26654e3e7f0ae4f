"""What a server answered that is no answer, and the error that a client makes of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llm_pool.client.retry import is_retryable
from llm_pool.core import errors
from llm_pool.core.errors import LlmPoolError, Unreachable
from llm_pool.server.status import retry_after, status_of
from llm_pool.wire.json import error_code, error_from, error_json
from tools.vectors import samples

if TYPE_CHECKING:
    from llm_pool.core.messages import Json

RAISED: list[LlmPoolError] = [
    errors.InvalidRequest("task", "there is no task 'expand_querys'", hint="did you mean expand_queries?"),
    errors.UnknownModel("gpt-9"),
    errors.ContextLengthExceeded("prompt", "5000 tokens, and no model holds more than 4096"),
    errors.RequestIdReused("request_id", "it was used for another request"),
    errors.Unauthenticated("a key or a token is needed"),
    errors.PermissionDenied("this key may not ask for task 'judge'"),
    errors.RateLimited(0.25),
    errors.Overloaded("the server", 1.5),
    errors.Stopping(2.0),
    errors.Cancelled("the operator"),
    errors.DeadlineExceeded(1.5, (samples.LOST,)),
    errors.NoConsensus(samples.DECISION),
    errors.AllProvidersFailed("ask", (samples.LOST,)),
    errors.AllProvidersUnavailable("ask", (samples.LOST,), 30.0),
]
PAGE = "<html><head><title>502 Bad Gateway</title></head></html>"
UNTYPED = {"error": {"code": "not_found", "message": "Not Found", "hint": None}}
"""As the daemon writes what no class of its own is for: another path, another method, a bug."""
FOREIGN: dict[str, dict[str, Any]] = {
    "a proxy's page": {"status": 502, "type": "text/html", "body": PAGE, "mentions": ["502", "text/html"]},
    "a portal's page": {"status": 200, "type": "text/html", "body": PAGE, "mentions": ["200", "text/html"]},
    "JSON of another": {"status": 200, "type": "application/json", "body": '{"ok":true}', "mentions": ["200"]},
    "an error under a good status": {
        "status": 200,
        "type": "application/json",
        "body": json.dumps(UNTYPED),
        "mentions": ["200"],
    },
    "a list": {"status": 200, "type": "application/json", "body": "[]", "mentions": ["200"]},
    "null": {"status": 200, "type": "application/json", "body": "null", "mentions": ["200"]},
    "half of JSON": {"status": 200, "type": "application/json", "body": '{"request_id":"r1"', "mentions": ["200"]},
    "an error of another": {"status": 401, "type": "application/json", "body": '{"message":"no"}', "mentions": ["401"]},
    "an error that is a text": {
        "status": 500,
        "type": "application/json",
        "body": '{"error":"no"}',
        "mentions": ["500"],
    },
    "an error without words": {
        "status": 500,
        "type": "application/json",
        "body": '{"error":{"code":"x"}}',
        "mentions": ["500"],
    },
    "no content type": {"status": 403, "type": "", "body": "", "mentions": ["403"]},
    "a redirect": {
        "status": 302,
        "type": "",
        "body": "",
        "location": "http://127.0.0.1:9/elsewhere",
        "mentions": ["redirects", "http://127.0.0.1:9/elsewhere"],
    },
}


def vectors() -> list[Json]:
    """
    One for each error that the daemon raises, and for others that may answer in its place.

    *known* is false where a code has no class in Python; *mentions* are words of a sentence that the client makes.
    """
    return [
        *map(_raised, RAISED),
        _told("a path that is none", 404, UNTYPED, LlmPoolError("")),
        *(_foreign(name, case) for name, case in FOREIGN.items()),
    ]


def _raised(error: LlmPoolError) -> Json:
    body = json.loads(json.dumps(error_json(error)))
    return _told(error_code(error), status_of(error).http, body, error_from(body), retry_after(error))


def _told(name: str, status: int, body: dict[str, Any], error: LlmPoolError, pause: str | None = None) -> Json:
    response = {
        "status": status,
        "headers": _headers("application/json", **{"retry-after": pause}),
        "body": json.dumps(body),
    }
    raised = {
        "code": body["error"]["code"],
        "known": type(error) is not LlmPoolError,
        "retryable": is_retryable(error),
        "message": body["error"]["message"],
        "hint": body["error"]["hint"] or "",
        "field": body["error"].get("field"),
        "retry_after_ms": body["error"].get("retry_after_ms"),
    }
    return {"name": name, "response": response, "error": raised}


def _foreign(name: str, case: dict[str, Any]) -> Json:
    headers = _headers(case["type"], location=case.get("location"))
    response = {"status": case["status"], "headers": headers, "body": case["body"]}
    retryable = is_retryable(Unreachable("", ""))
    raised = {"code": "unreachable", "known": True, "retryable": retryable, "mentions": case["mentions"]}
    return {"name": name, "response": response, "error": raised}


def _headers(content_type: str, **more: str | None) -> dict[str, str]:
    found = {"content-type": content_type or None, **more}
    return {name: value for name, value in found.items() if value is not None}

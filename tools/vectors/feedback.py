"""Feedback: what is sent, what comes back, and what a program is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from llm_pool.core.errors import InvalidRequest
from llm_pool.wire.json import error_json

if TYPE_CHECKING:
    from llm_pool.core.messages import Json

UNKNOWN = InvalidRequest("request_id", "no answer of several models is kept under that id")


def vectors() -> list[Json]:
    """One for each outcome: *learned*, or the *error*'s code."""
    return [
        _vector("somebody gains trust", "r1", good=True, status=200, said={"learned": True}, learned=True),
        _vector("all agreed", "r1", good=False, status=200, said={"learned": False}, learned=False),
        _vector(
            "nobody asked that", "r\u00e9", good=True, status=400, said=error_json(UNKNOWN), error="invalid_request"
        ),
        _vector("something else answers", "r1", good=True, status=200, said={"ok": True}, error="unreachable"),
    ]


def _vector(name: str, request_id: str, *, good: bool, status: int, said: Json, **outcome: Json) -> Json:
    request = {"method": "POST", "path": "/v1/feedback", "body": {"request_id": request_id, "good": good}}
    response = {"status": status, "headers": {"content-type": "application/json"}, "body": json.dumps(said)}
    return {"name": name, "request_id": request_id, "good": good, "request": request, "response": response, **outcome}

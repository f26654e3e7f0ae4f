"""What the OpenAPI document says of the APIs of others: what they read, and where their makers describe the answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EVENTS = "text/event-stream"
LINES = "application/x-ndjson"
STREAMS: dict[str, Any] = {
    EVENTS: {"type": "object", "properties": {"event": {"type": "string"}, "data": {"type": "string"}}},
    LINES: {"type": "string"},
}
"""What a stream is made of: events, or text of lines."""
ERRORS = (400, 401, 403, 404, 408, 413, 415, 422, 429, 499, 502, 503, 504)
"""Statuses of an error; its body has the shape of the API's own errors."""


class ForeignOperation(msgspec.Struct, frozen=True, kw_only=True):
    """
    One operation of another's API.

    Attributes:
        path: with ``{part}`` for each that varies.
        source: where its maker describes it.
        body: the struct that is read; None where nothing is.
        example: a body that works with any configuration.
        streamed: the content type of its answer as a stream; empty where there is none.
        refuses: the status that it always has; 0 where it can succeed.
    """

    path: str
    summary: str
    source: str
    method: Literal["get", "post", "delete"] = "post"
    body: type | None = None
    example: dict[str, Any] = {}
    streamed: str = ""
    refuses: int = 0


def foreign_paths(
    operations: Sequence[ForeignOperation], references: Mapping[type, Any], reasons: Mapping[int, str]
) -> dict[str, Any]:
    """
    *operations* by path.

    Args:
        operations: of all APIs.
        references: to the schema of each body.
        reasons: what each status of ERRORS means.
    """
    return {one.path: {one.method: _operation(one, references, reasons)} for one in operations}


def _operation(one: ForeignOperation, references: Mapping[type, Any], reasons: Mapping[int, str]) -> dict[str, Any]:
    anything = {"schema": {"type": "object"}}
    streams = {one.streamed: {"schema": STREAMS[one.streamed]}} if one.streamed else {}
    content = {"application/json": anything, **streams}
    answers: dict[str, Any] = {str(one.refuses or 200): {"description": one.summary, "content": content}}
    for status in ERRORS:
        answers[str(status)] = {"description": reasons[status], "content": {"application/json": anything}}
    operation: dict[str, Any] = {
        "operationId": f"{one.method} {one.path}",
        "summary": one.summary,
        "externalDocs": {"url": one.source},
        "responses": answers,
    }
    if parts := re.findall(r"{(\w+)}", one.path):
        text = {"type": "string"}
        operation["parameters"] = [{"name": part, "in": "path", "required": True, "schema": text} for part in parts]
    if one.body is not None:
        reads = {"schema": references[one.body], "examples": {"plain": {"value": one.example}}}
        operation["requestBody"] = {"required": True, "content": {"application/json": reads}}
    return operation

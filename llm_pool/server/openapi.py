"""The OpenAPI document: our hot routes from the structs they read and answer, the others as FastAPI knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from fastapi.openapi.utils import get_openapi

from llm_pool.server import bodies
from llm_pool.server.event_bodies import StreamEvent
from llm_pool.server.openapi_foreign import foreign_paths
from llm_pool.server.queries import FeedbackBody, InferBody

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import FastAPI

    from llm_pool.server.openapi_foreign import ForeignOperation

_REF = "#/components/schemas/{name}"
_WHY = {
    400: "The request cannot be served as it stands; `field` names the invalid field.",
    401: "Nobody we know sent this.",
    403: "Not theirs to ask for.",
    404: "No model of that name.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is encoded.",
    422: "The models do not agree, and the rule is strict; or the id was used for another body.",
    429: "The sender's rate is spent; `Retry-After` says when to come back.",
    499: "The operator cancelled it.",
    502: "No provider could answer.",
    503: "Overloaded, stopping, or every provider is to be left alone; `Retry-After` says when to come back.",
    504: "No answer by the deadline.",
}
_INFER_EXAMPLES = {
    "task": {"value": {"task": "expand_queries", "prompt": "cinematic lounge videos", "max_tokens": 256}},
    "question": {"value": {"prompt": "Is 17 prime?", "deadline_ms": 20000, "strategy": "VOTING"}},
    "stream": {"value": {"prompt": "Tell me of the sea.", "stream": True}},
}


def document(app: FastAPI, operations: Sequence[ForeignOperation]) -> dict[str, Any]:
    """The document of *app*, which serves *operations* in the shapes of others too."""
    found = get_openapi(title=app.title, version=app.version, summary=_SUMMARY, routes=app.routes)
    structs = [*_STRUCTS, *dict.fromkeys(one.body for one in operations if one.body is not None)]
    (*references, events), schemas = msgspec.json.schema_components([*structs, StreamEvent], ref_template=_REF)
    foreign = foreign_paths(operations, dict(zip(structs, references, strict=True)), _WHY)
    components = found.setdefault("components", {})
    components["schemas"] = {**components.get("schemas", {}), **schemas, "StreamEvent": events}
    found["paths"] = {**PATHS, **foreign, **found["paths"]}
    return found


_SUMMARY = "One question to several local language models at once, one answer."
_STRUCTS = [
    InferBody,
    FeedbackBody,
    bodies.AnswerBody,
    bodies.ErrorBody,
    bodies.EventBody,
    bodies.HealthBody,
    bodies.TasksBody,
    bodies.LearnedBody,
    bodies.LiveBody,
    bodies.ReadyBody,
]


def _json(struct: type, examples: dict[str, Any] | None = None) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": _REF.format(name=struct.__name__)}}
    return {"application/json": content if examples is None else {**content, "examples": examples}}


def _operation(
    name: str,
    summary: str,
    answers: dict[int, type],
    *fails: int,
    body: tuple[type, dict[str, Any]] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """One operation; *fails* are the statuses whose body is an error."""
    answer = {
        str(status): {"description": struct.__doc__ or "", "content": _json(struct)}
        for status, struct in answers.items()
    }
    answer |= {str(status): {"description": _WHY[status], "content": _json(bodies.ErrorBody)} for status in fails}
    operation = {"operationId": name, "summary": summary, "responses": answer, **more}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": _json(*body)}
    return operation


_DOOR = (401, 403, 429)
_BODY = (400, 408, 413, 415)
_DEADLINE_HEADER = {
    "name": "X-Deadline-Ms",
    "in": "header",
    "description": "How long the client still waits; the shorter of this and `deadline_ms` counts.",
    "schema": {"type": "string", "pattern": r"^[0-9]{1,12}(\.[0-9]{1,6})?$"},
}
_REQUEST_ID_HEADER = {
    "name": "X-Request-Id",
    "in": "header",
    "description": "What the sender calls the request; it comes back in the answer's `X-Request-Id`.",
    "schema": {"type": "string"},
}
_IDEMPOTENCY_HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same as `request_id`, which may be left out then.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
}
_INFER = _operation(
    "infer",
    "Ask the pool; with `stream` or `Accept: text/event-stream`, as server-sent events.",
    {200: bodies.AnswerBody},
    *(*_BODY, *_DOOR, 422, 499, 502, 503, 504),
    body=(InferBody, _INFER_EXAMPLES),
    parameters=[_DEADLINE_HEADER, _REQUEST_ID_HEADER, _IDEMPOTENCY_HEADER],
)
_INFER["responses"]["200"]["content"]["text/event-stream"] = {"schema": {"$ref": _REF.format(name="EventBody")}}

PATHS: dict[str, Any] = {
    "/v1/infer": {"post": _INFER},
    "/v1/feedback": {
        "post": _operation(
            "feedback",
            "Say whether an answer was right.",
            {200: bodies.LearnedBody},
            *(*_BODY, *_DOOR),
            body=(FeedbackBody, {"good": {"value": {"request_id": "7f3c", "good": True}}}),
        )
    },
    "/v1/tasks": {"get": _operation("tasks", "List the tasks.", {200: bodies.TasksBody}, *_DOOR)},
    "/health": {
        "get": _operation("health", "How each provider is.", {200: bodies.HealthBody, 503: bodies.HealthBody}, *_DOOR)
    },
    "/livez": {"get": _operation("livez", "Whether the daemon runs; asks no backend.", {200: bodies.LiveBody})},
    "/readyz": {
        "get": _operation("readyz", "Whether some provider can answer.", {200: bodies.ReadyBody, 503: bodies.ReadyBody})
    },
}
"""Our own routes, by path."""

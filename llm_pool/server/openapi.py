"""The OpenAPI document: our hot routes from the structs that read them, the others as FastAPI knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from fastapi.openapi.utils import get_openapi

from llm_pool.server.queries import FeedbackBody, InferBody

if TYPE_CHECKING:
    from fastapi import FastAPI

_REF = "#/components/schemas/{name}"


def document(app: FastAPI) -> dict[str, Any]:
    """The document of *app*."""
    found = get_openapi(title=app.title, version=app.version, routes=app.routes)
    _, schemas = msgspec.json.schema_components([InferBody, FeedbackBody], ref_template=_REF)
    found["components"] = {"schemas": {**found.get("components", {}).get("schemas", {}), **schemas}}
    return found

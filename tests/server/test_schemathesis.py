"""What schemathesis makes up from the document, sent to the daemon: it answers as documented, whatever it is asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import schemathesis
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from llm_pool.server.components import build_components

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from llm_pool.config import Config

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

OPERATIONS = {
    "POST /v1/infer": 60,
    "POST /v1/feedback": 20,
    "GET /v1/tasks": 3,
    "GET /health": 3,
    "GET /livez": 3,
    "GET /readyz": 3,
    "POST /v1/chat/completions": 10,
    "GET /v1/models": 3,
    "GET /v1/models/{name}": 3,
    "POST /v1/completions": 10,
    "POST /v1/embeddings": 10,
    "POST /v1/responses": 10,
    "POST /v1/messages": 10,
    "POST /v1/messages/count_tokens": 3,
    "POST /api/chat": 10,
    "POST /api/generate": 10,
    "POST /api/embed": 10,
    "POST /api/embeddings": 10,
    "POST /api/show": 10,
    "GET /api/tags": 3,
    "GET /api/ps": 3,
    "GET /api/version": 3,
    "DELETE /api/delete": 3,
    "POST /api/pull": 3,
    "POST /api/push": 3,
    "POST /api/create": 3,
    "POST /api/copy": 3,
    "POST /api/blobs/{digest}": 3,
}
"""How many requests are made up for each, of those that fit the document and of those that do not."""


def no_failure_but_lateness(_context: Any, response: Any, _case: Any) -> None:
    """A deadline of a few milliseconds may be missed, and what is never done is refused; nothing else goes wrong."""
    assert response.status_code in {*range(500), 501} or response.json()["error"]["code"] == "deadline_exceeded"


PROMISES = [
    no_failure_but_lateness,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_it_answers_as_documented(daemons: Any, config_for: Callable[..., Config], operation: str) -> None:
    """Without failing, in a documented status, type and shape; what does not fit the document is refused."""
    async with daemons(components=build_components(config_for("http://127.0.0.1:1"))) as running:
        async with asyncio.timeout(60):
            await asyncio.to_thread(_try, running.url, operation)


async def test_every_documented_operation_is_tried(daemons: Any, config_for: Callable[..., Config], ask: Any) -> None:
    """A new one needs its line above."""
    async with daemons(components=build_components(config_for("http://127.0.0.1:1"))) as running:
        document = (await ask(running.url, "GET", "/openapi.json")).json

    documented = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    assert documented == set(OPERATIONS)


def _try(url: str, operation: str) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    method, path = operation.split()
    found = schema[path][method]
    _check(
        schema.iter_coverage_cases(
            found, generation_modes=list(GenerationMode), generation_config=schema.config.generation
        )
    )
    for mode in GenerationMode if found.body else ():
        _fuzz(found.as_strategy(mode), OPERATIONS[operation])


def _check(cases: Iterable[Any]) -> None:
    for case in cases:
        case.call_and_validate(checks=PROMISES)


def _fuzz(cases: Any, most: int) -> None:
    @hypothesis.settings(
        max_examples=most,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=cases)
    def each(case: Any) -> None:
        _check([case])

    each()

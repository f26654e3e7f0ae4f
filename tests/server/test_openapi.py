"""The document says what the daemon does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jsonschema_rs
import msgspec
import pytest

from llm_pool.server.components import build_components

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

ASKED = {"task": "expand_queries", "prompt": "cinematic lounge videos"}


@pytest.fixture
async def documented(daemon: Any, ask: Any) -> Callable[..., None]:
    """Holds a reply against what is documented for its operation."""
    document = (await ask(daemon.url, "GET", "/openapi.json")).json

    def check(method: str, path: str, reply: Any) -> None:
        said = document["paths"][path][method.lower()]["responses"][str(reply.status)]
        schema = said["content"][reply.headers["content-type"]]["schema"]
        jsonschema_rs.validator_for({**schema, "components": document["components"]}).validate(reply.json)

    return check


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/infer", ASKED, 200),
        ("POST", "/v1/infer", {**ASKED, "strategy": "VOTING"}, 200),
        ("POST", "/v1/infer", {"prompt": 1}, 400),
        ("POST", "/v1/feedback", {"request_id": "nobody", "good": True}, 400),
        ("GET", "/v1/tasks", None, 200),
        ("GET", "/health", None, 200),
        ("GET", "/livez", None, 200),
        ("GET", "/readyz", None, 200),
    ],
)
async def test_answers_are_as_documented(
    daemon: Any, ask: Any, documented: Callable[..., None], method: str, path: str, body: Any, status: int
) -> None:
    """Each in its documented shape, under its documented status."""
    reply = await ask(daemon.url, method, path, body)

    assert reply.status == status
    documented(method, path, reply)


@pytest.mark.parametrize(("mode", "status"), [("error:500", 502), ("hang", 504)])
async def test_failures_are_as_documented(
    daemon: Any, ask: Any, documented: Callable[..., None], mode: str, status: int
) -> None:
    """What went wrong upstream, in the shape of every error."""
    daemon.upstream.set_mode("*", mode)

    reply = await ask(daemon.url, "POST", "/v1/infer", {**ASKED, "deadline_ms": 300})

    assert reply.status == status
    documented("POST", "/v1/infer", reply)


async def test_health_without_backends_is_as_documented(daemon: Any, ask: Any, documented: Callable[..., None]) -> None:
    """Unhealthy, and still the same shape."""
    daemon.upstream.set_mode("/api/tags", "error:500")
    daemon.upstream.set_mode("/api/ps", "error:500")

    for path in ("/health", "/readyz"):
        reply = await ask(daemon.url, "GET", path)
        assert reply.status == 503
        documented("GET", path, reply)


async def test_every_field_of_an_answer_is_documented(daemon: Any, ask: Any) -> None:
    """None is sent that nobody can look up."""
    document = (await ask(daemon.url, "GET", "/openapi.json")).json
    answer = (await ask(daemon.url, "POST", "/v1/infer", ASKED)).json

    schemas = document["components"]["schemas"]
    assert set(answer) == set(schemas["AnswerBody"]["properties"])
    assert set(answer["decision"]) == set(schemas["DecisionBody"]["properties"])
    assert set(answer["decision"]["attempts"][0]) == set(schemas["AttemptBody"]["properties"])


async def test_the_examples_work(daemon: Any, ask: Any) -> None:
    """Whoever pastes one gets an answer."""
    document = (await ask(daemon.url, "GET", "/openapi.json")).json
    examples = document["paths"]["/v1/infer"]["post"]["requestBody"]["content"]["application/json"]["examples"]

    for example in examples.values():
        assert (await ask(daemon.url, "POST", "/v1/infer", example["value"])).status == 200


async def test_every_route_of_ours_is_documented(daemon: Any, ask: Any) -> None:
    """And nothing that is not served."""
    document = (await ask(daemon.url, "GET", "/openapi.json")).json

    for path, item in document["paths"].items():
        for method in item:
            reply = await ask(daemon.url, method.upper(), path, {} if method == "post" else None)
            assert reply.status not in {404, 405, 500}, path
    assert msgspec.json.encode(document)


async def test_the_apis_of_others_are_documented_with_what_they_read(daemons: Any, config_for: Any, ask: Any) -> None:
    """Each route that is served, and an example that works; where vectors are asked for there is a model for them."""
    async with daemons(components=build_components(config_for("http://127.0.0.1:1"))) as running:
        document = (await ask(running.url, "GET", "/openapi.json")).json
        posted = {path: item["post"] for path, item in document["paths"].items() if "post" in item}
        asked = {
            path: operation["requestBody"]["content"]["application/json"]["examples"]["plain"]["value"]
            for path, operation in posted.items()
            if "externalDocs" in operation and "requestBody" in operation
        }
        statuses = {path: (await ask(running.url, "POST", path, body)).status for path, body in asked.items()}

    answered = {path for path, status in statuses.items() if status == 200}
    openai = {"/v1/chat/completions", "/v1/completions", "/v1/responses"}
    assert answered == openai | {"/v1/messages", "/api/chat", "/api/generate", "/api/show"}
    assert {status for path, status in statuses.items() if "embed" in path} == {404}

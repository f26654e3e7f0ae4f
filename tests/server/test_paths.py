"""Paths as clients spell them: what they mean, that they are answered, and that no spelling opens a door."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from llm_pool.server.access_control import REQUIRED_SCOPES, declared_scope, required_scope
from llm_pool.server.components import build_components
from llm_pool.server.paths import meant

MESSAGES = [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completions/", "/v1/chat/completions"),
        ("/v1/v1/chat/completions", "/v1/chat/completions"),
        ("/chat/completions", "/v1/chat/completions"),
        ("/v1/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        ("/v1/api/chat", "/api/chat"),
        ("/models/", "/v1/models"),
        ("/v1/v1/models/pool/judge", "/v1/models/pool/judge"),
        ("/", "/"),
        ("/metrics/", "/metrics"),
        ("/v1/v1/v1/models", "/v1/v1/models"),
        ("/modelsmith", "/modelsmith"),
        ("", "/"),
    ],
)
def test_a_path_means_a_route(path: str, route: str) -> None:
    """Doubled, bare, with a slash at its end."""
    assert meant(path) == route


@pytest.mark.parametrize("path", REQUIRED_SCOPES)
def test_every_spelling_needs_the_scope_of_its_route(path: str) -> None:
    """And what is none, the highest."""
    for spelling in (f"{path}/", f"/v1{path}" if path.startswith(("/v1/", "/api/")) else path):
        assert required_scope(spelling.encode()) == declared_scope(path.encode())
    assert required_scope(f"/x{path}".encode()).value == "operate"


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_each_api_answers_by_other_spellings(daemons: Any, config_for: Any, ask: Any) -> None:
    """Errors too, in its own shape."""
    components = msgspec.structs.replace(build_components(config_for("http://127.0.0.1:9")), servers=())
    body = {"model": "pool", "messages": MESSAGES, "max_tokens": 9, "stream": False}
    async with daemons(components=components) as running:
        for path in ("/v1/v1/chat/completions", "/chat/completions/", "/messages?beta=true", "/v1/api/chat"):
            assert (await ask(running.url, "POST", path, body)).status == 200
        for path in ("/models", "/v1/models/", "/v1/v1/models/pool", "/api/tags/"):
            assert (await ask(running.url, "GET", path)).status == 200
        wrong = await ask(running.url, "POST", "/v1/v1/messages", {**body, "model": "nobody"})
        unknown = await ask(running.url, "GET", "/v2/models")

    assert (wrong.status, wrong.json["type"]) == (404, "error")
    assert unknown.status == 404

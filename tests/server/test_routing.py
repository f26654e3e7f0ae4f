"""The short way to a route and FastAPI's lead to the same place."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import compile_path

from llm_pool.server import routing
from llm_pool.server.components import build_components
from llm_pool.server.routing import Router, _pattern

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_pool.config import Config

CHAT = {"model": "phi3", "messages": [{"role": "user", "content": "hello"}]}
ASKED: list[tuple[str, str, Any]] = [
    ("POST", "/v1/infer", {"prompt": "hello"}),
    ("POST", "/v1/infer", {"promt": "hello"}),
    ("POST", "/v1/infer", b"{"),
    ("POST", "/v1/infer", {"prompt": "hello", "stream": True}),
    ("GET", "/v1/infer", None),
    ("POST", "/v1/chat/completions", CHAT),
    ("POST", "/v1/chat/completions", {**CHAT, "stream": True}),
    ("POST", "/v1/chat/completions", {**CHAT, "model": "none"}),
    ("DELETE", "/v1/chat/completions", None),
    ("POST", "/v1/messages", {**CHAT, "max_tokens": 9}),
    ("POST", "/v1/messages", {"model": "phi3"}),
    ("POST", "/api/chat", {**CHAT, "stream": False}),
    ("POST", "/api/generate", {"model": "none", "prompt": "hello"}),
    ("GET", "/v1/models", None),
    ("GET", "/v1/models/pool", None),
    ("GET", "/v1/models/pool/voting", None),
    ("GET", "/v1/models/none", None),
    ("DELETE", "/v1/requests/7", None),
    ("GET", "/v1/requests/7", None),
    ("GET", "/v1/tasks", None),
    ("HEAD", "/v1/tasks", None),
    ("GET", "/livez", None),
    ("HEAD", "/livez", None),
    ("OPTIONS", "/readyz", None),
    ("GET", "/metrics", None),
    ("GET", "/none", None),
    ("POST", "/livez", None),
    ("GET", "/", None),
]
PASSING = {"date", "x-request-id", "content-length"}
"""Headers that differ between two answers to the same request."""


@pytest.fixture
def both(daemons: Any, config_for: Callable[..., Config], ask: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Both ways' answers to requests: status, headers, and of a body what stays the same."""

    async def answers(*, short: bool) -> list[Any]:
        with monkeypatch.context() as patch:
            if not short:
                patch.setattr(routing, "Router", Long)
                patch.setattr("llm_pool.server.http.Router", Long)
            components = msgspec.structs.replace(build_components(config_for("http://127.0.0.1:9")), servers=())
            async with daemons(components=components) as running:
                replies = [await ask(running.url, method, path, body) for method, path, body in ASKED]
        return [(reply.status, sorted(set(reply.headers) - PASSING), shape(reply.body)) for reply in replies]

    return answers


class Long(Router):
    """Every request goes through FastAPI."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._exact.clear()
        self._patterns.clear()


def shape(body: bytes) -> Any:
    """An error in full; of another body its first fields, and of a stream its lines' beginnings."""
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return [line[:12] for line in body.splitlines() if line[:6] in {b"event:", b"data: "}]
    return found if "error" in found else sorted(found)


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_both_ways_answer_alike(both: Any) -> None:
    """Errors, headers, streams and what is not there."""
    short, long = await both(short=True), await both(short=False)

    for asked, one, other in zip(ASKED, short, long, strict=True):
        assert one == other, asked


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_who_asks_for_what_is_there_needs_no_framework(daemon: Any, ask: Any) -> None:
    """It is made for the first who asks for something else, and others are served meanwhile."""
    assert (await ask(daemon.url, "POST", "/v1/infer", {"prompt": "hello"})).status == 200

    reply = await ask(daemon.url, "GET", "/none")

    assert (reply.status, reply.json["error"]["code"]) == (404, "not_found")
    assert "fastapi" in sys.modules


@given(
    st.lists(st.sampled_from(["a", "b.c", "{x}", "{y}", "{z:path}"]), min_size=1, max_size=4, unique=True), st.text()
)
def test_patterns_are_read_as_starlette_reads_them(parts: list[str], said: str) -> None:
    """Dots are dots; a part is never empty, a path may be."""
    path = "/" + "/".join(parts)
    example = "/" + "/".join("q" if part.startswith("{") else part for part in parts)

    for text in (example, f"{example}/", f"/{said}", example.replace("q", said), example.replace("q", "q/r")):
        ours, theirs = _pattern(path).fullmatch(text), compile_path(path)[0].fullmatch(text)
        assert (ours and ours.groupdict()) == (theirs and theirs.groupdict())

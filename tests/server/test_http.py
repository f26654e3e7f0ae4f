"""The HTTP face over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]


async def test_the_predecessors_curl_works(daemon: Any, ask: Callable[..., Any]) -> None:
    """Its field names go in, its field names come out."""
    body = {"task": "expand_queries", "prompt": "cinematic lounge videos", "max_tokens": 256, "deadline_ms": 1500}

    reply = await ask(daemon.url, "POST", "/v1/infer", body, Content_Type="application/json")

    assert reply.status == 200
    assert {"request_id", "content", "winner_model", "duration_ms", "from_cache", "decision"} <= set(reply.json)
    assert reply.json["winner_model"] == "phi3:mini"

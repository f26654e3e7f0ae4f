"""Bearer tokens: from an issuer's file and from its address."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from llm_pool.server.components import build_components

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from llm_pool.config import Config

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

KEY = ec.generate_private_key(ec.SECP256R1())
SET = json.dumps({"keys": [{**ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "k1"}]}).encode()
ASKED = {"task": "expand_queries", "prompt": "cats"}


def token(**claims: Any) -> dict[str, str]:
    now = int(time.time())
    said = {"iss": "https://id.example", "aud": "here", "nbf": now, "exp": now + 60, "tenant_id": "acme"}
    encoded = jwt.encode({**said, "scope": "infer", **claims}, KEY, algorithm="ES256", headers={"kid": "k1"})
    return {"Authorization": f"Bearer {encoded}"}


def text(place: str) -> str:
    return (
        f'[[security.jwt]]\nissuer = "https://id.example"\naudience = "here"\nalgorithms = ["es256"]\n{place}\n'
        '[tenancy.acme]\n[tenancy."*"]\nrate_limit_rps = 0.1\nrate_limit_burst = 1\n'
    )


@asynccontextmanager
async def issuer(looks: list[bytes], *, status: str = "200 OK") -> AsyncIterator[str]:
    """Serves the keys over HTTP, with an ETag that it honours; gives the address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        looks.append(head)
        is_known = b'If-None-Match: "v1"' in head
        body = b"" if is_known else SET
        first = "304 Not Modified" if is_known else status
        head = f'HTTP/1.1 {first}\r\nETag: "v1"\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n'.encode()
        writer.write(head + body)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys?set=1"


async def test_a_token_is_taken_by_the_keys_in_a_file(
    daemons: Any, ask: Any, config_for: Callable[..., Config], tmp_path: Path
) -> None:
    """Who it is for counts as with a key: tenant, scope, project, rate."""
    (tmp_path / "jwks.json").write_bytes(SET)
    extra = text('jwks_file = "jwks.json"')
    components = msgspec.structs.replace(build_components(config_for("http://127.0.0.1:9", extra)), servers=())
    async with daemons(extra, components=components) as daemon:

        async def status(path: str = "/v1/infer", body: Any = ASKED, **claims: Any) -> int:
            told: int = (await ask(daemon.url, "POST" if body else "GET", path, body, **token(**claims))).status
            return told

        assert await status() == 200
        assert await status(body={**ASKED, "tenant_id": "other"}) == 403
        assert await status(scope="observe") == 403
        assert await status("/metrics", None) == 403
        assert await status("/metrics", None, scope="observe") == 200
        assert await status(project_id="p1", body={**ASKED, "project_id": "p2"}) == 403
        assert await status(aud="there") == 401
        assert [await status(tenant_id="new") for _ in range(2)] == [200, 429]


async def test_keys_come_from_the_issuers_address(daemons: Any, ask: Any, config_for: Callable[..., Config]) -> None:
    """Once for many tokens; the daemon itself needs no more than the address."""
    looks: list[bytes] = []
    async with issuer(looks) as url:
        extra = text(f'jwks_url = "{url}"')
        components = msgspec.structs.replace(build_components(config_for("http://127.0.0.1:9", extra)), servers=())
        async with daemons(extra, components=components) as daemon:
            statuses = [(await ask(daemon.url, "GET", "/v1/tasks", **token())).status for _ in range(3)]

    assert statuses == [200, 200, 200]
    assert len(looks) == 1
    assert looks[0].startswith(b"GET /keys?set=1 HTTP/1.1\r\n")


async def test_an_issuer_that_fails_is_not_the_clients_fault(
    daemons: Any, ask: Any, config_for: Callable[..., Config]
) -> None:
    """503 with a time to come back; a redirect is not followed."""
    looks: list[bytes] = []
    async with issuer(looks, status="302 Found") as url:
        extra = text(f'jwks_url = "{url}"')
        components = msgspec.structs.replace(build_components(config_for("http://127.0.0.1:9", extra)), servers=())
        async with daemons(extra, components=components) as daemon:
            reply = await ask(daemon.url, "GET", "/v1/tasks", **token())

    assert reply.status == 503
    assert int(reply.headers["retry-after"]) >= 1
    assert len(looks) == 1

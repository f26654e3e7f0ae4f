"""A web page in the user's browser must not get in where nobody has to prove who they are (S6, S17)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import pytest

from llm_pool.server.components import build_components

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from llm_pool.config import Config

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

BODY = b'{"prompt":"hi"}'
OPEN = '[server]\nhttp_addr = "127.0.0.1:0"\ngrpc_addr = "127.0.0.1:0"\n'


@pytest.fixture
def opened(daemons: Any, config_for: Callable[..., Config]) -> Callable[..., Any]:
    """Starts a daemon without clients, with the parts that the command gives it."""

    @contextlib.asynccontextmanager
    async def start(extra: str = OPEN) -> AsyncIterator[Any]:
        components = msgspec.structs.replace(build_components(config_for("http://127.0.0.1:9", extra)), servers=())
        async with daemons(extra, components=components) as running:
            yield running

    return start


@pytest.fixture
def ask_as(ask_raw: Callable[..., Any]) -> Callable[..., Any]:
    """Asks with the ``Host`` and further headers of the test's choice; PORT in them is the daemon's."""

    async def ask(daemon: Any, host: str, *lines: str, path: str = "POST /v1/infer") -> Any:
        head = [f"{path} HTTP/1.1", f"Host: {host}", *lines, "Connection: close", f"Content-Length: {len(BODY)}"]
        port = str(urlsplit(daemon.url).port)
        return await ask_raw(daemon.url, "\r\n".join(head).replace("PORT", port).encode() + b"\r\n\r\n" + BODY)

    return ask


@pytest.mark.parametrize("host", ["127.0.0.1:PORT", "localhost:PORT", "LOCALHOST", "[::1]:PORT", "127.0.0.2", "[::1]"])
async def test_this_machine_s_own_names_are_good(opened: Any, ask_as: Any, host: str) -> None:
    """With port and without."""
    async with opened() as daemon:
        assert (await ask_as(daemon, host)).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example:PORT", "localhost.evil.example", "127.0.0.1.nip.io", "192.168.0.7", "[fe80::1]", "2130706433", "_"],
)
@pytest.mark.parametrize("path", ["POST /v1/infer", "GET /health", "GET /metrics", "GET /none", "POST /api/chat"])
async def test_names_that_lead_here_by_rebinding_are_refused(opened: Any, ask_as: Any, host: str, path: str) -> None:
    """Before anything else is looked at, and no model is asked."""
    async with opened() as daemon:
        reply = await ask_as(daemon, host, path=path)

        assert reply.status == 403
        assert "server.hosts" in str(reply.json)
        assert daemon.upstream.counts.requests == 0


@pytest.mark.parametrize(
    "lines",
    [
        ["Origin: https://evil.example"],
        ["Origin: http://localhost.evil.example:PORT"],
        ["Origin: null"],
        ["Origin: "],
        ["Sec-Fetch-Site: cross-site"],
        ["Origin: https://evil.example", "Sec-Fetch-Site: same-origin"],
        ["Origin: https://evil.example", "Content-Type: text/plain"],
    ],
)
async def test_pages_of_other_sites_are_refused(opened: Any, ask_as: Any, lines: list[str]) -> None:
    """Though they come by a good name; the answer lets no page read it."""
    async with opened() as daemon:
        reply = await ask_as(daemon, "127.0.0.1:PORT", *lines)

        assert (reply.status, reply.json["error"]["code"]) == (403, "permission_denied")
        assert not any(name.startswith("access-control") for name in reply.headers)
        assert daemon.upstream.counts.requests == 0


@pytest.mark.parametrize(
    "lines",
    [
        ["Origin: http://127.0.0.1:PORT", "Sec-Fetch-Site: same-origin"],
        ["Origin: http://localhost:3000", "Sec-Fetch-Site: cross-site"],
        ["Sec-Fetch-Site: same-origin"],
        ["Sec-Fetch-Site: none"],
    ],
)
async def test_pages_of_this_machine_are_good(opened: Any, ask_as: Any, lines: list[str]) -> None:
    """Our own among them."""
    async with opened() as daemon:
        assert (await ask_as(daemon, "127.0.0.1:PORT", *lines)).status == 200


async def test_a_preflight_allows_nothing(opened: Any, ask_as: Any) -> None:
    """No page gets to send JSON from another site."""
    lines = ["Origin: https://evil.example", "Access-Control-Request-Method: POST"]
    async with opened() as daemon:
        reply = await ask_as(daemon, "127.0.0.1:PORT", *lines, path="OPTIONS /v1/infer")

    assert reply.status == 403
    assert not any(name.startswith("access-control") for name in reply.headers)


async def test_further_names_are_the_operator_s_to_give(opened: Any, ask_as: Any) -> None:
    """For a proxy on this machine, and for a page of one's own."""
    async with opened(OPEN + 'hosts = ["pool.example"]\n') as daemon:
        replies = [
            await ask_as(daemon, "Pool.example:8080"),
            await ask_as(daemon, "127.0.0.1", "Origin: https://pool.example"),
            await ask_as(daemon, "not.pool.example"),
        ]

    assert [reply.status for reply in replies] == [200, 200, 403]


async def test_who_proves_itself_may_come_by_any_name(opened: Any, ask_as: Any) -> None:
    """A page has no key to send, and what has one was meant to come."""
    async with opened(OPEN + '[tenancy.acme]\napi_key = "acme-secret-of-the-tests"\n') as daemon:
        key = "Authorization: Bearer acme-secret-of-the-tests"
        replies = [await ask_as(daemon, "pool.example", key), await ask_as(daemon, "pool.example")]

    assert [reply.status for reply in replies] == [200, 401]

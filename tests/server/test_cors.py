"""Which web pages may read answers: CORS by the one rule that also keeps foreign pages out."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import pytest

from llm_pool.config import parse
from llm_pool.core.errors import ConfigError
from llm_pool.server.components import build_components

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from llm_pool.config import Config

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

OPEN = '[server]\nhttp_addr = "127.0.0.1:0"\ngrpc_addr = "127.0.0.1:0"\n'
LISTED = (
    f'{OPEN}hosts = ["pool.example"]\norigins = ["https://app.example", "app://obsidian.md", "vscode-webview://*"]\n'
)
KEYS = '[tenancy.acme]\napi_key = "acme-secret-of-the-tests"\n'
GOOD = [
    "http://localhost:3000",
    "http://127.0.0.1:8080",
    "https://[::1]",
    "tauri://localhost",
    "https://pool.example",
    "https://app.example",
    "app://obsidian.md",
    "vscode-webview://0a1b2c",
]
BAD = [
    "https://evil.example",
    "http://app.example",
    "https://app.example:8443",
    "https://app.example.evil.example",
    "https://sub.app.example",
    "app://evil.md",
    "chrome-extension://abcdefghijklmnop",
    "vscode-webviewer://x",
    "null",
    "",
]


@pytest.fixture
def opened(daemons: Any, config_for: Callable[..., Config]) -> Callable[..., Any]:
    """Starts a daemon with the parts that the command gives it."""

    @contextlib.asynccontextmanager
    async def start(extra: str = LISTED) -> AsyncIterator[Any]:
        components = msgspec.structs.replace(build_components(config_for("http://127.0.0.1:9", extra)), servers=())
        async with daemons(extra, components=components) as running:
            yield running

    return start


def cors(reply: Any) -> dict[str, str]:
    """The headers that let a page read."""
    return {name: value for name, value in reply.headers.items() if name.startswith("access-control")}


async def preflight(ask: Any, url: str, origin: str, path: str = "/v1/chat/completions", **headers: str) -> Any:
    asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization, x-stainless-os"}
    return await ask(url, "OPTIONS", path, Origin=origin, **asked, **headers)


@pytest.mark.parametrize("origin", GOOD)
@pytest.mark.parametrize("extra", [LISTED, LISTED + KEYS], ids=["open", "with keys"])
async def test_pages_that_may_ask_may_read(opened: Any, ask: Any, origin: str, extra: str) -> None:
    """After a preflight that needs no key, answers and errors alike."""
    async with opened(extra) as daemon:
        first = await preflight(ask, daemon.url, origin)
        key = {"Authorization": "Bearer acme-secret-of-the-tests"} if KEYS in extra else {}
        read = [
            await ask(daemon.url, "GET", "/api/tags", Origin=origin, **key),
            await ask(daemon.url, "GET", "/none", Origin=origin, **key),
            await ask(daemon.url, "POST", "/v1/infer", {"promt": "x"}, Origin=origin),
        ]

    assert first.status == 204
    assert cors(first)["access-control-allow-headers"] == "authorization, x-stainless-os"
    assert "POST" in cors(first)["access-control-allow-methods"]
    assert [reply.status for reply in read] == ([200, 403, 401] if key else [200, 404, 400])
    for reply in (first, *read):
        assert cors(reply)["access-control-allow-origin"] == origin
        assert "x-request-id" in cors(reply)["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in cors(reply)
        assert "origin" in reply.headers["vary"] or reply is first


@pytest.mark.parametrize("origin", BAD)
@pytest.mark.parametrize(("extra", "status"), [(LISTED, 403), (LISTED + KEYS, 401)], ids=["open", "with keys"])
async def test_other_pages_may_not(opened: Any, ask: Any, origin: str, extra: str, status: int) -> None:
    """No header lets them, whoever would be asked."""
    async with opened(extra) as daemon:
        replies = [
            await preflight(ask, daemon.url, origin),
            await ask(daemon.url, "GET", "/api/tags", Origin=origin),
            await ask(daemon.url, "GET", "/livez", Origin=origin),
        ]

    assert [reply.status for reply in replies] == [status, status, 200]
    assert not any(cors(reply) for reply in replies)


async def test_by_a_name_that_leads_here_for_deception_nobody_reads(opened: Any, ask_raw: Any) -> None:
    """Though the page is one that might."""
    head = "GET /livez HTTP/1.1\r\nHost: evil.example:PORT\r\nOrigin: https://app.example\r\nConnection: close\r\n\r\n"
    async with opened() as daemon:
        port = str(urlsplit(daemon.url).port)
        reply = await ask_raw(daemon.url, head.replace("PORT", port).encode())

    assert reply.status == 200
    assert not cors(reply)


async def test_two_origins_are_none(opened: Any, ask_raw: Any) -> None:
    """Of two, one reader would believe the first and another the last."""
    head = (
        "OPTIONS /v1/infer HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nOrigin: https://app.example\r\n"
    )
    async with opened() as daemon:
        more = "Access-Control-Request-Method: POST\r\nConnection: close\r\n\r\n"
        reply = await ask_raw(daemon.url, (head + more).encode())

    assert reply.status == 403
    assert not cors(reply)


@pytest.mark.parametrize("names", ["a b", "x" * 101, "a,,b", "a\x01"])
async def test_header_names_that_are_none_are_not_said_back(opened: Any, ask: Any, names: str) -> None:
    async with opened() as daemon:
        reply = await ask(
            daemon.url,
            "OPTIONS",
            "/v1/infer",
            Origin="https://app.example",
            Access_Control_Request_Method="POST",
            Access_Control_Request_Headers=names,
        )

    assert "access-control-allow-headers" not in reply.headers


@pytest.mark.parametrize("origin", ["*", "null", "https://*", "https://app.example/", "https://App.example", "app", ""])
def test_what_would_let_everybody_in_is_no_origin(origin: str) -> None:
    """Nor what no browser sends."""
    provider = '[[providers]]\nname = "a"\ndriver = "ollama"\nmodel = "m"\nbase_url = "http://127.0.0.1:9"\n'

    with pytest.raises(ConfigError, match=r"server\.origins"):
        parse(f'[server]\norigins = ["{origin}"]\n{provider}', Path("llm-pool.toml"))

"""Servers, and other programs where servers could be, on real sockets."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.config import Driver
from llm_pool.discovery.probing import probe
from llm_pool.discovery.servers import DefaultPort, servers_to_ask
from llm_pool.testing.processes import running_upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_pool.discovery.models import FoundModel

TIMEOUT = 0.15
MARGIN = 0.15
"""Seconds that a busy machine may add."""


@contextmanager
def serving(replies: dict[str, Any], kind: str = "application/json") -> Iterator[int]:
    """A web server's port; it answers by path, with 404 elsewhere, and a body that is no text as JSON."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            asked = json.loads(self.rfile.read(length)) if length else {}
            reply = replies.get(f"{self.path} {asked['model']}" if "model" in asked else self.path)
            body = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
            self.send_response(404 if reply is None else 200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  # http.server's names

        def log_message(self, *_words: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


def found(*ports: tuple[Driver, int], timeout: float = 2.0) -> tuple[FoundModel, ...]:
    table = [DefaultPort(driver.value, driver, port) for driver, port in ports]
    return probe(servers_to_ask({}, table), timeout)


def names(*ports: tuple[Driver, int], timeout: float = 2.0) -> list[str]:
    return [model.name for model in found(*ports, timeout=timeout)]


def test_both_kinds_of_server_say_what_they_have() -> None:
    with (
        running_upstream("--model", "qwen3:4b,2.5", "--model", "gemma3:4b") as ollama,
        running_upstream("--flavor", "llama-server", "--model", "phi-4-mini") as llama,
    ):
        ports = [(Driver.OLLAMA, int(ollama.rpartition(":")[2])), (Driver.OPENAI, int(llama.rpartition(":")[2]))]
        models = found(*ports)

    assert [(model.name, model.shares_memory) for model in models] == [
        ("qwen3:4b", True),
        ("gemma3:4b", True),
        ("phi-4-mini", False),
    ]
    assert models[0].size == 2_500_000_000


def test_what_an_older_ollama_does_not_list_is_asked_for() -> None:
    """Of a model whose capabilities are not in the list, ``/api/show`` has them."""
    listed = [{"name": name, "digest": "d", "details": {}} for name in ("a", "b", "c:cloud", "my-embedder")]
    shown = {"/api/show a": {"capabilities": ["completion"]}, "/api/show b": {"capabilities": ["embedding"]}}
    with serving({"/api/tags": {"models": listed}, **shown}) as port:
        assert names((Driver.OLLAMA, port)) == ["a"]


@pytest.mark.parametrize("owner", ["vllm", "sglang", "llama-swap", "jan"])
def test_lists_of_openai_shaped_servers(owner: str) -> None:
    listed = {"object": "list", "data": [{"id": name, "owned_by": owner} for name in ("qwen", "text-embedding-x")]}
    with serving({"/v1/models": listed}) as port:
        assert names((Driver.OPENAI, port)) == ["qwen"]


@pytest.mark.parametrize(
    "replies",
    [
        {},
        {"/v1/models": {"data": [{"id": 1, "name": "Ford Focus"}], "total": 1}, "/api/tags": {"tags": ["a"]}},
        {"/v1/models": [{"name": "Ford Focus"}], "/api/tags": [{"name": "travel"}]},
        {"/v1/models": {"models": [{"name": "Ford Focus"}]}, "/api/tags": {"models": [{"name": "travel", "id": 7}]}},
        {"/v1/models": "hello", "/api/tags": 7},
        {"/v1/models": b"<html><title>My app</title></html>", "/api/tags": b"<html>"},
        {"/v1/models": b"\xff\x00{{{{", "/api/tags": b"[" * 100_000},
        {"/v1/models": {"data": [{"id": "pool", "owned_by": "llm-pool"}]}},
        {"/api/tags": {"models": [{"name": "pool", "digest": "d", "details": {"family": "llm-pool"}}]}},
    ],
)
def test_other_programs_are_passed_over(replies: dict[str, Any]) -> None:
    """A web application, garbage, and ourselves."""
    with serving(replies, "text/html") as port:
        assert names((Driver.OPENAI, port)) == []
        assert names((Driver.OLLAMA, port)) == []


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-OpenSSH_9.6\r\n"])
def test_a_program_that_speaks_no_http_costs_the_timeout_at_most(greeting: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, running_upstream("--model", "qwen3:4b") as url:
        connections: list[socket.socket] = []

        def greet() -> None:
            connection, _ = listener.accept()
            connection.sendall(greeting)
            connections.append(connection)

        threading.Thread(target=greet, daemon=True).start()
        ports = [(Driver.OPENAI, listener.getsockname()[1]), (Driver.OLLAMA, int(url.rpartition(":")[2]))]
        began = time.monotonic()
        models = names(*ports, timeout=TIMEOUT)
        took = time.monotonic() - began
        for connection in connections:
            connection.close()

    assert models == ["qwen3:4b"]
    assert took < TIMEOUT + MARGIN


def test_nobody_costs_next_to_nothing() -> None:
    began = time.monotonic()

    assert names(*((Driver.OPENAI, port) for port in (1, 2, 3, 4, 5)), timeout=5.0) == []
    assert time.monotonic() - began < MARGIN


def test_nothing_but_the_named_addresses_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxies the environment names, and wherever answers point to."""
    asked = set[Any]()
    connect = socket.socket.connect

    def recording(self: socket.socket, address: Any) -> Any:
        asked.add(address)
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", recording)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    listed = {"data": [{"id": "m", "owned_by": "vllm", "url": "http://127.0.0.1:3/"}]}
    with serving({"/v1/models": listed}) as port:
        assert names((Driver.OPENAI, port), (Driver.OLLAMA, 1)) == ["m"]

    assert asked == {("127.0.0.1", port), ("127.0.0.1", 1)}

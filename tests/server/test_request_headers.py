"""One id for a request, from its header to the log; the same key again is replayed; a trace goes on to the backends."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.config import LogFormat
from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Query
from llm_pool.server import ollama, openai
from llm_pool.server.components import build_components
from llm_pool.server.daemon import Components
from llm_pool.server.request_headers import correlation_id, identified
from llm_pool.telemetry.logs import RequestLog, set_up

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from llm_pool.config import Config

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CHAT = {"model": "pool", "messages": [{"role": "user", "content": "hello"}]}
ASKING = {
    "/v1/infer": {"prompt": "hello"},
    "/v1/chat/completions": CHAT,
    "/api/chat": {**CHAT, "stream": False},
    "/api/generate": {"model": "pool", "prompt": "hello", "stream": False},
}
"""Every way to ask the models over HTTP."""


@pytest.fixture
async def pool(daemons: Any, config_for: Callable[..., Config]) -> AsyncIterator[Any]:
    """A daemon with all its HTTP parts."""
    components = msgspec.structs.replace(build_components(config_for("http://127.0.0.1:9")), servers=())
    async with daemons(components=components) as running:
        yield running


@pytest.fixture
def logged() -> Iterator[Callable[[], str]]:
    """What is logged, once it is written; waits for that."""
    out = io.StringIO()
    undo = set_up(LogFormat.JSON, out)

    def read() -> str:
        for handler in logging.getLogger("llm_pool").handlers:
            handler.flush()
        return out.getvalue()

    yield read
    undo()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        *(("POST", path, body) for path, body in ASKING.items()),
        ("POST", "/v1/chat/completions", {**CHAT, "stream": True}),
        ("POST", "/v1/infer", {"prompt": "hello", "stream": True}),
        ("POST", "/v1/infer", {"promt": "a typing mistake"}),
        ("POST", "/api/chat", {"model": "nobody"}),
        ("GET", "/v1/models", None),
        ("GET", "/livez", None),
        ("GET", "/none", None),
        ("GET", "/", None),
        ("PUT", "/v1/infer", None),
    ],
)
async def test_every_answer_and_error_goes_out_under_the_senders_id(
    pool: Any, ask: Any, method: str, path: str, body: Any
) -> None:
    """Or under a new one each time."""
    named = await ask(pool.url, method, path, body, X_Request_Id="corr-1")
    unnamed = [await ask(pool.url, method, path, body) for _ in range(2)]

    assert named.headers["x-request-id"] == "corr-1"
    assert len({reply.headers["x-request-id"] for reply in unnamed}) == 2


@pytest.mark.parametrize("sent", ["", "a b", "é", "x" * 201, "a\tb"])
async def test_what_is_no_id_is_not_taken(pool: Any, ask: Any, sent: str) -> None:
    """It is told by nobody, and refused by nobody: proxies write it."""
    reply = await ask(pool.url, "POST", "/v1/infer", {"prompt": "hi"}, X_Request_Id=sent)

    assert reply.status == 200
    assert reply.headers["x-request-id"] not in {sent, ""}


async def test_a_request_that_is_no_http_has_an_id_too(pool: Any, ask_raw: Any) -> None:
    reply = await ask_raw(pool.url, b"GET /none HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")

    assert reply.status == 400
    assert len(reply.headers["x-request-id"]) == 32


async def test_the_id_of_the_body_names_the_answer(pool: Any, ask: Any) -> None:
    """The sender's correlation goes before it."""
    body = {"prompt": "hi", "request_id": "mine"}
    alone = await ask(pool.url, "POST", "/v1/infer", body)
    both = await ask(pool.url, "POST", "/v1/infer", body, X_Request_Id="corr-1")

    assert (alone.headers["x-request-id"], alone.json["request_id"]) == ("mine", "mine")
    assert (both.headers["x-request-id"], both.json["request_id"]) == ("corr-1", "mine")


async def test_the_lines_of_failures_name_the_request(daemons: Any, ask: Any, logged: Callable[[], str]) -> None:
    """Those of the request, and what else is logged while it is served."""
    async with daemons(components=Components(observers=(RequestLog(),)), deadline_ms=200) as running:
        running.upstream.set_mode("*", "hang")
        await ask(running.url, "POST", "/v1/infer", {"prompt": "hi"}, X_Request_Id="corr-1")
        await ask(running.url, "POST", "/v1/infer", {"prompt": "hi", "request_id": "m"}, X_Request_Id="corr-2")

    told = await asyncio.to_thread(logged)
    lines = [line for text in told.splitlines() if (line := json.loads(text))["message"] == "refused"]
    assert [(line["request_id"], line.get("correlation_id")) for line in lines] == [("corr-1", None), ("m", "corr-2")]


async def test_refusals_at_the_door_name_the_request(
    daemons: Any, config_for: Callable[..., Config], ask: Any, logged: Callable[[], str]
) -> None:
    extra = '[server]\nhttp_addr = "127.0.0.1:0"\n[tenancy.acme]\napi_key = "acme-secret-of-the-tests"\n'
    components = msgspec.structs.replace(
        build_components(config_for("http://127.0.0.1:9", extra)), servers=(), lifespans=()
    )
    observed = msgspec.structs.replace(components, observers=(*components.observers,))
    async with daemons(extra, components=observed) as running:
        assert (await ask(running.url, "POST", "/v1/infer", {"prompt": "hi"}, X_Request_Id="corr-3")).status == 401

    told = await asyncio.to_thread(logged)
    denied = [line for text in told.splitlines() if (line := json.loads(text))["message"] == "access denied"]
    assert [line["request_id"] for line in denied] == ["corr-3"]


@pytest.mark.parametrize(("path", "body"), ASKING.items())
async def test_the_same_key_is_replayed_and_another_body_refused(pool: Any, ask: Any, path: str, body: Any) -> None:
    """On every API, though the cache would not help."""
    first = await ask(pool.url, "POST", path, body, Idempotency_Key="key")
    asked = pool.upstream.counts.requests
    again = await ask(pool.url, "POST", path, body, Idempotency_Key="key")
    other = (
        {**body, "prompt": "other"} if "prompt" in body else {**body, "messages": [{"role": "user", "content": "o"}]}
    )
    refused = await ask(pool.url, "POST", path, other, Idempotency_Key="key")

    assert (first.status, again.status, refused.status) == (200, 200, 422)
    assert pool.upstream.counts.requests == asked
    assert b"Idempotency-Key" in refused.body
    assert first.headers["x-request-id"] == again.headers["x-request-id"] == "key"


async def test_key_and_request_id_are_one_id(pool: Any, ask: Any) -> None:
    """Equal, they say the same; different, nobody can tell which is meant."""
    same = await ask(pool.url, "POST", "/v1/infer", {"prompt": "hi", "request_id": "a"}, Idempotency_Key="a")
    two = await ask(pool.url, "POST", "/v1/infer", {"prompt": "hi", "request_id": "a"}, Idempotency_Key="b")
    by_body = await ask(pool.url, "POST", "/v1/infer", {"prompt": "another", "request_id": "a"})

    assert (same.status, same.json["request_id"]) == (200, "a")
    assert (two.status, two.json["error"]["field"]) == (400, "Idempotency-Key")
    assert (by_body.status, by_body.json["error"]["code"]) == (422, "request_id_reused")
    assert by_body.json["error"]["field"] == "request_id"


@pytest.mark.parametrize("key", ["", "a b", "x" * 201])
async def test_a_key_that_is_no_id_is_refused(pool: Any, ask: Any, key: str) -> None:
    """It was meant to protect from asking twice, so it is not left out in silence."""
    reply = await ask(pool.url, "POST", "/v1/infer", {"prompt": "hi"}, Idempotency_Key=key)

    assert (reply.status, reply.json["error"]["field"]) == (400, "Idempotency-Key")


@given(st.lists(st.tuples(st.sampled_from([b"x-request-id", b"idempotency-key", b"traceparent"]), st.binary())))
def test_whatever_comes_in_headers_ends_in_ids_that_are_bounded(headers: list[tuple[bytes, bytes]]) -> None:
    """Visible ASCII of at most 200 characters, or a refusal."""
    name = correlation_id(headers)
    try:
        query = identified(Query(prompt=""), headers, name)
    except InvalidRequest:
        return
    for text in (name, query.correlation_id, query.request_id or "x"):
        assert 1 <= len(text) <= 200
        assert all("!" <= letter <= "~" for letter in text)
    assert len("".join(query.trace.values())) <= 1000


class Backend:
    """A server of OpenAI's shape that keeps the heads and bodies of what it is asked."""

    def __init__(self) -> None:
        self.heads, self.bodies = list[str](), list[Any]()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Its address."""
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next((int(line.partition(":")[2]) for line in head.splitlines() if "content-length" in line), 0)
        body = await reader.readexactly(length)
        if body:
            self.heads.append(head)
            self.bodies.append(msgspec.json.decode(body))
        said = {"choices": [{"message": {"content": "blue"}, "finish_reason": "stop"}]}
        data = msgspec.json.encode(said if body else {"data": [{"id": "m"}]})
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n")
        writer.write(b"content-length: %d\r\n\r\n%s" % (len(data), data))
        await writer.drain()
        writer.close()


@pytest.mark.parametrize("driver", ["ollama", "openai"])
async def test_the_trace_context_goes_on_to_the_backend(daemons: Any, ask: Any, driver: str) -> None:
    """Of the request alone, whatever the daemon itself traces; what is none goes nowhere."""
    backend = Backend()
    async with backend.running() as url:
        providers = f'[[providers]]\nname = "one"\ndriver = "{driver}"\nmodel = "m"\nbase_url = "{url}"\nretries = 0\n'
        extra = '[server]\nhttp_addr = "127.0.0.1:0"\nwarm = false\n[qos]\nmax_deadline_ms = 1000\n'
        async with daemons(extra, providers=providers) as running:
            for number, sent in enumerate((TRACE, "not a trace", f"{TRACE}, {TRACE}")):
                body = {"prompt": f"hi {number}"}
                await ask(running.url, "POST", "/v1/infer", body, Traceparent=sent, Tracestate="a=b")
            await ask(running.url, "POST", "/v1/infer", {"prompt": "untraced"})

    asked = [head for head, body in zip(backend.heads, backend.bodies, strict=True) if "messages" in body]
    assert len(asked) == 4
    assert f"traceparent: {TRACE}\r\ntracestate: a=b\r\n" in asked[0]
    assert not any("trace" in head for head in asked[1:])


async def test_the_apis_are_all_here() -> None:
    """A new way to ask gets its line in this table."""
    own = {"/v1/infer"}
    routes = [*openai.OpenAI(None, None).routes(), *ollama.Ollama(None, None).routes()]  # type: ignore[arg-type]
    asking = {route.path for route in routes if route.path in {"/v1/chat/completions", "/api/chat", "/api/generate"}}

    assert own | asking == set(ASKING)

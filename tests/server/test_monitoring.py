from __future__ import annotations

import asyncio
import gzip
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from llm_pool.config.values import Scope
from llm_pool.core.errors import ConfigError, LlmPoolError
from llm_pool.core.messages import Query, StrategyName
from llm_pool.security import Principal
from llm_pool.server.daemon import Components
from llm_pool.server.middleware import AllowAll
from llm_pool.server.monitoring import Monitoring
from llm_pool.server.page import FILES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from llm_pool.config import Config
    from llm_pool.engine.generations import PoolManager

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]


class Names(AllowAll):
    """Lets everybody in as the tenant of their ``X-Tenant`` header, with ``observe`` and ``operate`` for the boss."""

    async def authenticate(self, headers: Sequence[tuple[bytes, bytes]], *_rest: object) -> Principal:
        name = dict(headers)[b"x-tenant"].decode()
        return Principal(name=name, tenant_id=name, scopes=frozenset(Scope if name == "boss" else {Scope.INFER}))


@pytest.fixture
def watched(daemons: Any, config_for: Callable[..., Config]) -> Callable[..., AbstractAsyncContextManager[Any]]:
    """Starts daemons that are watched; *telemetry* is the section's text."""

    @asynccontextmanager
    async def start(telemetry: str = "", access: Any = None, extra: str = "", **more: Any) -> AsyncIterator[Any]:
        monitoring = Monitoring(config_for("http://127.0.0.1:1", f"[telemetry]\n{telemetry}"))
        components = Components(
            access=access or AllowAll(), observers=monitoring.observers, extensions=(monitoring.add_routes,)
        )
        async with daemons(extra, components=components, **more) as daemon:
            yield daemon

    return start


async def until_in_flight(manager: PoolManager, count: int) -> None:
    async with asyncio.timeout(5):
        while manager.in_flight != count:  # noqa: ASYNC110  # a pool has no event for it
            await asyncio.sleep(0.005)


async def test_metrics_are_served_for_prometheus(watched: Any, ask: Any) -> None:
    """With what has happened, and how the pool stands."""
    async with watched() as daemon:
        await daemon.manager.infer(Query(prompt="x"))
        await daemon.manager.health()  # a scrape waits for no backend: it tells what was seen last

        said = await ask(daemon.url, "GET", "/metrics")

    assert said.status == 200
    assert said.headers["content-type"].startswith("text/plain")
    assert b'llmpool_requests_total{outcome="answered",task="ask"} 1.0' in said.body
    assert b'llmpool_provider_healthy{provider="gemma2"} 1.0' in said.body


async def test_what_is_switched_off_is_not_there(watched: Any, ask: Any) -> None:
    """Neither metrics nor page."""
    async with watched("metrics = false\npage = false") as daemon:
        statuses = [(await ask(daemon.url, "GET", path)).status for path in ("/metrics", "/", "/page.js")]

    assert statuses == [404, 404, 404]


async def test_the_status_tells_of_providers_and_of_what_happened(watched: Any, ask: Any) -> None:
    """Without prompts and answers."""
    async with watched() as daemon:
        await daemon.manager.infer(Query(prompt="my secret", strategy=StrategyName.VOTING))
        with pytest.raises(LlmPoolError):
            await daemon.manager.infer(Query(prompt="my secret", task="nonsense"))

        said = await ask(daemon.url, "GET", "/v1/status")
        later = await ask(daemon.url, "GET", f"/v1/status?since={said.json['latest']}")

    assert said.json["verdict"] == {"state": "serving", "why": []}
    assert [provider["name"] for provider in said.json["providers"]] == ["phi3", "llama3.1", "gemma2"]
    first, second = said.json["recent"]
    assert first["decision"]["attempts"]
    assert second["error"]["code"] == "invalid_request"
    assert b"secret" not in said.body
    assert later.json["recent"] == []


async def test_captured_prompts_and_candidates_are_shown(watched: Any, ask: Any) -> None:
    """Where that is switched on."""
    async with watched("capture = true") as daemon:
        await daemon.manager.infer(Query(prompt="sky?", strategy=StrategyName.VOTING))

        (told,) = (await ask(daemon.url, "GET", "/v1/status")).json["recent"]
        daemon.upstream.set_mode("*", "hang")
        asking = asyncio.create_task(daemon.manager.infer(Query(prompt="sea?")))
        await until_in_flight(daemon.manager, 1)
        (running,) = (await ask(daemon.url, "GET", "/v1/status")).json["requests"]
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    assert told["prompt"] == "sky?"
    assert running["prompt"] == "sea?"
    assert told["content"] in told["said"].values()


async def test_an_open_breaker_is_told_with_its_countdown(watched: Any, ask: Any) -> None:
    """And the pool is degraded."""
    async with watched() as daemon:
        daemon.upstream.set_mode("gemma2:9b", "error:500")
        for number in range(8):
            await daemon.manager.infer(Query(prompt=f"{number}", strategy=StrategyName.CONSENSUS))

        said = (await ask(daemon.url, "GET", "/v1/status")).json

    (breaker,) = said["providers"][2]["breakers"]
    assert (breaker["state"], breaker["task"]) == ("open", "ask")
    assert 0 < breaker["retry_after_ms"] <= 330_000
    assert said["verdict"] == {"state": "degraded", "why": ["gemma2: breaker open"]}


async def test_a_request_in_flight_can_be_cancelled(watched: Any, ask: Any) -> None:
    """Its asker hears who did; the upstream is told to stop."""
    async with watched() as daemon:
        daemon.upstream.set_mode("*", "hang")
        asking = asyncio.create_task(ask(daemon.url, "POST", "/v1/infer", {"prompt": "x"}))
        await until_in_flight(daemon.manager, 1)

        (running,) = (await ask(daemon.url, "GET", "/v1/status")).json["requests"]
        cancelled = await ask(daemon.url, "DELETE", f"/v1/requests/{running['number']}")
        again = await ask(daemon.url, "DELETE", f"/v1/requests/{running['number']}")
        answer = await asking
        counted = await ask(daemon.url, "GET", "/metrics")

    assert (cancelled.status, again.status) == (200, 404)
    assert (answer.status, answer.json["error"]["code"]) == (499, "cancelled")
    assert "prompt" not in running
    assert b'llmpool_requests_total{outcome="cancelled",task="ask"} 1.0' in counted.body


async def test_a_tenant_sees_and_cancels_its_own(watched: Any, ask: Any) -> None:
    """The operator sees and cancels all."""
    async with watched(access=Names()) as daemon:
        await daemon.manager.infer(Query(prompt="x", tenant_id="acme"))
        daemon.upstream.set_mode("*", "hang")
        asking = asyncio.create_task(daemon.manager.infer(Query(prompt="y", tenant_id="acme")))
        await until_in_flight(daemon.manager, 1)
        (running,) = daemon.manager.running()

        seen = {
            name: (await ask(daemon.url, "GET", "/v1/status", X_Tenant=name)).json for name in ("acme", "evil", "boss")
        }
        stolen = await ask(daemon.url, "DELETE", f"/v1/requests/{running.number}", X_Tenant="evil")
        still_there = daemon.manager.in_flight
        by_boss = await ask(daemon.url, "DELETE", f"/v1/requests/{running.number}", X_Tenant="boss")
        with pytest.raises(LlmPoolError):
            await asking

    shown = {name: (len(said["recent"]), len(said["requests"])) for name, said in seen.items()}
    assert shown == {"acme": (1, 1), "evil": (0, 0), "boss": (1, 1)}
    assert (stolen.status, still_there, by_boss.status) == (404, 1, 200)


async def test_the_configuration_is_shown_with_its_secrets_masked(watched: Any, ask: Any) -> None:
    """Defaults included."""
    secret = '[tenancy.acme]\napi_key = "0123456789abcdef0123456789abcdef"\n'
    async with watched(extra=secret) as daemon:
        said = await ask(daemon.url, "GET", "/v1/config")

    assert "hedge_after_ms = 300" in said.json["toml"]
    assert b"0123456789abcdef" not in said.body


@pytest.mark.parametrize("since", ["x", "-1", "9" * 40, "%F0"])
async def test_a_strange_cursor_is_a_mistake_of_the_client(watched: Any, ask: Any, since: str) -> None:
    """And no bug of ours."""
    async with watched() as daemon:
        said = await ask(daemon.url, "GET", f"/v1/status?since={since}")

    assert (said.status, said.json["error"]["field"]) == (400, "since")


async def test_the_page_allows_nothing_but_its_own_files(watched: Any, ask: Any) -> None:
    """No inline script or style is in it, and no address of anybody else."""
    async with watched() as daemon:
        page = await ask(daemon.url, "GET", "/")
        files = [(await ask(daemon.url, "GET", path)).body.decode() for path in FILES if path != "/"]

    assert page.headers["content-security-policy"].startswith("default-src 'self';")
    html = page.body.decode()
    assert not any(said in html for said in ("<style", " style=", "onclick", "javascript:", "http://", "https://"))
    assert html.count("<script") == 1
    code = [said.replace("http://www.w3.org/2000/svg", "") for said in files]  # a namespace, and nothing to load
    assert not any("http://" in said or "https://" in said or "innerHTML" in said for said in code)


async def test_spans_reach_a_collector_in_the_clients_trace(daemons: Any, config_for: Any, ask: Any) -> None:
    """What is left is sent when the daemon ends."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    received: list[bytes] = []

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        received.append(await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0])))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(collect, "127.0.0.1", 0) as collector:
        port = collector.sockets[0].getsockname()[1]
        telemetry = f'[telemetry]\ntraces = "http://127.0.0.1:{port}/v1/traces"\n'
        monitoring = Monitoring(config_for("http://127.0.0.1:1", telemetry))
        components = Components(
            observers=monitoring.observers, extensions=(monitoring.add_routes,), lifespans=(monitoring.lifespan,)
        )
        async with daemons(components=components) as daemon:
            trace = "0af7651916cd43dd8448eb211c80319c"
            await ask(daemon.url, "POST", "/v1/infer", {"prompt": "x"}, traceparent=f"00-{trace}-b7ad6b7169203331-01")

    spans = b"".join(received)
    assert spans.count(bytes.fromhex(trace)) == 2
    assert b"infer ask" in spans
    assert b"chat phi3:mini" in spans


async def test_without_opentelemetry_traces_are_a_mistake_in_the_configuration(
    config_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hint says what to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)

    with pytest.raises(ConfigError, match="the extra 'otel'") as caught:
        Monitoring(config_for("http://127.0.0.1:1", '[telemetry]\ntraces = "http://127.0.0.1:4318/v1/traces"\n'))

    assert caught.value.hint == "pip install 'llm-pool[otel]'"


@pytest.mark.parametrize("number", ["9" * 5000, "-1", "x", "٣", "1e3"])
async def test_what_is_no_number_of_a_request_is_not_found(watched: Any, ask: Any, number: str) -> None:
    """However long: a 404, and no traceback."""
    async with watched() as daemon:
        said = await ask(daemon.url, "DELETE", f"/v1/requests/{quote(number)}")

    assert said.status == 404
    assert len(said.body) < 500


async def test_the_last_hour_is_told_by_the_minute(watched: Any, ask: Any) -> None:
    """Sixty of them; the last has what just happened."""
    async with watched() as daemon:
        await daemon.manager.infer(Query(prompt="x"))
        minutes = (await ask(daemon.url, "GET", "/v1/hour")).json["minutes"]

    assert len(minutes) == 60
    assert sum(minute["answered"] for minute in minutes[-2:]) == 1
    assert {name: wins for minute in minutes for name, wins in minute["wins"].items()} == {"phi3": 1}


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip", True), ("deflate, GZIP;q=0.5", True), ("*", True), ("gzip;q=0", False), ("*, gzip;q=0.0", False)],
)
async def test_metrics_are_packed_for_who_takes_it(watched: Any, ask: Any, accepted: str, packed: bool) -> None:
    """Prometheus does: the page is mostly the same words."""
    async with watched() as daemon:
        plain = await ask(daemon.url, "GET", "/metrics", X_Tenant="boss")
        said = await ask(daemon.url, "GET", "/metrics", X_Tenant="boss", Accept_Encoding=accepted)

    assert said.headers.get("content-encoding") == ("gzip" if packed else None)
    assert "content-encoding" not in plain.headers
    text = (gzip.decompress(said.body) if packed else said.body).decode()
    assert "llmpool_build_info" in text
    assert not packed or len(said.body) < len(plain.body) / 3

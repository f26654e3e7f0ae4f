"""R24: each fault moves exactly the counters that ``docs/observability.md`` says, over ``/metrics``."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from llm_pool.config import parse
from llm_pool.core.errors import ConfigError, LlmPoolError
from llm_pool.core.messages import Query
from llm_pool.server.components import build_components
from llm_pool.server.daemon import Components, open_daemon
from llm_pool.server.monitoring import Monitoring
from llm_pool.server.snapshot import snapshot
from llm_pool.telemetry.metrics import Metrics
from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from llm_pool.engine.generations import PoolManager

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

CONFIG = """
[server]
http_addr = "127.0.0.1:0"
[qos]
max_deadline_ms = 3000
queue_limit = 0
budget_ratio = 0
budget_floor = 0
[cache]
enabled = false
[groups."{url}"]
slots = 1
[[providers]]
name = "phi3"
driver = "ollama"
model = "phi3:mini"
base_url = "{url}"
timeout_ms = {timeout}
"""
TENANT = """
[tenancy.acme]
api_key = "{key}"
rate_limit_rps = 0.01
rate_limit_burst = 1
tasks = ["ask"]
"""
FAULTS = r"llmpool_(attempt_failures|timeouts|requests|breaker_open|reloads|access_denied|degraded)_total"


class Watched:
    """A daemon of one provider, and its counters."""

    def __init__(self, manager: PoolManager, upstream: Upstream, get: Callable[[], Awaitable[str]], text: str) -> None:
        self.manager, self.upstream, self.text, self._get = manager, upstream, text, get
        self._before: dict[str, float] = {}

    async def moved(self) -> dict[str, float]:
        """The counters of faults and requests that moved since the last time, without the provider and task."""
        now = {}
        for line in (await self._get()).splitlines():
            if match := re.match(rf"({FAULTS}\S*) (.*)", line):
                name = (
                    re.sub(r'(provider="phi3"|task="ask"),?', "", match[1]).replace("llmpool_", "").replace(",}", "}")
                )
                now[name.replace("{}", "")] = float(match[3])
        moved = {name: value - self._before.get(name, 0) for name, value in now.items()}
        self._before = now
        return {name: value for name, value in moved.items() if value}

    async def asked(self) -> None:
        """Wait until the upstream was asked."""
        async with asyncio.timeout(5):
            while not self.upstream.journal.entries:  # noqa: ASYNC110  # the upstream has no event for it
                await asyncio.sleep(0.01)

    async def ask(self, **changes: Any) -> None:
        with suppress(LlmPoolError):
            await self.manager.infer(Query(prompt="x", **changes))


@pytest.fixture
async def watched(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    monkeypatch.setenv("LLM_POOL_STATE", str(tmp_path / "state"))
    async with Upstream(["phi3:mini"]) as upstream:
        text = CONFIG.format(url=upstream.url, timeout=getattr(request, "param", 3000))
        config = parse(text, tmp_path / "llm-pool.toml")
        monitoring = Monitoring(config)
        async with open_daemon(
            config, Components(observers=monitoring.observers, extensions=(monitoring.add_routes,))
        ) as daemon:
            yield Watched(daemon.manager, upstream, lambda: page(daemon.urls[0]), text)


async def page(url: str) -> str:
    """The metrics."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    said = (await reader.read()).decode()
    writer.close()
    return said


async def status(url: str, body: Any, key: str) -> int:
    """The status of a request to ``/v1/infer`` with a bearer key."""
    host, port = url.removeprefix("http://").split(":")
    data = msgspec.json.encode(body)
    lines = ["POST /v1/infer HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {key}", "Connection: close"]
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write("\r\n".join([*lines, f"Content-Length: {len(data)}", "", ""]).encode() + data)
    said = await reader.read()
    writer.close()
    return int(said.split()[1])


FAILED = 'requests_total{outcome="all_providers_failed"}'
UNAVAILABLE = 'requests_total{outcome="all_providers_unavailable"}'


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("error:500", "failed"),
        ("error:404", "rejected"),
        ("reset:0", "unreachable"),
        ("cut:2", "failed"),
        ("error-in-stream:2", "failed"),
        ("garbage", "bad_reply"),
    ],
)
async def test_a_broken_backend_moves_the_failure_of_its_kind(watched: Watched, mode: str, kind: str) -> None:
    """And the request's outcome; nothing else."""
    watched.upstream.set_mode("phi3:mini", mode)

    await watched.ask()

    assert await watched.moved() == {f'attempt_failures_total{{kind="{kind}"}}': 1, FAILED: 1}


async def test_a_backend_that_says_when_it_has_room_is_told_apart(watched: Watched) -> None:
    """The request may be asked again then."""
    watched.upstream.set_mode("phi3:mini", "busy:1")

    await watched.ask()

    assert await watched.moved() == {'attempt_failures_total{kind="busy"}': 1, UNAVAILABLE: 1}


async def test_an_answer_moves_no_fault(watched: Watched) -> None:
    """One request, answered."""
    await watched.ask()

    assert await watched.moved() == {'requests_total{outcome="answered"}': 1}


async def test_an_answer_that_fits_no_schema_is_a_bad_reply(watched: Watched) -> None:
    """The backend is not ill."""
    watched.upstream.set_mode("phi3:mini", "nonsense")

    await watched.ask(task="expand_queries")

    said = await watched.moved()
    assert {re.sub('task=".*?"', "", name) for name in said} == {
        'attempt_failures_total{kind="bad_reply",}',
        'requests_total{outcome="all_providers_failed",}',
    }


@pytest.mark.parametrize(
    ("watched", "deadline", "kind", "outcome"),
    [(200, 2.0, "timed_out", "all_providers_failed"), (3000, 0.2, "out_of_time", "deadline_exceeded")],
    indirect=["watched"],
)
async def test_silence_is_a_timeout(watched: Watched, deadline: float, kind: str, outcome: str) -> None:
    """The provider's own, or the request's."""
    watched.upstream.set_mode("phi3:mini", "hang")

    await watched.ask(deadline=deadline)

    assert await watched.moved() == {
        f'attempt_failures_total{{kind="{kind}"}}': 1,
        "timeouts_total": 1,
        f'requests_total{{outcome="{outcome}"}}': 1,
    }


async def test_a_full_queue_sheds(watched: Watched) -> None:
    """The second request finds no slot."""
    watched.upstream.set_mode("phi3:mini", "hang")
    first = asyncio.create_task(watched.ask(deadline=1.0))
    await watched.asked()

    await watched.ask(deadline=0.5, no_cache=True)

    assert await watched.moved() == {
        'attempt_failures_total{kind="queue_full"}': 1,
        'requests_total{outcome="overloaded"}': 1,
    }
    first.cancel()
    await asyncio.wait([first])


async def test_a_breaker_opens_once(watched: Watched) -> None:
    """Five failures open it; with the last of them it is known when to ask again."""
    watched.upstream.set_mode("phi3:mini", "error:500")

    for _ in range(5):
        await watched.ask()

    moved = {'attempt_failures_total{kind="failed"}': 5, FAILED: 4, UNAVAILABLE: 1, "breaker_open_total": 1}
    assert await watched.moved() == moved


async def test_a_client_that_leaves_is_counted(watched: Watched) -> None:
    """As cancelled."""
    watched.upstream.set_mode("phi3:mini", "hang")
    asking = asyncio.create_task(watched.ask())
    await watched.asked()

    asking.cancel()
    await asyncio.wait([asking])

    assert await watched.moved() == {'requests_total{outcome="cancelled"}': 1}


async def test_reloads_are_counted_by_their_result(watched: Watched, tmp_path: Path) -> None:
    """Taken, and refused."""
    await watched.manager.swap(parse(watched.text.replace("3000", "2000"), tmp_path / "llm-pool.toml"))
    watched.manager.record_refused(ConfigError(path=None, key="qos", got="x", want="y"))

    assert await watched.moved() == {'reloads_total{result="taken"}': 1, 'reloads_total{result="refused"}': 1}


async def test_a_client_that_is_turned_away_is_counted_by_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spent rate, a task that is not theirs, no credentials; the engine hears of none of them."""
    monkeypatch.setenv("LLM_POOL_STATE", str(tmp_path / "state"))
    key = "0123456789abcdef0123456789abcdef"
    text = CONFIG.format(url="http://127.0.0.1:9", timeout=3000).replace("[qos]", TENANT.format(key=key) + "[qos]")
    config = parse(text, tmp_path / "llm-pool.toml")
    components = msgspec.structs.replace(build_components(config), servers=())
    async with open_daemon(config, components) as daemon:
        url = daemon.urls[0]
        statuses = [
            await status(url, {"prompt": "x", "task": "judge"}, key),
            await status(url, {"prompt": "x"}, key),
            await status(url, {"prompt": "x"}, "wrong"),
        ]
        metrics = next(one for one in components.observers if isinstance(one, Metrics))
        counted = (await asyncio.to_thread(metrics.page(snapshot(daemon.manager), "")))[0].decode()

    assert statuses == [403, 429, 401]
    said = dict(re.findall(r'^llmpool_access_denied_total{reason="(.*?)"} (\S+)', counted, re.MULTILINE))
    assert said == {"not allowed": "1.0", "rate": "1.0", "bearer": "1.0"}
    assert "llmpool_requests_total{" not in counted

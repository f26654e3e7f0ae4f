"""A daemon with HTTP and gRPC, over the scripted upstream, and clients of it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from llm_pool.client import AsyncClient
from llm_pool.config import parse
from llm_pool.server.components import build_components
from llm_pool.server.daemon import open_daemon
from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from llm_pool.config import Config
    from llm_pool.engine.generations import PoolManager

MODELS = ("phi3:mini", "llama3.1:8b", "gemma2:9b")
PROTOCOLS = ("http", "grpc")


class Daemon(NamedTuple):
    """A daemon that runs, and what it asks; *urls* by scheme."""

    urls: dict[str, str]
    manager: PoolManager
    upstream: Upstream
    config: Config


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_POOL_STATE", str(tmp_path / "state"))


@pytest.fixture
def daemons(tmp_path: Path) -> Callable[..., Any]:
    """Starts daemons; *extra* is TOML, *server* more of that section, the rest the upstream's. For ``real_loop``."""

    @asynccontextmanager
    async def start(extra: str = "", server: str = "", **upstream: Any) -> AsyncIterator[Daemon]:
        async with AsyncExitStack() as stack:
            up = await stack.enter_async_context(Upstream(MODELS, **upstream))
            path = tmp_path / "llm-pool.toml"
            path.write_text(config_text(up.url, extra, server))
            config = parse(path.read_text(), path)
            components = await asyncio.to_thread(build_components, config)
            running = await stack.enter_async_context(open_daemon(config, components))
            yield Daemon({url.partition("://")[0]: url for url in running.urls}, running.manager, up, config)

    return start


def config_text(url: str, extra: str, server: str) -> str:
    """Three models at *url*; *server* is more of its section."""
    providers = "".join(
        f'[[providers]]\nname = "{model.partition(":")[0]}"\ndriver = "ollama"\nmodel = "{model}"\nbase_url = "{url}"\n'
        for model in MODELS
    )
    addresses = '[server]\nhttp_addr = "127.0.0.1:0"\ngrpc_addr = "127.0.0.1:0"\n'
    return f'{extra}\n{addresses}{server}[qos]\nmax_deadline_ms = 5000\n[groups."{url}"]\nslots = 64\n{providers}'


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    """Each way to a daemon in turn."""
    return str(request.param)


@pytest.fixture
async def pool(daemons: Callable[..., Any], protocol: str) -> AsyncIterator[AsyncClient]:
    """A client of a daemon that answers at once, by each way."""
    async with daemons() as daemon, AsyncClient(daemon.urls[protocol]) as client:
        yield client

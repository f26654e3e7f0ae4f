"""A daemon with both faces, over the scripted upstream, and clients of it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from llm_pool.client import AsyncClient
from llm_pool.config import parse
from llm_pool.server.listening import listening
from llm_pool.server.parts import parts_for
from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from llm_pool.config import Config
    from llm_pool.live import Live

MODELS = ("phi3:mini", "llama3.1:8b", "gemma2:9b")
FACES = ("http", "grpc")


class Daemon(NamedTuple):
    """A daemon that runs, and what it asks; *urls* by scheme."""

    urls: dict[str, str]
    live: Live
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
            parts = await asyncio.to_thread(parts_for, config)
            running = await stack.enter_async_context(listening(config, parts))
            yield Daemon({url.partition("://")[0]: url for url in running.urls}, running.live, up, config)

    return start


def config_text(url: str, extra: str, server: str) -> str:
    """Three models at *url*; *server* is more of its section."""
    providers = "".join(
        f'[[providers]]\nname = "{model.partition(":")[0]}"\ndriver = "ollama"\nmodel = "{model}"\nbase_url = "{url}"\n'
        for model in MODELS
    )
    addresses = '[server]\nhttp_addr = "127.0.0.1:0"\ngrpc_addr = "127.0.0.1:0"\n'
    return f'{extra}\n{addresses}{server}[qos]\nmax_deadline_ms = 5000\n[groups."{url}"]\nslots = 64\n{providers}'


@pytest.fixture(params=FACES)
def face(request: pytest.FixtureRequest) -> str:
    """Each way to a daemon in turn."""
    return str(request.param)


@pytest.fixture
async def pool(daemons: Callable[..., Any], face: str) -> AsyncIterator[AsyncClient]:
    """A client of a daemon that answers at once, by each way."""
    async with daemons() as daemon, AsyncClient(daemon.urls[face]) as client:
        yield client

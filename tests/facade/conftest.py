"""Models that answer at once, as a server of their own, and a daemon before them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llm_pool import Ollama, Pool
from llm_pool.testing.processes import running_daemon, running_upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MODELS = ("phi3:mini", "llama3.1:8b", "gemma2:9b")


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_POOL_STATE", str(tmp_path / "state"))


@pytest.fixture(scope="session")
def upstream() -> Iterator[str]:
    """Three models, in another process: the library's loop is in this one."""
    words = [word for model in MODELS for word in ("--model", model)]
    with running_upstream(*words, "--ttft", "const:0.01", "--per-token", "const:0.005") as url:
        yield url


@pytest.fixture(scope="session")
def config(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with these models."""
    path = tmp_path_factory.mktemp("config") / "llm-pool.toml"
    providers = "".join(
        f'[[providers]]\nname = "{model.partition(":")[0]}"\ndriver = "ollama"\nmodel = "{model}"\n'
        f'base_url = "{upstream}"\n'
        for model in MODELS
    )
    path.write_text(
        '[server]\nhttp_addr = "127.0.0.1:0"\ngrpc_addr = "127.0.0.1:0"\n[tasks.ask]\ndeadline_ms = 20000\n'
        f'[groups."{upstream}"]\nslots = 8\n{providers}',
        encoding="utf-8",
    )
    return path


@pytest.fixture(scope="session")
def daemon(config: Path) -> Iterator[dict[str, str]]:
    """The addresses of a daemon with this file, by scheme."""
    with running_daemon(config) as urls:
        yield urls


@pytest.fixture(params=["code", "config", "http", "grpc"])
def make_pool(request: pytest.FixtureRequest, upstream: str) -> Callable[[], Pool]:
    """Makes a pool in each way there is."""
    if request.param == "code":
        return lambda: Pool(
            providers=[Ollama(model, base_url=upstream, name=model.partition(":")[0]) for model in MODELS]
        )
    if request.param == "config":
        config = request.getfixturevalue("config")
        return lambda: Pool(config=config)
    url = request.getfixturevalue("daemon")[request.param]
    return lambda: Pool(url=url)


@pytest.fixture
def pool(make_pool: Callable[[], Pool]) -> Iterator[Pool]:
    """A pool in each way there is."""
    with make_pool() as pool:
        yield pool

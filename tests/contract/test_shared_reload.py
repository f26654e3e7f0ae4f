"""What is shared moves to another Redis when a reload succeeds, and stays where it is when one fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llm_pool.config import parse
from llm_pool.core.errors import ConfigError
from llm_pool.engine.generations import PoolManager
from llm_pool.trust.model import PanelAnswer, PanelOutcome

if TYPE_CHECKING:
    from pathlib import Path

    from llm_pool.config import Config
    from tests.contract.conftest import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

DIVIDED = PanelOutcome("ask", (PanelAnswer("a", 0), PanelAnswer("b", 0), PanelAnswer("c", 1)))


def config(folder: Path, redis: str, more: str = "") -> Config:
    text = f'[cache]\ndriver = "redis"\nurl = "{redis}"\n[server]\nwarm = false\n{more}\n'
    text += '[[providers]]\nname = "a"\ndriver = "ollama"\nmodel = "a"\nbase_url = "http://127.0.0.1:9"\n'
    return parse(text, folder / "llm-pool.toml")


async def test_a_reload_that_fails_keeps_the_old_redis_and_the_next_one_moves(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_POOL_STATE", str(tmp_path / "state"))
    other = redis_server.url.replace("/0", "/1")
    manager = await PoolManager.start(config(tmp_path, redis_server.url))
    try:
        state = manager.app.pool_state
        assert state.shared_trust is not None

        with pytest.raises(ConfigError, match="nonsense"):
            await manager.swap(config(tmp_path, other, '[models]\ngpt = "pool/task/nonsense"'))
        assert state.shared_breakers.redis is state.redis
        state.trust.learn(DIVIDED, "feedback")
        await state.shared_trust.exchange()
        assert await state.redis.client.exists("llm-pool:trust:records")  # type: ignore[union-attr]

        await manager.swap(config(tmp_path, other))
        moved = manager.app.pool_state
        assert moved.redis is not None
        assert moved.shared_breakers.redis is moved.redis
        assert moved.shared_trust is not None
        await moved.shared_trust.exchange()
        assert await moved.redis.client.exists("llm-pool:trust:records")
    finally:
        await manager.aclose()

"""From a provider's section to the provider."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llm_pool.config import parse
from llm_pool.providers.registry import build_provider, store

if TYPE_CHECKING:
    from llm_pool.config import Config
    from llm_pool.providers.transport import Transport

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

DRIVERS = ("ollama", "openai", "http")


def config(path: Path, driver: str, more: str) -> Config:
    section = f'[[providers]]\nname = "p"\ndriver = "{driver}"\nbase_url = "https://h"\nmodel = "m"\n'
    return parse(section + more, path)


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_file_that_is_not_there_is_named(tmp_path: Path, transport: Transport, driver: str) -> None:
    """Where it was looked for: beside the configuration."""
    settings = config(tmp_path / "llm-pool.toml", driver, 'ca_file = "ca.pem"').providers[0]

    state = await build_provider(settings, transport, path=tmp_path / "llm-pool.toml").state()

    assert state.condition == "failing"
    assert f"No such file or directory: '{tmp_path / 'ca.pem'}'" in state.detail
    assert state.hint == "check these of provider p"


@pytest.mark.parametrize("driver", DRIVERS)
async def test_secrets_are_not_shown(tmp_path: Path, transport: Transport, driver: str) -> None:
    settings = config(Path("x"), driver, 'headers = { X-Key = "sk-secret" }').providers[0]

    provider = build_provider(settings, transport, path=tmp_path)

    assert "sk-secret" not in repr(provider) + repr(settings)


@pytest.mark.parametrize(("driver", "has_one"), [("ollama", True), ("openai", True), ("http", False)])
async def test_whose_models_can_be_looked_at(transport: Transport, driver: str, *, has_one: bool) -> None:
    found = store(config(Path("x"), driver, "").providers[0], transport, path=Path("x"))

    assert (found is not None) is has_one

"""Which file counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_pool.config import builtin_config, find, load
from llm_pool.config import locations as config_locations
from llm_pool.config.locations import locations, user_config
from llm_pool.core.errors import ConfigError


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``repo/a/b`` with a configuration above the repository, which nobody should find, and a user's own."""
    (tmp_path / "repo" / "a" / "b").mkdir(parents=True)
    (tmp_path / "repo" / ".git").mkdir()
    (tmp_path / "llm-pool.toml").touch()
    monkeypatch.setattr(config_locations, "user_config", lambda: tmp_path / "user" / "llm-pool.toml")
    return tmp_path / "repo"


def test_the_order_of_the_search(repository: Path) -> None:
    """Each place hides those below it."""
    here = repository / "a" / "b"
    asked, named = Path("asked.toml"), "named.toml"
    user = repository.parent / "user" / "llm-pool.toml"
    found = [find(start=here).path]

    for file in (user, repository / "llm-pool.toml", here / "llm-pool.toml"):
        file.parent.mkdir(exist_ok=True)
        file.touch()
        found.append(find(start=here, env={}).path)
    found.append(find(start=here, env={"LLM_POOL_CONFIG": named}).path)
    found.append(find(asked, start=here, env={"LLM_POOL_CONFIG": named}).path)

    assert found == [
        builtin_config(),
        user,
        repository / "llm-pool.toml",
        here / "llm-pool.toml",
        Path(named),
        asked,
    ]


def test_the_search_ends_at_the_repository_root(repository: Path) -> None:
    """A file above the repository is somebody else's; outside of one only the folder itself counts."""
    outside = repository.parent / "elsewhere" / "deep"
    outside.mkdir(parents=True)
    (outside.parent / "llm-pool.toml").touch()

    inside = {place.path for place in locations(start=repository / "a", env={})}

    assert repository.parent / "llm-pool.toml" not in inside
    assert find(start=outside, env={}).path == builtin_config()


def test_a_file_that_was_asked_for_must_be_there(repository: Path) -> None:
    """A typing mistake in --config or the variable is told, not papered over by the next place."""
    for place in (find(Path("tpyo.toml")), find(env={"LLM_POOL_CONFIG": "tpyo.toml"}, start=repository)):
        with pytest.raises(ConfigError, match=r"^tpyo\.toml: expected a readable file"):
            load(place.path)


def test_an_empty_variable_is_none(repository: Path) -> None:
    """As shells pass unset ones on."""
    assert find(env={"LLM_POOL_CONFIG": ""}, start=repository).path == builtin_config()


def test_the_users_file_is_in_the_users_configuration_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where platformdirs says."""
    monkeypatch.setenv("XDG_CONFIG_HOME", "/some/where")

    assert user_config().name == "llm-pool.toml"
    assert user_config().parent.name == "llm-pool"

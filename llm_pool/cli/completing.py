"""Names for the shell to complete, from the configuration, without waking the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.errors import LlmPoolError
from llm_pool.messages import StrategyName

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llm_pool.config import Config


def strategy_names(incomplete: str) -> list[str]:
    """The strategies that begin with *incomplete*, in any letter case."""
    return [name.value for name in StrategyName if name.startswith(incomplete.upper())]


def task_names(incomplete: str) -> list[str]:
    """The tasks that begin with *incomplete*."""
    config = _config()
    if config is None:
        return []
    from llm_pool import tasks

    return _matching(tasks.task_names(config.prompt_folders, config.prompt_files), incomplete)


def provider_names(incomplete: str) -> list[str]:
    """The providers that begin with *incomplete*."""
    config = _config()
    return [] if config is None else _matching({provider.name for provider in config.providers}, incomplete)


def model_names(incomplete: str) -> list[str]:
    """The models that begin with *incomplete*."""
    config = _config()
    return [] if config is None else _matching({provider.model for provider in config.providers}, incomplete)


def _config() -> Config | None:
    """The configuration; None where it has a mistake: a completion is no place to complain."""
    from llm_pool.cli.settings import read_config

    try:
        return read_config(None)
    except LlmPoolError:
        return None


def _matching(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))

"""The configuration as the pool reads it: the sections, the file they came from, and what they say together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.config.models import EMBED, GroupSettings, ProviderSettings, Sections, TaskSettings
from llm_pool.config.resources import prompts_folder
from llm_pool.config.values import Driver

if TYPE_CHECKING:
    from pathlib import Path

    from llm_pool.config.positions import KeyPath
    from llm_pool.core.messages import StrategyName

_BATCHING_SLOTS = 8
"""Calls at once for servers that batch: vLLM and llama-server do, at little cost for each."""


_DEFAULTS = TaskSettings()


class Config(Sections, frozen=True, kw_only=True):
    """
    The whole configuration, checked.

    Attributes:
        path: the file it came from; relative paths in it count from its folder.
        from_outside: where values came from ``${env:}`` or ``${file:}``; they are secrets, whatever their key.
    """

    path: Path
    from_outside: frozenset[KeyPath] = frozenset()

    @property
    def active_providers(self) -> tuple[ProviderSettings, ...]:
        """The providers that are switched on, in the file's order."""
        return tuple(provider for provider in self.providers if provider.enabled)

    @property
    def answering_providers(self) -> tuple[ProviderSettings, ...]:
        """Those that answer questions, and do not only make embeddings."""
        return tuple(provider for provider in self.active_providers if provider.tasks != (EMBED,))

    @property
    def embedding_providers(self) -> tuple[ProviderSettings, ...]:
        """Those that make embeddings."""
        return tuple(provider for provider in self.active_providers if EMBED in provider.tasks)

    def task(self, name: str) -> TaskSettings:
        """What ``[tasks.NAME]`` says; nothing but defaults where there is no such table."""
        return self.tasks.get(name, _DEFAULTS)

    def strategy_for(self, task: str) -> StrategyName:
        """The task's own strategy if it is switched on, else the default."""
        own = self.task(task).strategy or self.ensemble.strategy_by_task.get(task)
        if own is None or own in self.ensemble.disabled:
            return self.ensemble.default_strategy
        return own

    def deadline_for(self, task: str) -> float | None:
        """Seconds that the configuration gives *task*; None where it says nothing of it."""
        return self.task(task).deadline

    def providers_for(self, task: str) -> tuple[str, ...]:
        """Names of the only providers *task* may go to; empty binds it to none."""
        return self.task(task).providers

    def ttl_for(self, task: str) -> float:
        """Seconds that answers of *task* stay in the cache; 0: not at all."""
        own = self.task(task).ttl_seconds
        return self.cache.ttl if own is None else float(own)

    def model_named_by(self, alias: str) -> str:
        """The model that *alias*, a name of ``[models]``, stands for in the end; a name that is not there is itself."""
        while alias in self.models:  # no circles: the file was checked
            alias = self.models[alias]
        return alias

    @property
    def prompt_folders(self) -> tuple[Path, ...]:
        """Where prompts are looked for: those that come with the package, then ``prompts/`` beside the file."""
        shipped, own = prompts_folder(), self.path.parent / "prompts"
        return (shipped,) if own == shipped else (shipped, own)

    @property
    def prompt_files(self) -> dict[str, Path]:
        """The prompt files that ``[tasks]`` names, by task."""
        return {name: self.path.parent / task.prompt for name, task in self.tasks.items() if task.prompt is not None}

    def group(self, name: str) -> GroupSettings:
        """What ``[groups.NAME]`` says; nothing but defaults where there is no such table."""
        return self.groups.get(name, GroupSettings())

    def slots_of(self, group: str) -> int:
        """Calls at once that *group* takes, at least 1."""
        own = self.group(group).slots
        if own is not None:
            return own
        members = [provider for provider in self.providers if provider.machine == group]
        one_by_one = any(provider.driver in {Driver.OLLAMA, Driver.LLAMACPP} for provider in members)
        return 1 if one_by_one else _BATCHING_SLOTS

"""The configuration of a pool in a program: a file, one that was loaded, or providers in code."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_pool.config import Config, builtin_config, find, from_tables
from llm_pool.engine import effective_config
from llm_pool.facade.providers import tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    from llm_pool.engine import EffectiveConfig
    from llm_pool.facade.providers import ProviderInCode


def config_from(source: str | PathLike[str] | None) -> EffectiveConfig:
    """
    The file *source*; where it is None the one that is used, with models of this machine as for the command line.

    Raises:
        ConfigError: it cannot be used.
    """
    return effective_config(find(None if source is None else Path(source)))


def config_of(providers: Sequence[ProviderInCode], settings: Mapping[str, Any]) -> Config:
    """
    The built-in configuration with *providers* in the place of its own, and *settings* over it.

    Args:
        providers: at least one.
        settings: tables of a file: ``{"qos": {"hedge": "off"}}``.

    Raises:
        ConfigError: names what is wrong as in a file, without a line.
    """
    builtin = tomllib.loads(builtin_config().read_text(encoding="utf-8"))
    of_its_providers = {"providers", "groups", "judge", "discovery"}
    base = {name: table for name, table in builtin.items() if name not in of_its_providers}
    return from_tables({**_merged(base, settings), "providers": tables(providers)}, Path.cwd())


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """*over* on top of *under*, table by table."""
    merged = dict(under)
    for name, value in over.items():
        below = merged.get(name)
        merged[name] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged

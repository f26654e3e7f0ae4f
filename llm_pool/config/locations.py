"""
Which configuration file is used.

``--config`` > ``LLM_POOL_CONFIG`` > ``llm-pool.toml`` here or above, up to the repository root > the user's
configuration folder > the built-in default. The first that exists is used, alone; files are not merged.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from llm_pool.config.resources import builtin_config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAME = "llm-pool.toml"
VARIABLE = "LLM_POOL_CONFIG"


class ConfigLocation(msgspec.Struct, frozen=True):
    """A file that may be used, and *why* it would be."""

    path: Path
    why: str
    asked: bool = False
    """Whether a person named it: then it is used even if it is not there, and loading says so."""


def find(
    asked: Path | None = None, *, env: Mapping[str, str] = os.environ, start: Path | None = None
) -> ConfigLocation:
    """
    The file that is used.

    Args:
        asked: what ``--config`` said.
        env: the environment.
        start: where to look from; None: the working directory.
    """
    return next(
        location for location in locations(asked, env=env, start=start) if location.asked or location.path.is_file()
    )


def locations(
    asked: Path | None = None, *, env: Mapping[str, str] = os.environ, start: Path | None = None
) -> Iterator[ConfigLocation]:
    """All places in the order of the search."""
    if asked is not None:
        yield ConfigLocation(asked, "--config", asked=True)
    if env.get(VARIABLE):
        yield ConfigLocation(Path(env[VARIABLE]), VARIABLE, asked=True)
    for folder in _upward(start or Path.cwd()):
        yield ConfigLocation(folder / NAME, "the working directory, or above it up to the repository root")
    yield ConfigLocation(user_config(), "the user's configuration folder")
    yield ConfigLocation(builtin_config(), "the built-in default")


def user_config() -> Path:
    """The file in the user's configuration folder, whether it is there or not."""
    from platformdirs import user_config_path

    return user_config_path("llm-pool", appauthor=False) / NAME


def _upward(start: Path) -> Iterator[Path]:
    """*start* and the folders above it up to the root of its repository; *start* alone outside of one."""
    chain = [start, *start.parents]
    root = next((index for index, folder in enumerate(chain) if (folder / ".git").exists()), 0)
    yield from chain[: root + 1]

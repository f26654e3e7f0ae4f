"""The options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional, TypeAlias

import typer

from llm_pool.cli.console import When

if TYPE_CHECKING:
    from llm_pool.config import Config

CONFIG: TypeAlias = Annotated[
    Optional[Path],  # noqa: UP045  # Typer reads the alias at run time
    typer.Option(
        "--config", help="The configuration file; else LLM_POOL_CONFIG, ./llm-pool.toml, your own, the default."
    ),
]
COLOR: TypeAlias = Annotated[When, typer.Option("--color", help="When to colour: auto looks whether somebody does.")]
QUIET: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr but errors.")]
JSON: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def read_config(path: Path | None) -> Config:
    """The configuration that counts; raises ConfigError."""
    from llm_pool.config import find, load

    return load(find(path).path)

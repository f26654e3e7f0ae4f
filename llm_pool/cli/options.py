"""The options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llm_pool.cli.parsing import one_of

if TYPE_CHECKING:
    from llm_pool.cli.parsing import Parser
    from llm_pool.config import Config


def add_config(parser: Parser) -> None:
    """``--config``."""
    parser.option(
        *("-c", "--config"),
        metavar="FILE",
        text="the configuration; else LLM_POOL_CONFIG, ./llm-pool.toml or above, your own, the built-in",
        read=Path,
        shared=True,
    )


def add_output_options(parser: Parser, *, json: str = "print JSON; an error becomes a JSON line on stderr") -> None:
    """``--json``, ``--color``, ``--quiet`` and ``--help``."""
    parser.flag("--json", text=json, shared=True)
    parser.option(
        "--color",
        metavar="WHEN",
        text="auto, always or never",
        read=one_of("auto", "always", "never"),
        default="auto",
        complete=lambda: ("auto", "always", "never"),
        shared=True,
    )
    parser.flag("-q", "--quiet", text="say nothing on stderr but errors", shared=True)
    parser.flag("-h", "--help", text="print this", shared=True)


def read_config(path: Path | None) -> Config:
    """The effective configuration; raises ConfigError."""
    from llm_pool.config import find, load

    return load(find(path).path)

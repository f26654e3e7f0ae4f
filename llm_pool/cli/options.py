"""The options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llm_pool.cli.console import escaped
from llm_pool.cli.parsing import one_of

if TYPE_CHECKING:
    from llm_pool.cli.console import Console
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


def read_config(path: Path | None, console: Console) -> Config:
    """The effective configuration, with what was found on this machine, which is said; raises ConfigError."""
    from llm_pool.config import find
    from llm_pool.engine import effective_config

    finding = effective_config(find(path))
    if finding.note:
        console.say(f"note: {escaped(finding.note)}")
    return finding.config

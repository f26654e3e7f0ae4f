"""Options that several commands take, and the configuration as every command reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from typer import Option

from llm_pool.cli.completion import strategy_names, task_names
from llm_pool.cli.console import escaped
from llm_pool.cli.values import integer, number
from llm_pool.core.errors import InvalidRequest

if TYPE_CHECKING:
    from llm_pool.cli.command import Session
    from llm_pool.config import Config

MOST_TOKENS = 1_000_000

Task: TypeAlias = Annotated[
    str, Option("-t", "--task", metavar="TASK", help="a task's name", autocompletion=task_names)
]
Strategy: TypeAlias = Annotated[
    str | None,
    Option(
        "-s", "--strategy", metavar="NAME", help="how to decide; else the task's own", autocompletion=strategy_names
    ),
]
MaxTokens: TypeAlias = Annotated[
    int | None,
    Option("--max-tokens", metavar="N", help="length of an answer at most", parser=integer(1, MOST_TOKENS)),
]
DeadlineMs: TypeAlias = Annotated[
    float | None, Option("--deadline-ms", metavar="MS", help="an answer by then, or none", parser=number)
]
Url: TypeAlias = Annotated[
    str | None,
    Option(
        "--url",
        metavar="URL",
        help="ask the daemon at http(s):// or grpc(s)://HOST:PORT; credentials come from LLM_POOL_API_KEY and "
        "LLM_POOL_API_SECRET, LLM_POOL_TOKEN, or the file LLM_POOL_CREDENTIALS",
    ),
]


def read_config(session: Session) -> Config:
    """The effective configuration, with what was found on this machine, which is said; raises ConfigError."""
    from llm_pool.config import find
    from llm_pool.engine import effective_config

    finding = effective_config(find(session.config))
    if finding.note:
        session.console.say(f"note: {escaped(finding.note)}")
    return finding.config


def known_provider(config: Config, name: str, field: str = "--provider") -> str:
    """The provider that is called *name*, or whose model is; raises InvalidRequest, of *field*, for another word."""
    active = config.active_providers
    for one in active:
        if name == one.name:
            return name
    for one in active:
        if name == one.model:
            return one.name
    from llm_pool.config.problem import nearest

    names = [one.name for one in active]
    hint = nearest(name, names) or f"providers are {', '.join(names)}"
    raise InvalidRequest(field, f"there is no provider '{name}'", hint=hint)

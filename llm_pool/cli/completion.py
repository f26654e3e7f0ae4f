"""Names for the Tab key, from the configuration alone: no engine wakes for it, and no mistake of it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from llm_pool.core.errors import LlmPoolError

if TYPE_CHECKING:
    from llm_pool.config import Config

VARIABLE = "_LLM_POOL_COMPLETE"
"""The variable of the environment by which Typer's scripts ask for words."""


def answer_shell(root: click.Command, instruction: str) -> int:
    """
    Print what the environment asks for; the exit code.

    Args:
        root: the command line.
        instruction: ``complete_SHELL`` from a shell's script, ``source_SHELL`` for that script itself.
    """
    from click.shell_completion import add_completion_class
    from typer._completion_classes import completion_init  # no public name; the range of typer is fixed
    from typer._completion_shared import get_completion_script  # likewise
    from typer.completion import shell_complete

    action, _, shell = instruction.partition("_")
    if action == "source":
        click.echo(get_completion_script(prog_name="llm-pool", complete_var=VARIABLE, shell=shell))
        return 0
    completion_init()
    add_completion_class(_bash(), "bash")
    return shell_complete(root, {}, "llm-pool", VARIABLE, instruction)


def task_names(incomplete: str) -> list[str]:
    """The tasks that the configuration knows."""
    config = _config()
    if config is None:
        return []
    from llm_pool.tasks.files import task_names as names

    return _starting_with(incomplete, sorted(names(config.prompt_folders, config.prompt_files)))


def strategy_names(incomplete: str) -> list[str]:
    """The strategies, as people type them."""
    from llm_pool.core.messages import StrategyName

    return _starting_with(incomplete, [name.value.lower() for name in StrategyName])


def provider_names(incomplete: str) -> list[str]:
    """The providers."""
    config = _config()
    return [] if config is None else _starting_with(incomplete, [provider.name for provider in config.providers])


def model_names(incomplete: str) -> list[str]:
    """The models."""
    config = _config()
    return [] if config is None else _starting_with(incomplete, sorted({one.model for one in config.providers}))


def key_names(incomplete: str = "") -> list[str]:
    """The keys and tables of the configuration file."""
    from llm_pool.config.keys import tables

    names = [name for table in tables() for name in (table.path, *(key.path for key in table.keys)) if name]
    return _starting_with(incomplete, names)


def _starting_with(prefix: str, words: list[str]) -> list[str]:
    return [word for word in words if word.lower().startswith(prefix.lower())]


def _config() -> Config | None:
    """The configuration; None where it has a mistake: a completion is no place to complain."""
    from llm_pool.config import find, load

    try:
        return load(find().path)
    except LlmPoolError:
        return None


def _bash() -> type[click.shell_completion.ShellComplete]:
    """
    Typer's completion for bash, for names with a colon too.

    bash takes ``:`` and ``=`` for words of their own (COMP_WORDBREAKS), hands over ``phi3 : mi`` for ``phi3:mi``, and
    wants only what comes after the last of them.
    """
    from typer._completion_classes import BashComplete  # no public name; the range of typer is fixed

    class ColonsInWords(BashComplete):
        def get_completion_args(self) -> tuple[list[str], str]:
            *args, incomplete = joined_words([*self._typed()])
            self._before = incomplete[: max(incomplete.rfind(":"), incomplete.rfind("=")) + 1]
            return args, incomplete

        def _typed(self) -> list[str]:
            args, incomplete = super().get_completion_args()
            return [*args, incomplete]

        def format_completion(self, item: click.shell_completion.CompletionItem) -> str:
            return super().format_completion(item).removeprefix(self._before)

    return ColonsInWords


def joined_words(words: list[str]) -> list[str]:
    """*words* as they were typed, where bash has split them at ``:`` and ``=``."""
    joined = list[str]()
    glued = False
    for word in words:
        if joined and (glued or word in {":", "="}):
            joined[-1] += word
        else:
            joined.append(word)
        glued = word in {":", "="}
    return joined or [""]

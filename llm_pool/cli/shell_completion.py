"""
Words for the shell to complete: commands, options, and names from the configuration, without waking the engine.

``llm-pool __complete WORD…`` gets the words typed so far, the last of them unfinished and perhaps empty. It prints
a word a line, with what it means after a tab; ``:files`` asks the shell for file names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llm_pool.core.errors import LlmPoolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.cli.parsing import Parser
    from llm_pool.config import Config

FILES = ":files"


class Completion(NamedTuple):
    """A word that may stand where the cursor is."""

    text: str
    meaning: str = ""


def complete(words: Sequence[str]) -> list[Completion]:
    """The words that the last of *words* may become."""
    from llm_pool.cli.main import COMMANDS, load_command
    from llm_pool.cli.parsing import Group

    *typed, last = words or [""]
    if not typed:
        return _starting_with(last, [Completion(*item) for item in COMMANDS.items()])
    if typed[0] not in COMMANDS:
        return []
    command = load_command(typed[0])
    if not isinstance(command, Group):
        return _of_command(command.parser("llm-pool"), typed[1:], last)
    if not typed[1:]:
        return _starting_with(last, [Completion(child.name, child.about) for child in command.commands])
    child = next((child for child in command.commands if child.name == typed[1]), None)
    return [] if child is None else _of_command(child.parser(f"llm-pool {command.name}"), typed[2:], last)


def task_names() -> list[str]:
    """The tasks that the configuration knows."""
    config = _config()
    if config is None:
        return []
    from llm_pool.tasks.files import task_names as names

    return sorted(names(config.prompt_folders, config.prompt_files))


def strategy_names() -> list[str]:
    """The strategies, as people type them."""
    from llm_pool.core.messages import StrategyName

    return [name.value.lower() for name in StrategyName]


def provider_names() -> list[str]:
    """The providers."""
    config = _config()
    return [] if config is None else [provider.name for provider in config.providers]


def model_names() -> list[str]:
    """The models."""
    config = _config()
    return [] if config is None else sorted({provider.model for provider in config.providers})


def key_names() -> list[str]:
    """The keys and tables of the configuration file."""
    from llm_pool.config.keys import tables

    return [name for table in tables() for name in (table.path, *(key.path for key in table.keys)) if name]


def _of_command(parser: Parser, typed: Sequence[str], last: str) -> list[Completion]:
    option, equals, value = last.partition("=")
    if last.startswith("--") and equals:
        return [Completion(f"{option}={word.text}", word.meaning) for word in _values(parser, option, value)]
    if typed and parser.value_of(typed[-1]):
        return _values(parser, typed[-1], last)
    if last.startswith("-"):
        return _starting_with(last, [Completion(*item) for item in parser.options_with_help().items()])
    place = parser.argument_after(typed)
    return [] if place is None else _values(parser, place, last)


def _values(parser: Parser, place: str, prefix: str) -> list[Completion]:
    """The words for an option or an argument, by its option string or metavar."""
    if place in parser.completers:
        return _starting_with(prefix, [Completion(text) for text in parser.completers[place]()])
    return [Completion(FILES)] if "FILE" in {place, parser.value_of(place)} else []


def _starting_with(prefix: str, words: Sequence[Completion]) -> list[Completion]:
    return [word for word in words if word.text.lower().startswith(prefix.lower())]


def _config() -> Config | None:
    """The configuration; None where it has a mistake: a completion is no place to complain."""
    from llm_pool.config import find, load

    try:
        return load(find().path)
    except LlmPoolError:
        return None


def print_words(words: Sequence[str]) -> None:
    """Print the completions of *words* for the shell's script."""
    from llm_pool.cli.console import Console

    Console().out("".join(f"{text}\t{meaning}\n" for text, meaning in complete(words)), end="")

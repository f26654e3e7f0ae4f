"""
Commands and their words: argparse underneath, with our sentences, our hints, and names for the shell to complete.

argparse and not Typer: a command line starts ten times as often as it is read, and Typer costs more of a start
than everything else together (docs/decisions/0002-argparse.md).
"""

from __future__ import annotations

import math
import os
from argparse import Action, ArgumentError, ArgumentParser, ArgumentTypeError, HelpFormatter, Namespace
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TypeAlias

from llm_pool.core.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from llm_pool.cli.console import Console

Completer: TypeAlias = "Callable[[], Iterable[str]]"
"""The words that may stand in one place."""


class HelpRequested(Exception):
    """Somebody asked for help: its text is the message."""


class Command(NamedTuple):
    """
    One command.

    Attributes:
        about: what it does, in one sentence.
        examples: lines to type, each perhaps with a remark after two spaces and ``#``.
        arguments: says which words it takes.
        run: does it, and returns an exit code.
    """

    name: str
    about: str
    examples: tuple[str, ...]
    arguments: Callable[[Parser], None]
    run: Callable[[Namespace, Console], int]

    def parser(self, before: str) -> Parser:
        """The parser of its words; *before* is what is typed before its name, e.g. ``llm-pool``."""
        parser = Parser(f"{before} {self.name}", self.about, self.examples)
        self.arguments(parser)
        return parser


class Group(NamedTuple):
    """Commands under one name, e.g. ``llm-pool models``."""

    name: str
    about: str
    examples: tuple[str, ...]
    commands: tuple[Command, ...]


class Parser(ArgumentParser):
    """
    The words of one command.

    Attributes:
        completers: what may follow an option, or stand for an argument, by its option string or metavar.
    """

    def __init__(self, prog: str, about: str, examples: Sequence[str]) -> None:
        super().__init__(prog=prog, add_help=False, allow_abbrev=False, exit_on_error=False, formatter_class=_Help)
        self.color = False  # Python 3.14 would paint; the console does that, and knows when
        self._about, self._examples = about, tuple(examples)
        self._arguments = self.add_argument_group("arguments")
        self._options = self.add_argument_group("options")
        self._shared = self.add_argument_group("options of every command")
        self.completers: dict[str, Completer] = {}

    def argument(
        self,
        name: str,
        text: str,
        *,
        metavar: str = "",
        read: Callable[[str], object] = str,
        many: bool = False,
        optional: bool = False,
        default: object = None,
        complete: Completer | None = None,
    ) -> None:
        """A word by its place; *many* takes any number of them."""
        shown = metavar or name.upper()
        count = {"nargs": "*"} if many else {"nargs": "?"} if optional else {}
        self._arguments.add_argument(name, metavar=shown, help=text, type=read, default=default, **count)  # type: ignore[arg-type]  # a literal per case
        if complete is not None:
            self.completers[shown] = complete

    def option(
        self,
        *names: str,
        metavar: str,
        text: str,
        to: str = "",
        read: Callable[[str], object] = str,
        default: object = None,
        repeat: bool = False,
        complete: Completer | None = None,
        shared: bool = False,
    ) -> None:
        """An option with a value; *to* is its name in the Namespace, *repeat* collects a list."""
        shown = text if default in {None, ""} else f"{text} [{default}]"
        (self._shared if shared else self._options).add_argument(
            *names,
            metavar=metavar,
            help=shown.replace("%", "%%"),
            type=read,
            default=[] if repeat else default,
            dest=to or names[-1].lstrip("-").replace("-", "_"),
            action="append" if repeat else "store",
        )
        if complete is not None:
            self.completers |= dict.fromkeys(names, complete)

    def flag(self, *names: str, text: str, to: str = "", value: bool = True, shared: bool = False) -> None:
        """An option without a value: given, it is *value*, else the opposite."""
        (self._shared if shared else self._options).add_argument(
            *names,
            help=text,
            dest=to or names[-1].lstrip("-").replace("-", "_"),
            action="store_true" if value else "store_false",
        )

    def read(self, argv: Sequence[str]) -> Namespace:
        """
        *argv* parsed.

        Raises:
            HelpRequested: ``-h`` or ``--help`` stands anywhere in it.
            InvalidRequest: it makes no sense; the field is the word that does not.
        """
        words = argv[: argv.index("--")] if "--" in argv else argv
        if "-h" in words or "--help" in words:
            raise HelpRequested(self.format_help())
        try:
            args, rest = self.parse_known_args(argv)
        except ArgumentError as error:
            if error.argument_name is None:
                self.error(error.message)
            raise self._wrong(error.argument_name.rpartition("/")[2], error.message) from None
        if rest:
            raise self._unexpected(rest)
        return args

    def error(self, message: str) -> NoReturn:
        """What argparse says of a missing argument, as ours."""
        missing = message.removeprefix("the following arguments are required: ")
        if missing != message:
            raise self._wrong(missing, "it is missing")
        raise self._wrong("arguments", message)

    def options_with_help(self) -> dict[str, str]:
        """Each option and what it does, long names only where there are any."""
        return {action.option_strings[-1]: _plain(action) for action in self._actions if action.option_strings}

    def value_of(self, option: str) -> str:
        """The metavar of the value that follows *option*; empty if none does."""
        actions = (action for action in self._actions if option in action.option_strings and action.nargs != 0)
        return next((str(action.metavar) for action in actions), "")

    def argument_after(self, typed: Sequence[str]) -> str | None:
        """The metavar of the argument that comes after the words *typed*; None if there is room for none."""
        pairs = zip(["", *typed], typed, strict=False)
        count = sum(not word.startswith("-") and not self.value_of(before) for before, word in pairs)
        arguments = self._positional_actions()
        if arguments and arguments[-1].nargs == "*":
            count = min(count, len(arguments) - 1)
        return str(arguments[count].metavar) if count < len(arguments) else None

    def format_help(self) -> str:
        """Examples first: they are what most people look for."""
        shown = [" ".join(["usage:", self.prog, "[OPTIONS]", *map(_in_usage, self._positional_actions())])]
        formatter = self._get_formatter()
        for group in (self._arguments, self._options, self._shared):
            formatter.start_section(group.title)
            formatter.add_arguments(group._group_actions)  # noqa: SLF001  # argparse has no public way to its own actions
            formatter.end_section()
        return help_text(self._about, self._examples, shown[0], formatter.format_help())

    def _positional_actions(self) -> list[Action]:
        return [action for action in self._actions if not action.option_strings]

    def _unexpected(self, rest: Sequence[str]) -> InvalidRequest:
        from llm_pool.config.problem import nearest

        word = next((word for word in rest if word.startswith("-") and word != "-"), "")
        if word:
            name = word.partition("=")[0]
            return self._wrong(name, "there is no such option", nearest(name, self.options_with_help()))
        return self._wrong(f"'{rest[0]}'", "one word too many", "quote words that belong together")

    def _wrong(self, field: str, reason: str, hint: str = "") -> InvalidRequest:
        return InvalidRequest(field, reason, hint=hint or f"{self.prog} --help")


class _Help(HelpFormatter):
    """Options as ``-t, --task NAME`` on every Python, with columns that fit ours."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=help_width())

    def _format_action_invocation(self, action: Action) -> str:
        if not action.option_strings:
            return str(action.metavar)
        value = f" {action.metavar}" if action.metavar else ""
        return ", ".join(action.option_strings) + value


def help_width() -> int:
    """Columns for help: the terminal's, as far as lines stay readable."""
    try:
        columns = int(os.environ.get("COLUMNS") or os.get_terminal_size().columns)
    except (OSError, ValueError):
        columns = 80
    return max(40, min(columns - 2, 100))


def help_text(about: str, examples: Sequence[str], usage: str, rest: str) -> str:
    """One page of help."""
    import textwrap

    lines = [*textwrap.wrap(about, help_width()), ""]
    if examples:
        lines += ["examples:", *(f"  {line}" for line in examples), ""]
    return "\n".join([*lines, usage, "", rest.strip("\n")])


def columns(rows: Iterable[tuple[str, str]]) -> str:
    """Names and what they mean, as in the sections of help."""
    table = list(rows)
    width = max(len(name) for name, _ in table)
    return "\n".join(f"  {name:<{width}}  {text}" for name, text in table)


def integer(low: int, high: int) -> Callable[[str], int]:
    """Reads a whole number between *low* and *high*."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or not low <= number <= high:
            raise ArgumentTypeError(f"expected a whole number from {low} to {high}, got '{text}'")
        return number

    return read


def number(text: str) -> float:
    """*text* as a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ArgumentTypeError(f"expected a number, got '{text}'")
    return value


def one_of(*words: str) -> Callable[[str], str]:
    """Reads one of *words*, and says which there are."""

    def read(text: str) -> str:
        if text not in words:
            raise ArgumentTypeError(f"expected {', '.join(words[:-1])} or {words[-1]}, got '{text}'")
        return text

    return read


def time_span(text: str) -> float:
    """A span of time such as ``500ms``, ``30s``, ``2m`` or a bare number of seconds, in seconds."""
    for unit, seconds in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("", 1.0)):
        value = text.strip().removesuffix(unit).strip()
        if text.strip().endswith(unit) and value.replace(".", "", 1).isdecimal():
            return float(value) * seconds
    raise ArgumentTypeError(f"expected a time such as 500ms, 30s or 2m, got '{text}'")


def _plain(action: Action) -> str:
    return (action.help or "").replace("%%", "%")


def _in_usage(action: Action) -> str:
    name = str(action.metavar)
    if action.nargs == "*":
        return f"[{name}…]"
    return f"[{name}]" if action.nargs == "?" else name

"""What all commands have in common: the options of every command, help, and usage errors as errors of ours."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from llm_pool.cli.values import one_of
from llm_pool.core.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from llm_pool.cli.console import Console

F = TypeVar("F", bound="Callable[..., int]")

SHARED_PANEL = "Options of every command"
"""The panel of help in which they stand."""


class Session:
    """
    What a command line says for whatever command follows.

    Attributes:
        console: the streams.
        config: the configuration's file; None: the one that is found.
        json: print JSON.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.config: Path | None = None
        self.json = False


class Context(typer.Context):
    """One command as it was typed; *obj* is the session."""

    obj: Session


class App(typer.Typer):
    """
    A command, or a group of commands where several functions are added.

    Args:
        about: what a group is for, in one sentence.
        examples: lines to type, for a group's help.
    """

    def __init__(self, about: str = "", *examples: str) -> None:
        super().__init__(
            cls=Group, help=about, epilog="\n".join(examples), add_completion=False, pretty_exceptions_enable=False
        )

    def command(  # type: ignore[override]  # the rest of Typer's settings is the same for all of ours
        self, name: str | None = None, *, epilog: str
    ) -> Callable[[F], F]:
        """Adds the decorated function as a command; *epilog*: its examples, a line each."""
        return super().command(name, cls=Command, epilog=epilog)


class _Help:
    """What a command and a group do alike."""

    def get_help_option_names(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """The short name too."""
        return ["-h", "--help"]

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """``--help``, among the options of every command, and written like all data."""

        def show(context: click.Context, _param: click.Parameter, asked: bool) -> None:
            if asked and not context.resilient_parsing:
                from llm_pool.cli.help_page import show_help

                show_help(context)
                context.exit()

        return TyperOption(
            param_decls=self.get_help_option_names(ctx),
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=show,
            help="print this",
            rich_help_panel=SHARED_PANEL,
        )


class Command(_Help, TyperCommand):
    """A command with the options of every command."""

    context_class = Context

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.params += shared_options()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Reads *args*; raises InvalidRequest for a word too many."""
        ctx.allow_extra_args = True
        with _in_context(ctx):
            rest = super().parse_args(ctx, args)
        if rest and not ctx.resilient_parsing:
            raise InvalidRequest(f"'{rest[0]}'", "one word too many", hint="quote words that belong together")
        return rest


class Group(_Help, TyperGroup):
    """Commands under one name; without one of them it shows help."""

    context_class = Context

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.params += shared_options()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Reads *args* up to the command's name; nothing at all asks for help."""
        with _in_context(ctx):
            return super().parse_args(ctx, args or ([] if ctx.resilient_parsing else ["--help"]))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that *args* begin with; raises InvalidRequest where there is none."""
        command = self.get_command(ctx, args[0])
        if command is None and not ctx.resilient_parsing:
            raise _unknown_command(ctx, args[0], self.list_commands(ctx))
        return args[0], command, args[1:]


def shared_options() -> list[click.Parameter]:
    """``--config``, ``--json``, ``--color``, ``--no-color`` and ``--quiet``: what they say goes into the session."""
    return [
        _shared("-c", "--config", help="the configuration; without it see  llm-pool config path", metavar="FILE"),
        _shared("--json", help="print JSON; an error becomes a JSON line on stderr"),
        _shared("--color", help="auto, always or never", metavar="WHEN"),
        _shared("--no-color", help="the same as --color never"),
        _shared("-q", "--quiet", help="say nothing on stderr but errors"),
    ]


def _shared(*names: str, help: str, metavar: str | None = None) -> click.Option:  # noqa: A002  # Typer's own word
    option = names[-1]
    types: dict[str, Any] = {
        "--config": click.Path(path_type=Path),
        "--color": click.types.FuncParamType(one_of("auto", "always", "never")),
    }
    return TyperOption(
        param_decls=list(names),
        help=help,
        metavar=metavar,
        type=types.get(option),
        is_flag=metavar is None,
        expose_value=False,
        callback=_note,
        rich_help_panel=SHARED_PANEL,
        autocompletion=(lambda _ctx, _args, _word: ["auto", "always", "never"]) if option == "--color" else None,
    )


def _note(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Note what an option of every command says, if it is given."""
    if value in {None, False} or ctx.resilient_parsing:
        return
    session: Session = ctx.obj
    match param.name:
        case "config":
            session.config = value
        case "json":
            session.json = True
        case "color":
            session.console.color = value
        case "no_color":
            session.console.color = "never"
        case "quiet":
            session.console.quiet = True


@contextmanager
def _in_context(ctx: click.Context) -> Iterator[None]:
    """A usage error that comes up in the block knows its command: click's parser does not say it of each."""
    try:
        yield
    except click.UsageError as error:
        error.ctx = error.ctx or ctx
        raise


def usage_error(error: click.ClickException) -> InvalidRequest:
    """What click says of a command line that makes no sense, as ours, with the way out."""
    ctx = getattr(error, "ctx", None)
    before = ctx.command_path if ctx is not None else "llm-pool"
    hint = f"{before} --help"
    match error:
        case click.NoSuchOption():
            names = [name for param in ctx.command.get_params(ctx) for name in param.opts] if ctx is not None else []
            return InvalidRequest(
                error.option_name, "there is no such option", hint=_nearest(error.option_name, names, hint)
            )
        case click.MissingParameter(param=click.Parameter() as param):
            return InvalidRequest(_field(param), "it is missing", hint=hint)
        case click.BadOptionUsage():
            takes = "argument" in error.message and "not take" not in error.message
            return InvalidRequest(
                error.option_name, "expected one argument" if takes else "it takes no value", hint=hint
            )
        case click.BadParameter(param=click.Parameter() as param):
            return InvalidRequest(_field(param), error.message, hint=hint)
        case click.UsageError() if error.message == "Missing command.":
            return InvalidRequest(before, "a command is missing", hint=hint)
        case _:
            return InvalidRequest("arguments", error.message, hint=hint)


def _unknown_command(ctx: click.Context, name: str, known: Iterable[str]) -> InvalidRequest:
    hint = _nearest(name, known, f"{ctx.command_path} --help")
    return InvalidRequest(ctx.command_path, f"there is no command '{name}'", hint=hint)


def _nearest(word: str, known: Iterable[str], otherwise: str) -> str:
    from llm_pool.config.problem import nearest

    return nearest(word, list(known)) or otherwise


def _field(param: click.Parameter) -> str:
    return param.opts[-1] if isinstance(param, click.Option) else param.human_readable_name

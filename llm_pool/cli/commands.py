"""The root: which commands there are. The module of one is imported when it is used, and only then."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from llm_pool import __version__
from llm_pool.cli.command import Command, Context, Group

if TYPE_CHECKING:
    import click

COMMANDS = {
    "infer": "ask a question, or one a line",
    "chat": "a conversation on the terminal",
    "compare": "every provider's answer, side by side",
    "why": "how the last answers came about",
    "models": "list, pull, show and remove models",
    "health": "the state of each provider, and what to type next",
    "serve": "the pool as a daemon, over HTTP and gRPC",
    "bench": "how fast providers and strategies are",
    "eval": "which model and which strategy, on your own questions",
    "keys": "keys for clients of the daemon",
    "feedback": "say whether an answer was right",
    "config": "what is configured, where, and what a key means",
    "help": "help on a command, or on exit codes",
}
"""Each command in the order of ``--help``, with what it does; it is ``app`` in the module of its name."""

_EXAMPLES = (
    'llm-pool infer "Is 17 prime?"',
    "cat report.txt | llm-pool infer 'Sum it up in one line.'",
    "llm-pool health --explain",
)


class LazyGroup(Group):
    """The commands of ``COMMANDS``, listed without being imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Their names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """What help and the Tab key show of a command."""
        said = COMMANDS.get(cmd_name)
        return None if said is None else Command(cmd_name, help=said, short_help=said)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command itself; raises InvalidRequest where there is none."""
        name, known, rest = super().resolve_command(ctx, args)
        return name, None if known is None else load_command(args[0]), rest


def load_command(name: str) -> click.Command:
    """The command *name* of COMMANDS, imported."""
    command = typer.main.get_command(import_module(f"llm_pool.cli.{name}").app)
    command.name = name
    return command


def root_command() -> click.Command:
    """``llm-pool`` itself."""
    app = typer.Typer(cls=LazyGroup, pretty_exceptions_enable=False, epilog="\n".join(_EXAMPLES))
    app.callback()(_root)
    return typer.main.get_command(app)


def _show_version(ctx: Context, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        ctx.obj.console.out(f"llm-pool {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[  # its callback acts
        bool, Option("--version", help="print the version", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """One question to several local language models at once, one answer."""

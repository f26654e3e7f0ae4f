"""
The command line's root: which commands there are, and what becomes of an error.

A command's module is imported when the command is used, and a module imports what is heavy inside its functions:
``--help`` and ``--version`` stay quick.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer._click.exceptions import ClickException  # vendored since 0.26, with no public name for it
from typer.core import TyperGroup

from llm_pool import __version__
from llm_pool.cli.console import Console, PipeClosed
from llm_pool.cli.exits import Exit, exit_for
from llm_pool.errors import LlmPoolError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = ("infer", "models", "health", "bench", "feedback", "config", "completions")
"""In the order of ``--help``; each is ``app`` in the module of its name."""

_EXITS = "\n".join(f"  {code.value:>3}  {code.meaning}" for code in Exit)
_EPILOG = f"""\b
Examples:
  llm-pool infer "Is 17 prime?"
  llm-pool infer --task expand_queries "cinematic lounge videos"
  llm-pool health
\b
Exit codes:
{_EXITS}"""


class _Commands(TyperGroup):
    """A group that imports a command when it is asked for."""

    def list_commands(self, _ctx: Any) -> list[str]:
        """Their names, without importing any."""
        return list(COMMANDS)

    def get_command(self, _ctx: Any, cmd_name: str) -> Any:
        """The command, imported; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(import_module(f"llm_pool.cli.{cmd_name}").app)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=_Commands,
    name="llm-pool",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        Console().out(f"llm-pool {__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """One question to several local language models at once, one answer."""


def run(argv: Sequence[str]) -> int:
    """
    Run one command line.

    Returns:
        An exit code of ``cli.exits``.
    """
    try:
        code = typer.main.get_command(app).main(list(argv), prog_name="llm-pool", standalone_mode=False)
    except LlmPoolError as error:
        Console().error(error)
        return exit_for(error)
    except ClickException as error:
        error.show()
        return Exit.USAGE
    except (KeyboardInterrupt, typer.Abort):
        return Exit.INTERRUPTED
    except PipeClosed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains at its own exit
        return Exit.OK
    except Exception as error:  # noqa: BLE001  # the last stop: a person gets a sentence, the report gets the traceback
        return _report(error)
    return int(code or Exit.OK)


def _report(error: Exception) -> Exit:
    """Keep the traceback in a file, so that the terminal shows one line."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="llm-pool-crash-", suffix=".txt", delete=False) as file:
        file.writelines(traceback.format_exception(error))
    Console().error(
        LlmPoolError(f"a bug in llm-pool: {type(error).__name__}: {error}", hint=f"please report it with {file.name}")
    )
    return Exit.BUG

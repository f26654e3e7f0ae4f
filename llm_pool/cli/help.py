"""``llm-pool help``: the pages of help, by name."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from llm_pool.cli.command import App, Context
from llm_pool.cli.exit_codes import ExitCode

EXIT_CODES = "exit-codes"
_EXAMPLES = """\
llm-pool help infer
llm-pool help models pull
llm-pool help exit-codes"""


def _topics(incomplete: str) -> list[str]:
    from llm_pool.cli.commands import COMMANDS

    return [topic for topic in [*COMMANDS, EXIT_CODES] if topic.startswith(incomplete)]


app = App()


@app.command("help", epilog=_EXAMPLES)
def show(
    ctx: Context,
    topic: Annotated[
        list[str] | None, Argument(help="a command, or exit-codes; else all commands", autocompletion=_topics)
    ] = None,
) -> int:
    """Print the page of a command, or of the exit codes."""
    if topic == [EXIT_CODES]:
        return _exit_codes(ctx)
    root = ctx.find_root().command
    with root.make_context("llm-pool", [*(topic or ()), "--help"], obj=ctx.obj) as page:
        return int(root.invoke(page))


def _exit_codes(ctx: Context) -> int:
    console = ctx.obj.console
    if ctx.obj.json:
        console.json([{"code": code.value, "meaning": code.meaning} for code in ExitCode])
        return ExitCode.OK
    from llm_pool.cli.drawing import grid

    table = grid("right", "wrap")
    for code in ExitCode:
        table.add_row(str(code.value), code.meaning)
    console.show(table)
    return ExitCode.OK

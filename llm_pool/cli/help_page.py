"""
Help, in panels drawn by rich.

The shapes are Typer's; Typer's own drawing would import a Markdown parser and a highlighter of code before its first
line, and take a third longer than a start may (docs/decisions/0004-command-line.md). Examples come first: they are
what most people look for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.console import Group as Stack
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from llm_pool.cli.command import SHARED_PANEL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from llm_pool.cli.command import Session

MOST_COLUMNS = 100
"""Wider lines are harder to read."""


def show_help(ctx: click.Context) -> None:
    """Print the page of the command of *ctx*."""
    session: Session = ctx.find_root().obj
    session.console.show(help_page(ctx), most=MOST_COLUMNS)


def help_page(ctx: click.Context) -> RenderableType:
    """The page: usage, what it does, examples, arguments, options and commands."""
    command = ctx.command
    words = " ".join([ctx.command_path, *command.collect_usage_pieces(ctx)])
    about = (command.help or "").replace("\n", " ")
    parts: list[RenderableType] = [
        Padding(Text.assemble(("Usage: ", "yellow"), (words, "bold")), (0, 1)),
        Padding(Text(about), (0, 1)),
    ]
    if command.epilog:
        examples = [Text(line, overflow="fold") for line in command.epilog.splitlines()]
        parts.append(_panel("Examples", [*examples]))
    panels: dict[str, list[click.Parameter]] = {}
    for param in command.get_params(ctx):
        if not getattr(param, "hidden", False):
            usual = "Options" if isinstance(param, click.Option) else "Arguments"
            panels.setdefault(getattr(param, "rich_help_panel", None) or usual, []).append(param)
    if isinstance(command, click.Group):
        shown = [(name, command.get_command(ctx, name)) for name in command.list_commands(ctx)]
        rows = [(Text(name, "bold cyan"), Text(one.get_short_help_str(200))) for name, one in shown if one is not None]
        parts.append(_panel("Commands", [_table(rows)]))
    parts += [
        _panel(title, [_table((_names(param), _meaning(param, ctx)) for param in panels[title])])
        for title in ("Arguments", "Options", SHARED_PANEL)
        if title in panels
    ]
    return Stack(*parts)


def _panel(title: str, content: list[RenderableType]) -> Panel:
    return Panel(Stack(*content), title=title, title_align="left", border_style="dim")


def _table(rows: Iterable[tuple[RenderableType, RenderableType]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    for row in rows:
        table.add_row(*row)
    return table


def _names(param: click.Parameter) -> Text:
    """``-t, --task NAME``, or the argument's word."""
    if not isinstance(param, click.Option):
        return Text(param.human_readable_name, "bold yellow")
    styles = {True: "bold cyan", False: "bold green"}
    names = Text(", ").join(Text(name, styles[name.startswith("--")]) for name in [*param.opts, *param.secondary_opts])
    if not param.is_flag and param.metavar:
        names.append(f" {param.metavar}", "bold yellow")
    return names


def _meaning(param: click.Parameter, ctx: click.Context) -> Text:
    """What it means, and its default where there is one that says something."""
    meaning = Text(getattr(param, "help", None) or "")
    said = getattr(param, "show_default", None)
    default = said if isinstance(said, str) else param.get_default(ctx)
    if said is not False and not getattr(param, "is_flag", False) and default not in {None, ""} and default != ():
        meaning.append(f" [{default}]", "dim")
    return meaning

"""``llm-pool config``: show, check, init, path, schema, explain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from llm_pool.cli.console import Console
from llm_pool.cli.exits import Exit
from llm_pool.config import find, load
from llm_pool.errors import ConfigError, InvalidRequest

app = typer.Typer(help="What is configured, where, and what a key means.", no_args_is_help=True)

_CONFIG = typer.Option("--config", "-c", metavar="FILE", help="The file to use, instead of the one that is found.")


class ShowOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to show: *config* of None is the file that is found."""

    config: Path | None = None
    origin: bool = False
    json: bool = False


@app.command("show")
def _show(
    *,
    config: Annotated[Path | None, _CONFIG] = None,
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value comes from.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> int:
    """Write what counts, defaults included; keys are masked."""
    return show(ShowOptions(config=config, origin=origin, json=json), Console())


@app.command("check")
def _check(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="The one that counts, if left out.")] = None,
) -> int:
    """Name every mistake with its line."""
    return check(file, Console())


@app.command("init")
def _init(
    file: Annotated[Path, typer.Argument(metavar="[FILE]")] = Path("llm-pool.toml"),
    *,
    full: Annotated[bool, typer.Option("--full", help="With every key and its meaning.")] = False,
) -> int:
    """Write a file to start from; an existing one is left alone."""
    return init(file, Console(), full=full)


@app.command("path")
def _path(*, config: Annotated[Path | None, _CONFIG] = None) -> int:
    """Say which file counts."""
    return path(config, Console())


@app.command("schema")
def _schema() -> int:
    """Write the JSON Schema of the file, for editors."""
    return schema(Console())


@app.command("explain")
def _explain(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A key or a table, e.g. qos.hedge_after_ms.")],
) -> int:
    """Say what a key means, what it accepts, and its default."""
    return explain(key, Console())


def show(options: ShowOptions, console: Console) -> int:
    """Write the configuration; raises ConfigError."""
    from llm_pool.config.load import parse, read
    from llm_pool.config.show import as_json, as_toml, origins

    place = find(options.config).path
    text = read(place)
    config = parse(text, place)
    origin = origins(config, text) if options.origin else None
    if options.json:
        console.json(as_json(config, origin))
    else:
        console.out(as_toml(config, origin), end="")
    return Exit.OK


def check(file: Path | None, console: Console) -> int:
    """Say that the file is good, or everything that is wrong with it."""
    place = find(file).path
    try:
        config = load(place)
    except ConfigError as first:
        for error in (first, *first.also):
            console.error(error)
        return Exit.CONFIG
    count = len(config.active_providers)
    console.out(f"{place}: good, {count} provider{'s' if count > 1 else ''}")
    return Exit.OK


def init(file: Path, console: Console, *, full: bool) -> int:
    """Write a file to start from; raises InvalidRequest rather than to overwrite one."""
    from llm_pool.config import starter

    text = starter.full() if full else starter.short()
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        raise InvalidRequest("FILE", f"{file} is there already", hint="name another one, or move it away") from None
    except OSError as error:
        raise InvalidRequest("FILE", f"{file} cannot be written: {(error.strerror or '').lower()}") from None
    console.say(f"wrote {file}; llm-pool config check {file}  checks it after each change")
    return Exit.OK


def path(config: Path | None, console: Console) -> int:
    """Say which file counts, and on stderr why."""
    place = find(config)
    console.out(str(place.path))
    console.say(f"from {place.why}")
    return Exit.OK


def schema(console: Console) -> int:
    """Write the JSON Schema."""
    from llm_pool.config.schema import as_text

    console.out(as_text(), end="")
    return Exit.OK


def explain(asked: str, console: Console) -> int:
    """Write what *asked* means; raises InvalidRequest for what is no key and no table."""
    from llm_pool.config.keys import explained, tables
    from llm_pool.config.problem import nearest

    keys = explained(asked)
    if not keys:
        known = [name for table in tables() for name in (table.path, *(key.path for key in table.keys))]
        raise InvalidRequest("KEY", f"there is no key {asked}", hint=nearest(asked, known))
    entries = []
    for key in keys:
        facts = {"accepts": key.accepts, "default": key.default_words, "example": key.example}
        lines = [f"  {name:<8} {fact}" for name, fact in facts.items() if fact]
        entries.append("\n".join([key.path, f"  {key.doc}", *lines]))
    console.out("\n\n".join(entries))
    return Exit.OK

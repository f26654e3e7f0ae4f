"""``llm-pool config``: show, check, init, path, schema, explain."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from llm_pool.cli.command import App, Context
from llm_pool.cli.completion import key_names
from llm_pool.cli.console import escaped
from llm_pool.cli.exit_codes import ExitCode
from llm_pool.core.errors import ConfigError, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_pool.config import Config
    from llm_pool.config.positions import KeyPath


_File = Annotated[Path | None, Argument(help="the one in use, if left out", show_default=False)]

app = App(
    "What is configured, where, and what a key means.",
    "llm-pool config init                      # write a file to start from",
    "llm-pool config check",
    "llm-pool config show --origin",
    "llm-pool config explain qos.hedge_after_ms",
)


@app.command("show", epilog="llm-pool config show --origin\nllm-pool config show --json | jq .qos")
def show(
    ctx: Context, origin: Annotated[bool, Option("--origin", help="say where each value comes from")] = False
) -> int:
    """Print the effective configuration, defaults included; secrets are masked."""
    from llm_pool.config import find
    from llm_pool.config.load import parse, read
    from llm_pool.config.show import as_json, as_toml, origins
    from llm_pool.engine import effective_config

    console = ctx.obj.console
    place = find(ctx.obj.config)
    text = read(place.path)
    config, note = effective_config(place)
    found = _with_found(origins(config, text), parse(text, place.path), config) if origin else None
    if note:
        console.say(f"note: {escaped(note)}")
    if ctx.obj.json:
        console.json(as_json(config, found))
    else:
        console.out(as_toml(config, found), end="")
    return ExitCode.OK


def _with_found(origin: Callable[[KeyPath], str], written: Config, config: Config) -> Callable[[KeyPath], str]:
    """*origin*, which knows the file with what is *written* there, for *config* with providers that were found."""
    lines = {provider.name: index for index, provider in enumerate(written.providers)}

    def found(path: KeyPath) -> str:
        if path[0] != "providers":
            return origin(path)
        line = lines.get(config.providers[int(path[1])].name)
        return "found on this machine" if line is None else origin(("providers", line, *path[2:]))

    return found


@app.command(epilog="llm-pool config check\nllm-pool config check other.toml")
def check(ctx: Context, file: _File = None) -> int:
    """Name every mistake with its line."""
    from llm_pool.config import find, load

    console = ctx.obj.console
    place = find(file or ctx.obj.config).path
    count = len(load(place).active_providers)
    if ctx.obj.json:
        console.json({"path": str(place), "good": True, "providers": count})
    else:
        console.out(f"{place}: good, {count} provider{'' if count == 1 else 's'}")
    return ExitCode.OK


@app.command(epilog="llm-pool config init\nllm-pool config init --interactive\nllm-pool config init --full")
def init(
    ctx: Context,
    file: Annotated[Path, Argument(help="what it is called")] = Path("llm-pool.toml"),
    full: Annotated[bool, Option("--full", help="with every key and its meaning")] = False,
    interactive: Annotated[bool, Option("--interactive", help="choose among the models found on this machine")] = False,
) -> int:
    """Write a file to start from, with the models found on this machine; an existing one is left alone."""
    from llm_pool.cli.found_models import starting_text

    console = ctx.obj.console
    if file.exists():
        raise _is_there(file)
    text = starting_text(console, full=full, interactive=interactive)
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        raise _is_there(file) from None
    except OSError as error:
        raise InvalidRequest("FILE", f"{file} cannot be written: {(error.strerror or '').lower()}") from None
    if ctx.obj.json:
        console.json({"path": str(file)})
    console.say(f"wrote {file}; llm-pool config check {file}  checks it after each change")
    return ExitCode.OK


def _is_there(file: Path) -> InvalidRequest:
    return InvalidRequest("FILE", f"{file} is there already", hint="name another one, or move it away")


@app.command(epilog="llm-pool config path")
def path(ctx: Context) -> int:
    """Say which file is used, and why."""
    from llm_pool.config import find

    console = ctx.obj.console
    place = find(ctx.obj.config)
    note = ""
    with suppress(ConfigError):  # which file it is can be said of one with mistakes too
        from llm_pool.engine import effective_config

        note = effective_config(place).note
    if ctx.obj.json:
        console.json({"path": str(place.path), "why": place.why, "found": note})
        return ExitCode.OK
    console.out(str(place.path))
    console.say(f"from {place.why}")
    if note:
        console.say(f"note: {escaped(note)}")
    return ExitCode.OK


@app.command(epilog="llm-pool config schema > llm-pool.schema.json")
def schema(ctx: Context) -> int:
    """Write the JSON Schema of the file, for editors."""
    from llm_pool.config.schema import as_text

    ctx.obj.console.out(as_text(), end="")
    return ExitCode.OK


@app.command(epilog="llm-pool config explain qos.hedge_after_ms\nllm-pool config explain breaker")
def explain(
    ctx: Context,
    key: Annotated[str, Argument(help="a key or a table, e.g. qos.hedge_after_ms", autocompletion=key_names)],
) -> int:
    """Say what a key means, what it accepts, and its default."""
    from llm_pool.config.keys import matching_keys
    from llm_pool.config.problem import nearest

    console = ctx.obj.console
    keys = matching_keys(key)
    if not keys:
        raise InvalidRequest("KEY", f"there is no key {key}", hint=nearest(key, key_names()))
    facts = [{"accepts": one.accepts, "default": one.default_text, "example": one.example} for one in keys]
    if ctx.obj.json:
        console.json([{"key": one.path, "meaning": one.doc, **said} for one, said in zip(keys, facts, strict=True)])
        return ExitCode.OK
    entries = []
    for one, said in zip(keys, facts, strict=True):
        lines = [f"  {name:<8} {fact}" for name, fact in said.items() if fact]
        entries.append("\n".join([one.path, f"  {one.doc}", *lines]))
    console.out("\n\n".join(entries))
    return ExitCode.OK

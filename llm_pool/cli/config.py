"""``llm-pool config``: show, check, init, path, schema, explain."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from llm_pool.cli.console import escaped
from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.options import add_config, add_output_options
from llm_pool.cli.parsing import Command, Group
from llm_pool.cli.shell_completion import key_names
from llm_pool.core.errors import ConfigError, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_pool.cli.console import Console
    from llm_pool.cli.parsing import Parser
    from llm_pool.config import Config
    from llm_pool.config.positions import KeyPath


class ShowOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to show: *config* of None is the file that is found."""

    config: Path | None = None
    origin: bool = False
    json: bool = False


def _show_arguments(parser: Parser) -> None:
    parser.flag("--origin", text="say where each value comes from")
    add_config(parser)
    add_output_options(parser)


def _file_arguments(parser: Parser) -> None:
    parser.argument("file", "the one in use, if left out", read=Path, optional=True)
    add_output_options(parser)


def _init_arguments(parser: Parser) -> None:
    parser.argument("file", "llm-pool.toml, if left out", read=Path, optional=True, default=Path("llm-pool.toml"))
    parser.flag("--full", text="with every key and its meaning")
    parser.flag("--interactive", text="choose among the models found on this machine")
    add_output_options(parser)


def _path_arguments(parser: Parser) -> None:
    add_config(parser)
    add_output_options(parser)


def _explain_arguments(parser: Parser) -> None:
    parser.argument("key", "a key or a table, e.g. qos.hedge_after_ms", complete=key_names)
    add_output_options(parser)


COMMAND = Group(
    "config",
    "What is configured, where, and what a key means.",
    (
        "llm-pool config init                      # write a file to start from",
        "llm-pool config check",
        "llm-pool config show --origin",
        "llm-pool config explain qos.hedge_after_ms",
    ),
    (
        Command(
            "show",
            "Print the effective configuration, defaults included; secrets are masked.",
            ("llm-pool config show --origin", "llm-pool config show --json | jq .qos"),
            _show_arguments,
            lambda args, console: show(ShowOptions(config=args.config, origin=args.origin, json=args.json), console),
        ),
        Command(
            "check",
            "Name every mistake with its line.",
            ("llm-pool config check", "llm-pool config check other.toml"),
            _file_arguments,
            lambda args, console: check(args.file, console, as_json=args.json),
        ),
        Command(
            "init",
            "Write a file to start from, with the models found on this machine; an existing one is left alone.",
            ("llm-pool config init", "llm-pool config init --interactive", "llm-pool config init --full"),
            _init_arguments,
            lambda args, console: init(
                args.file, console, full=args.full, interactive=args.interactive, as_json=args.json
            ),
        ),
        Command(
            "path",
            "Say which file is used, and why.",
            ("llm-pool config path",),
            _path_arguments,
            lambda args, console: path(args.config, console, as_json=args.json),
        ),
        Command(
            "schema",
            "Write the JSON Schema of the file, for editors.",
            ("llm-pool config schema > llm-pool.schema.json",),
            add_output_options,
            lambda _args, console: schema(console),
        ),
        Command(
            "explain",
            "Say what a key means, what it accepts, and its default.",
            ("llm-pool config explain qos.hedge_after_ms", "llm-pool config explain breaker"),
            _explain_arguments,
            lambda args, console: explain(args.key, console, as_json=args.json),
        ),
    ),
)


def show(options: ShowOptions, console: Console) -> int:
    """Write the configuration; raises ConfigError."""
    from llm_pool.config import find
    from llm_pool.config.load import parse, read
    from llm_pool.config.show import as_json, as_toml, origins

    place = find(options.config)
    text = read(place.path)
    from llm_pool.engine import effective_config

    config, note = effective_config(place)
    origin = _with_found(origins(config, text), parse(text, place.path), config) if options.origin else None
    if note:
        console.say(f"note: {escaped(note)}")
    if options.json:
        console.json(as_json(config, origin))
    else:
        console.out(as_toml(config, origin), end="")
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


def check(file: Path | None, console: Console, *, as_json: bool) -> int:
    """Say that the file is good; raises ConfigError with everything that is wrong with it."""
    from llm_pool.config import find, load

    place = find(file).path
    count = len(load(place).active_providers)
    if as_json:
        console.json({"path": str(place), "good": True, "providers": count})
    else:
        console.out(f"{place}: good, {count} provider{'' if count == 1 else 's'}")
    return ExitCode.OK


def init(file: Path, console: Console, *, full: bool, interactive: bool, as_json: bool) -> int:
    """Write a file to start from; raises InvalidRequest rather than to overwrite one."""
    from llm_pool.cli.found_models import starting_text

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
    if as_json:
        console.json({"path": str(file)})
    console.say(f"wrote {file}; llm-pool config check {file}  checks it after each change")
    return ExitCode.OK


def _is_there(file: Path) -> InvalidRequest:
    return InvalidRequest("FILE", f"{file} is there already", hint="name another one, or move it away")


def path(config: Path | None, console: Console, *, as_json: bool) -> int:
    """Say which file is used, and on stderr why."""
    from llm_pool.config import find

    place = find(config)
    note = ""
    with suppress(ConfigError):  # which file it is can be said of one with mistakes too
        from llm_pool.engine import effective_config

        note = effective_config(place).note
    if as_json:
        console.json({"path": str(place.path), "why": place.why, "found": note})
        return ExitCode.OK
    console.out(str(place.path))
    console.say(f"from {place.why}")
    if note:
        console.say(f"note: {escaped(note)}")
    return ExitCode.OK


def schema(console: Console) -> int:
    """Write the JSON Schema."""
    from llm_pool.config.schema import as_text

    console.out(as_text(), end="")
    return ExitCode.OK


def explain(asked: str, console: Console, *, as_json: bool) -> int:
    """Write what *asked* means; raises InvalidRequest for what is no key and no table."""
    from llm_pool.config.keys import matching_keys
    from llm_pool.config.problem import nearest

    keys = matching_keys(asked)
    if not keys:
        raise InvalidRequest("KEY", f"there is no key {asked}", hint=nearest(asked, key_names()))
    facts = [{"accepts": key.accepts, "default": key.default_text, "example": key.example} for key in keys]
    if as_json:
        console.json([{"key": key.path, "meaning": key.doc, **said} for key, said in zip(keys, facts, strict=True)])
        return ExitCode.OK
    entries = []
    for key, said in zip(keys, facts, strict=True):
        lines = [f"  {name:<8} {fact}" for name, fact in said.items() if fact]
        entries.append("\n".join([key.path, f"  {key.doc}", *lines]))
    console.out("\n\n".join(entries))
    return ExitCode.OK

"""``llm-pool models``: list, pull, show and remove the models behind the providers."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING

from llm_pool.cli.exit_codes import ExitCode, exit_code_for
from llm_pool.cli.model_stores import StoreTarget, locate, nearest_name, open_stores, to_pull
from llm_pool.cli.options import add_config, add_output_options, read_config
from llm_pool.cli.parsing import Command, Group
from llm_pool.cli.progress import Progress, amount
from llm_pool.cli.shell_completion import model_names, provider_names
from llm_pool.core.errors import InvalidRequest, ProviderError, Rejected
from llm_pool.wire.json import error_json

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Awaitable, Callable, Sequence

    from llm_pool.cli.console import Console
    from llm_pool.cli.parsing import Parser
    from llm_pool.config import Config
    from llm_pool.core.messages import Json, ModelInfo


async def list_models(targets: Sequence[StoreTarget], console: Console, *, as_json: bool) -> int:
    """Print the models of every store; exit 69 if none could be read."""
    contents = await asyncio.gather(*(_contents(target) for target in targets))
    if as_json:
        console.json([_store_json(target, found) for target, found in zip(targets, contents, strict=True)])
    else:
        for target, found in zip(targets, contents, strict=True):
            _print_store(target, found, console)
    readable = any(not isinstance(found, ProviderError) for found in contents)
    return ExitCode.OK if readable or not targets else ExitCode.UNAVAILABLE


async def pull_models(
    targets: Sequence[StoreTarget], names: Sequence[str], provider: str | None, console: Console, *, as_json: bool
) -> int:
    """Fetch *names*, or every model of the configuration; one that fails does not keep the others from coming."""
    results: list[Json] = []
    failed: list[ProviderError] = []
    for target, model in to_pull(targets, names, provider):
        try:
            outcome = await _pull(target, model, console)
            results.append({"model": model, "place": target.place, "status": outcome})
        except ProviderError as error:
            failed.append(error)
            results.append({"model": model, "place": target.place, **error_json(error, commands=True)})
            if not as_json:
                console.error(error, exit_code_for(error))
    if as_json:
        console.json(results)
    return exit_code_for(failed[0]) if failed else ExitCode.OK


async def show_model(
    targets: Sequence[StoreTarget], model: str, provider: str | None, console: Console, *, as_json: bool
) -> int:
    """Print what is known of *model*; raises ProviderError if it is not there."""
    target = await locate(targets, model, provider)
    info = await _shown(target, targets, model, provider)
    if as_json:
        console.json(_info_json(info))
        return ExitCode.OK
    console.out(f"name     {info.name}")
    console.out(f"place    {info.place}")
    console.out(f"size     {_size(info)}")
    console.out(f"loaded   {'yes' if info.loaded else 'no'}")
    if info.digest:
        console.out(f"digest   {info.digest}")
    for key, value in _flat(info.detail):
        console.out(f"  {key:<40} {value}")
    return ExitCode.OK


async def remove_model(
    targets: Sequence[StoreTarget], model: str, provider: str | None, console: Console, *, yes: bool, as_json: bool
) -> int:
    """Delete *model*, once a person has said yes; raises InvalidRequest where nobody can, ProviderError if it fails."""
    target = await locate(targets, model, provider)
    listed = {target.same_name(info.name): info for info in await target.store.models()}
    info = listed.get(target.same_name(model)) or await _shown(target, targets, model, provider)
    if not yes and not await asyncio.to_thread(_confirm, f"remove {info.name} ({_size(info)}) from {info.place}?"):
        console.say("nothing removed")
        return ExitCode.OK
    await target.store.remove(model)
    if as_json:
        console.json({"removed": info.name, "place": info.place})
    console.say(f"removed {info.name}")
    return ExitCode.OK


async def _contents(target: StoreTarget) -> Sequence[ModelInfo] | ProviderError:
    try:
        return await target.store.models()
    except ProviderError as error:
        return error


async def _shown(target: StoreTarget, targets: Sequence[StoreTarget], model: str, provider: str | None) -> ModelInfo:
    """What *target* knows of *model*; raises ProviderError with the nearest name if it is not there."""
    try:
        return await target.store.show(model)
    except Rejected as error:
        near = await nearest_name(targets, model, provider)
        raise Rejected(error.provider, error.reason, hint=near or error.hint) from error


async def _pull(target: StoreTarget, model: str, console: Console) -> str:
    """Fetch *model* with a bar, and say how it ended."""
    status = ""
    name = target.same_name(model) if "/" in model else model
    with Progress(console, f"pulling {name}", unit=amount) as progress:
        async with aclosing(target.store.pull(model)) as steps:
            async for step in steps:
                status = step.status
                if step.total:
                    progress.update(step.done, step.total)
                else:
                    progress.note(step.status)
    ended = "already here" if status == "already here" else "pulled and verified"
    console.say(f"{name}: {ended}")
    return ended


def _confirm(question: str) -> bool:
    """Whether a person at the terminal says yes."""
    if not sys.stdin.isatty():
        raise InvalidRequest("--yes", f"{question} nobody is here to answer", hint="add --yes")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)  # noqa: T201  # a question is talk, not data
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _print_store(target: StoreTarget, found: Sequence[ModelInfo] | ProviderError, console: Console) -> None:
    users = f"for {', '.join(target.providers)}" if target.providers else "used by no provider"
    console.out(f"{console.paint(target.place, 'bold', console.stdout)}  {users}")
    if isinstance(found, ProviderError):
        console.out(f"  {console.paint('unreachable', 'red', console.stdout)}  {found.reason}")
        if found.hint:
            console.out(f"  {console.paint('→', 'cyan', console.stdout)} {found.hint}")
        return
    missing = target.missing(found)
    width = max((len(name) for name in [*(info.name for info in found), *missing]), default=0)
    configured = {target.same_name(model) for model in target.models}
    for info in sorted(found, key=lambda info: (target.same_name(info.name) not in configured, info.name)):
        loaded = console.paint("loaded", "green", console.stdout) if info.loaded else ""
        mark = "*" if target.same_name(info.name) in configured else " "
        console.out(f"{mark} {info.name:<{width}}  {_size(info):>8}  {loaded}".rstrip())
    for model in missing:
        console.out(f"* {model:<{width}}  {console.paint(' missing', 'yellow', console.stdout)}")
        if not target.can_pull:
            continue
        console.out(f"  {'':<{width}}  {console.paint('→', 'cyan', console.stdout)} llm-pool models pull {model}")


def _size(info: ModelInfo) -> str:
    return "?" if info.size is None else amount(info.size)


def _store_json(target: StoreTarget, found: Sequence[ModelInfo] | ProviderError) -> dict[str, Json]:
    about: dict[str, Json] = {"place": target.place, "providers": list(target.providers)}
    if isinstance(found, ProviderError):
        return about | error_json(found, commands=True)
    return about | {"models": [_info_json(info) for info in found], "missing": target.missing(found)}


def _info_json(info: ModelInfo) -> dict[str, Json]:
    return {
        "name": info.name,
        "size": info.size,
        "place": info.place,
        "loaded": info.loaded,
        "digest": info.digest,
        "detail": info.detail,
    }


def _flat(detail: dict[str, Json], before: str = "") -> list[tuple[str, str]]:
    """*detail* as lines; long texts (licences, templates) by their first line."""
    lines: list[tuple[str, str]] = []
    for key, value in detail.items():
        if isinstance(value, dict):
            lines += _flat(value, f"{before}{key}.")
        elif isinstance(value, list) and value:
            lines.append((f"{before}{key}", f"{len(value)} entries" if len(value) > 6 else ", ".join(map(str, value))))
        elif value not in (None, "", []) and (text := str(value).strip()):
            first, *rest = text.splitlines()
            lines.append((f"{before}{key}", first[:60] + ("…" if rest or first[60:] else "")))
    return lines


def _with_stores(args: Namespace, console: Console, work: Callable[[Sequence[StoreTarget]], Awaitable[int]]) -> int:
    return _with_stores_of(read_config(args.config, console), work)


def _with_configured_stores(args: Namespace, work: Callable[[Sequence[StoreTarget]], Awaitable[int]]) -> int:
    """As the file says, whatever else is found: what is missing is to be pulled."""
    from llm_pool.config import find, load

    return _with_stores_of(load(find(args.config).path), work)


def _with_stores_of(config: Config, work: Callable[[Sequence[StoreTarget]], Awaitable[int]]) -> int:
    async def run() -> int:
        async with open_stores(config) as targets:
            return await work(targets)

    return asyncio.run(run())


def _list_arguments(parser: Parser) -> None:
    add_config(parser)
    add_output_options(parser)


def _pull_arguments(parser: Parser) -> None:
    parser.argument(
        "model",
        "names, or hf:OWNER/REPO/FILE.gguf or a URL; none: every model configured",
        many=True,
        complete=model_names,
    )
    _add_provider(parser)


def _show_arguments(parser: Parser) -> None:
    parser.argument("model", "its name", complete=model_names)
    _add_provider(parser)


def _remove_arguments(parser: Parser) -> None:
    parser.argument("model", "its name", complete=model_names)
    parser.flag("-y", "--yes", text="do not ask")
    _add_provider(parser)


def _add_provider(parser: Parser) -> None:
    parser.option("--provider", metavar="NAME", text="at this provider's server or folder", complete=provider_names)
    add_config(parser)
    add_output_options(parser)


COMMAND = Group(
    "models",
    "The models behind the providers: on their servers, and in your folder of GGUF files.",
    (
        "llm-pool models list",
        "llm-pool models pull                     # every model of the configuration",
        "llm-pool models pull llama3.1:8b",
        "llm-pool models pull hf:OWNER/REPO/FILE.gguf",
    ),
    (
        Command(
            "list",
            "Print the models that are there, and those of the configuration that are not.",
            ("llm-pool models list", "llm-pool models list --json | jq -r '.[].missing[]'"),
            _list_arguments,
            lambda args, console: _with_stores(
                args, console, lambda found: list_models(found, console, as_json=args.json)
            ),
        ),
        Command(
            "pull",
            "Fetch models; what an earlier pull left is not fetched again, and all is verified.",
            (
                "llm-pool models pull",
                "llm-pool models pull phi3:mini gemma2:9b",
                "llm-pool models pull hf:OWNER/REPO/FILE.gguf",
                "llm-pool models pull 'https://HOST/FILE.gguf#sha256=…'",
            ),
            _pull_arguments,
            lambda args, console: _with_configured_stores(
                args, lambda found: pull_models(found, args.model, args.provider, console, as_json=args.json)
            ),
        ),
        Command(
            "show",
            "Print what is known of a model.",
            ("llm-pool models show llama3.1:8b", "llm-pool models show pocket-a --json"),
            _show_arguments,
            lambda args, console: _with_stores(
                args, console, lambda found: show_model(found, args.model, args.provider, console, as_json=args.json)
            ),
        ),
        Command(
            "rm",
            "Delete a model, after asking.",
            ("llm-pool models rm gemma2:9b", "llm-pool models rm gemma2:9b --yes"),
            _remove_arguments,
            lambda args, console: _with_stores(
                args,
                console,
                lambda found: remove_model(found, args.model, args.provider, console, yes=args.yes, as_json=args.json),
            ),
        ),
    ),
)

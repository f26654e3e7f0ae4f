"""``llm-pool models``: list, pull, show and remove the models behind the providers."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, TypeAlias

from typer import Argument, Option

from llm_pool.cli.command import App, Context, Session
from llm_pool.cli.completion import model_names, provider_names
from llm_pool.cli.exit_codes import ExitCode, exit_code_for
from llm_pool.cli.model_stores import StoreTarget, locate, nearest_name, open_stores, to_pull
from llm_pool.cli.options import read_config
from llm_pool.cli.progress import Progress, amount
from llm_pool.core.errors import InvalidRequest, ProviderError, Rejected
from llm_pool.wire.json import error_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from llm_pool.cli.console import Console
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
    listed = {target.same_name(info.name): info for info in await target.listed()}
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
        return await target.listed()
    except ProviderError as error:
        return error


async def _shown(target: StoreTarget, targets: Sequence[StoreTarget], model: str, provider: str | None) -> ModelInfo:
    """What *target* knows of *model*; raises ProviderError with the nearest name if it is not there."""
    try:
        return await target.shown(model)
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
    from rich.text import Text

    from llm_pool.cli.drawing import grid, text

    users = f"  for {', '.join(target.providers)}" if target.providers else "  used by no provider"
    console.show(Text.assemble(text(target.place, "bold"), text(users)))
    if isinstance(found, ProviderError):
        console.show(Text.assemble("  ", ("unreachable", "red"), "  ", text(found.reason)))
        if found.hint:
            console.show(Text.assemble("  ", ("→", "cyan"), " ", text(found.hint)))
        return
    configured = {target.same_name(model) for model in target.models}
    table = grid("left", "right", "left")
    for info in sorted(found, key=lambda info: (target.same_name(info.name) not in configured, info.name)):
        mark = "*" if target.same_name(info.name) in configured else " "
        table.add_row(text(f"{mark} {info.name}"), _size(info), Text("loaded" if info.loaded else "", "green"))
    for model in target.missing(found):
        way_out = f"→ llm-pool models pull {model}" if target.can_pull else ""
        table.add_row(text(f"* {model}"), Text("missing", "yellow"), text(way_out, "cyan"))
    console.show(table)


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


def _with_stores(session: Session, work: Callable[[Sequence[StoreTarget]], Awaitable[int]]) -> int:
    return _with_stores_of(read_config(session), work)


def _with_stores_of(config: Config, work: Callable[[Sequence[StoreTarget]], Awaitable[int]]) -> int:
    async def run() -> int:
        async with open_stores(config) as targets:
            return await work(targets)

    return asyncio.run(run())


_Provider: TypeAlias = Annotated[
    str | None,
    Option("--provider", metavar="NAME", help="at this provider's server or folder", autocompletion=provider_names),
]
_Model: TypeAlias = Annotated[str, Argument(help="its name", autocompletion=model_names)]

app = App(
    "The models behind the providers: on their servers, and in your folder of GGUF files.",
    "llm-pool models list",
    "llm-pool models pull                     # every model of the configuration",
    "llm-pool models pull llama3.1:8b",
    "llm-pool models pull hf:OWNER/REPO/FILE.gguf",
)


@app.command("list", epilog="llm-pool models list\nllm-pool models list --json | jq -r '.[].missing[]'")
def _list(ctx: Context) -> int:
    """Print the models that are there, and those of the configuration that are not."""
    return _with_stores(ctx.obj, lambda found: list_models(found, ctx.obj.console, as_json=ctx.obj.json))


@app.command(
    "pull",
    epilog="llm-pool models pull\nllm-pool models pull phi3:mini gemma2:9b\n"
    "llm-pool models pull hf:OWNER/REPO/FILE.gguf\nllm-pool models pull 'https://HOST/FILE.gguf#sha256=…'",
)
def _pull_command(
    ctx: Context,
    model: Annotated[
        list[str] | None,
        Argument(
            help="names, or hf:OWNER/REPO/FILE.gguf or a URL; none: every model configured",
            autocompletion=model_names,
            show_default=False,
        ),
    ] = None,
    provider: _Provider = None,
) -> int:
    """Fetch models; what an earlier pull left is not fetched again, and all is verified."""
    from llm_pool.config import find, load

    # as the file says, whatever else is found: what is missing is to be pulled
    config = load(find(ctx.obj.config).path)
    return _with_stores_of(
        config, lambda found: pull_models(found, model or (), provider, ctx.obj.console, as_json=ctx.obj.json)
    )


@app.command("show", epilog="llm-pool models show llama3.1:8b\nllm-pool models show pocket-a --json")
def _show(ctx: Context, model: _Model, provider: _Provider = None) -> int:
    """Print what is known of a model."""
    return _with_stores(
        ctx.obj, lambda found: show_model(found, model, provider, ctx.obj.console, as_json=ctx.obj.json)
    )


@app.command("rm", epilog="llm-pool models rm gemma2:9b\nllm-pool models rm gemma2:9b --yes")
def _remove(
    ctx: Context,
    model: _Model,
    yes: Annotated[bool, Option("-y", "--yes", help="do not ask")] = False,
    provider: _Provider = None,
) -> int:
    """Delete a model, after asking."""
    return _with_stores(
        ctx.obj,
        lambda found: remove_model(found, model, provider, ctx.obj.console, yes=yes, as_json=ctx.obj.json),
    )

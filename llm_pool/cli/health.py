"""``llm-pool health``: the state of each provider, and what to type next."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from typer import Option

from llm_pool.cli.command import App, Context, Session
from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.options import Url, read_config
from llm_pool.cli.remote import reject_local_only, with_daemon
from llm_pool.cli.values import time_span
from llm_pool.wire.json import state_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.cli.console import Console
    from llm_pool.config import Config
    from llm_pool.core.messages import ProviderState
    from llm_pool.engine import App as Pool
    from llm_pool.trust.model import TrustRecord

_EXAMPLES = """\
llm-pool health
llm-pool health --warm --wait 60s    # load every model, and wait until one can answer
llm-pool health --json | jq -r '.providers[] | select(.state != "healthy") | .hint'
llm-pool health --explain            # and what was looked at, for a report
llm-pool health --trust              # what was learned of each provider"""
_COLOURS = {"healthy": "green", "warming": "yellow"}
_POLL = 0.5

app = App()


@app.command(epilog=_EXAMPLES)
def health(
    ctx: Context,
    wait: Annotated[
        float,
        Option(
            "--wait",
            metavar="TIME",
            help="wait so long for a healthy provider, e.g. 30s",
            parser=time_span,
            show_default=False,
        ),
    ] = 0.0,
    warm: Annotated[bool, Option("--warm", help="load models that are there but not loaded")] = False,
    strict: Annotated[
        bool, Option("--strict", help="exit 69 too where none but providers of last resort can answer")
    ] = False,
    explain: Annotated[
        bool, Option("--explain", help="say too what was looked at: files, addresses, models, what is installed")
    ] = False,
    trust: Annotated[bool, Option("--trust", help="show what was learned instead")] = False,
    reset_trust: Annotated[bool, Option("--reset-trust", help="forget what was learned")] = False,
    url: Url = None,
) -> int:
    """Show the state of each provider; exit 0 if one can answer, else 69."""
    console = ctx.obj.console
    if trust or reset_trust:
        return _trust(console, reset=reset_trust, as_json=ctx.obj.json)
    if url:
        reject_local_only(warm=warm, wait=wait, strict=strict, explain=explain, config=ctx.obj.config)
        states = asyncio.run(with_daemon(url, lambda daemon: daemon.health())).states
        return _print_states(states, console, as_json=ctx.obj.json)
    config = read_config(ctx.obj)
    if explain and not ctx.obj.json:
        from llm_pool.cli.surroundings import show_surroundings

        show_surroundings(config, console)
    return asyncio.run(_health(config, ctx.obj, wait=wait, warm=warm, strict=strict))


async def _health(config: Config, session: Session, *, wait: float, warm: bool, strict: bool) -> int:
    from llm_pool.engine import open_app

    console = session.console
    async with open_app(config) as pool:
        if warm:
            await _load(pool, console)
        states = await _until_healthy(pool, wait, console)
    code = _print_states(states, console, as_json=session.json)
    last = {provider.name for provider in config.active_providers if provider.last_resort}
    if code == ExitCode.OK and not _can_answer([state for state in states if state.name not in last]):
        console.say("note: only providers of last resort can answer")
        return ExitCode.UNAVAILABLE if strict else code
    return code


def _print_states(states: Sequence[ProviderState], console: Console, *, as_json: bool) -> int:
    if as_json:
        console.json({"healthy": _can_answer(states), "providers": [state_json(state) for state in states]})
    else:
        _print(states, console)
    return ExitCode.OK if _can_answer(states) else ExitCode.UNAVAILABLE


async def _load(pool: Pool, console: Console) -> None:
    for state in await pool.states():
        if state.condition == "warming":
            console.say(f"loading {state.model} …")
    await pool.warm()


async def _until_healthy(pool: Pool, wait: float, console: Console) -> list[ProviderState]:
    """The states, once a provider that is no last resort is healthy, or after *wait* seconds."""
    until = asyncio.get_running_loop().time() + wait
    first = True
    while True:
        states = await pool.states()
        left = until - asyncio.get_running_loop().time()
        regular = {p.name for p in pool.config.active_providers if not p.last_resort}
        if left <= 0 or any(s.condition == "healthy" for s in states if s.name in (regular or {s.name})):
            return states
        if first:
            console.say(f"waiting up to {left:.0f} s for a provider …")
            first = False
        await asyncio.sleep(min(_POLL, left))


def _can_answer(states: Sequence[ProviderState]) -> bool:
    return any(state.condition in {"healthy", "warming"} for state in states)


def _print(states: Sequence[ProviderState], console: Console) -> None:
    from rich.text import Text

    from llm_pool.cli.drawing import grid, text

    table = grid("left", "left", "left", "wrap")
    for state in states:
        condition = Text(state.condition.replace("_", " "), _COLOURS.get(state.condition, "red"))
        table.add_row(text(state.name), text(state.model), condition, text(state.detail))
        if state.hint:
            table.add_row("", "", Text("→", "cyan", justify="right"), text(state.hint))
    console.show(table)


def _trust(console: Console, *, reset: bool, as_json: bool) -> int:
    from llm_pool.trust.learning import state_folder
    from llm_pool.trust.store import TrustStore

    store = TrustStore(state_folder() / "trust.json")
    if reset:
        store.change(lambda trust: trust.forget())
        if as_json:
            console.json([])
        console.say("what was learned is forgotten; the configured weights are the trust again")
        return ExitCode.OK
    trust_records = store.load().trust_records()
    if as_json:
        console.json([{"task": s.task, "expert": s.expert, "wins": s.wins, "losses": s.losses} for s in trust_records])
    elif not trust_records:
        console.say("nothing learned yet: the configured weights are the trust")
    else:
        from llm_pool.cli.drawing import grid, text

        table = grid("left", "left", "right", "left")
        for record in trust_records:
            table.add_row(text(record.task), text(record.expert), *_share(record))
        console.show(table)
    return ExitCode.OK


def _share(record: TrustRecord) -> tuple[str, str]:
    seen = record.wins + record.losses
    return f"{record.wins / seen:.2f}" if seen else "-", f"right of {seen:.1f} observations"

"""``llm-pool health``: the state of each provider, and what to type next."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.options import add_config, add_output_options, read_config
from llm_pool.cli.parsing import Command, time_span
from llm_pool.cli.remote import add_url, reject_local_only, with_daemon
from llm_pool.wire.json import state_json

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from llm_pool.cli.console import Console
    from llm_pool.cli.parsing import Parser
    from llm_pool.config import Config
    from llm_pool.core.messages import ProviderState
    from llm_pool.engine import App
    from llm_pool.trust.model import TrustRecord

_EXAMPLES = (
    "llm-pool health",
    "llm-pool health --warm --wait 60s    # load every model, and wait until one can answer",
    "llm-pool health --json | jq -r '.providers[] | select(.state != \"healthy\") | .hint'",
    "llm-pool health --trust              # what was learned of each provider",
)
_COLOURS = {"healthy": "green", "warming": "yellow"}
_POLL = 0.5


def _arguments(parser: Parser) -> None:
    parser.option(
        "--wait", metavar="TIME", text="wait so long for a healthy provider, e.g. 30s", read=time_span, default="0s"
    )
    parser.flag("--warm", text="load models that are there but not loaded")
    parser.flag("--strict", text="exit 69 too where none but providers of last resort can answer")
    parser.flag("--trust", text="show what was learned instead")
    parser.flag("--reset-trust", text="forget what was learned")
    add_url(parser)
    add_config(parser)
    add_output_options(parser)


def _run(args: Namespace, console: Console) -> int:
    if args.trust or args.reset_trust:
        return _trust(console, reset=args.reset_trust, as_json=args.json)
    if args.url:
        reject_local_only(args, "warm", "wait", "strict", "config")
        health = asyncio.run(with_daemon(args.url, lambda daemon: daemon.health()))
        return _print_states(health.states, console, as_json=args.json)
    return asyncio.run(_health(read_config(args.config, console), args, console))


COMMAND = Command(
    "health", "Show the state of each provider; exit 0 if one can answer, else 69.", _EXAMPLES, _arguments, _run
)


async def _health(config: Config, args: Namespace, console: Console) -> int:
    from llm_pool.engine import open_app

    async with open_app(config) as pool:
        if args.warm:
            await _load(pool, console)
        states = await _until_healthy(pool, args.wait, console)
    code = _print_states(states, console, as_json=args.json)
    last = {provider.name for provider in config.active_providers if provider.last_resort}
    if code == ExitCode.OK and not _can_answer([state for state in states if state.name not in last]):
        console.say("note: only providers of last resort can answer")
        return ExitCode.UNAVAILABLE if args.strict else code
    return code


def _print_states(states: Sequence[ProviderState], console: Console, *, as_json: bool) -> int:
    if as_json:
        console.json({"healthy": _can_answer(states), "providers": [state_json(state) for state in states]})
    else:
        _print(states, console)
    return ExitCode.OK if _can_answer(states) else ExitCode.UNAVAILABLE


async def _load(pool: App, console: Console) -> None:
    for state in await pool.states():
        if state.condition == "warming":
            console.say(f"loading {state.model} …")
    await pool.warm()


async def _until_healthy(pool: App, wait: float, console: Console) -> list[ProviderState]:
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
    names = max((len(state.name) for state in states), default=0)
    models = max((len(state.model) for state in states), default=0)
    for state in states:
        condition = state.condition.replace("_", " ")
        shown = console.paint(f"{condition:<13}", _COLOURS.get(state.condition, "red"), console.stdout)
        console.out(f"{state.name:<{names}}  {state.model:<{models}}  {shown}  {state.detail}".rstrip())
        if state.hint:
            console.out(f"{'':<{names}}  {console.paint('→', 'cyan', console.stdout)} {state.hint}")


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
        for record in trust_records:
            console.out(_line(record))
    return ExitCode.OK


def _line(record: TrustRecord) -> str:
    seen = record.wins + record.losses
    share = f"{record.wins / seen:.2f}" if seen else "-"
    return f"{record.task:<20} {record.expert:<28} {share:>5} right of {seen:.1f} observations"

"""
A first provider that hangs: how many requests it takes along.

    python bench/hung.py [--requests N] [--deadline-ms MS ...] [--at-once N] [--warm-up N]

Three models behind real sockets, of which the first is healthy for ten requests (``--warm-up``; with 0 it never
answers) and then takes calls without answering them: not at all (``hang``), no further after the first token
(``stall:1``), or a token a second (``trickle:1``). The requests come one after the other, or ``--at-once`` askers each
put theirs so. They are lost when they end without an answer; the first three, and one for each time the pool looks
whether the provider is back, may be. *machines* gives each model a server of its own, *one* is one Ollama with one
slot.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from llm_pool.config import parse
from llm_pool.core.errors import LlmPoolError
from llm_pool.core.messages import Query, StrategyName
from llm_pool.engine.composition import open_app
from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    from llm_pool.config import Config
    from llm_pool.engine.composition import App

MODELS = ("one:1b", "two:1b", "three:1b")
MODES = ("hang", "stall:1", "trickle:1")
MAY_LOSE = 3
"""Requests that may be lost before the provider is known to be silent."""


class Outcome(NamedTuple):
    """Requests that ended without an answer, seconds to the answers, and the calls the silent provider got."""

    lost: int
    waits: list[float]
    asked: int


def configured(urls: list[str]) -> Config:
    """A provider for each model; those with the same address share a machine."""
    providers = "".join(
        f'[[providers]]\nname = "{name.partition(":")[0]}"\ndriver = "ollama"\nbase_url = "{url}"\nmodel = "{name}"\n'
        for name, url in zip(MODELS, urls, strict=True)
    )
    text = "[qos]\nmax_deadline_ms = 60000\n[cache]\nenabled = false\n[trust]\nenabled = false\n"
    return parse(text + providers, Path("llm-pool.toml"))


async def measured(mode: str, deadline: float, options: argparse.Namespace, *, machines: int) -> Outcome:
    """One run."""
    strategy, at_once = options.strategy, options.at_once
    async with AsyncExitStack() as stack:
        ups = [await stack.enter_async_context(Upstream(MODELS, ttft="const:0.02", slots=1)) for _ in range(machines)]
        app = await stack.enter_async_context(open_app(configured([ups[at % machines].url for at in range(3)])))
        for number in range(options.warm_up):
            await app.orchestrator.infer(Query(prompt=f"warm-up {number}", deadline=10.0, strategy=strategy))
        ups[0].set_mode(MODELS[0], mode)
        before = sum(entry.model == MODELS[0] for entry in ups[0].journal.entries)
        each = options.requests // at_once
        waits = await asyncio.gather(*(asked_again(app, at * each, each, deadline, strategy) for at in range(at_once)))
        calls = sum(entry.model == MODELS[0] for entry in ups[0].journal.entries) - before
        answered = [wait for several in waits for wait in several if wait is not None]
        return Outcome(each * at_once - len(answered), answered, calls)


async def asked_again(app: App, first: int, times: int, deadline: float, strategy: StrategyName) -> list[float | None]:
    """One asker's requests, one after the other."""
    return [await asked(app, number, deadline, strategy) for number in range(first, first + times)]


async def asked(app: App, number: int, deadline: float, strategy: StrategyName) -> float | None:
    """Seconds to the answer; None without one."""
    began = time.perf_counter()
    try:
        await app.orchestrator.infer(Query(prompt=f"{number}?", deadline=deadline, strategy=strategy))
    except LlmPoolError:
        return None
    return time.perf_counter() - began


async def tables(options: argparse.Namespace) -> bool:
    """Print a row for each run; whether no more were lost than may be."""
    print("| strategy | machines | deadline, ms | mode | lost | median, ms | slowest, ms | calls to the silent one |")
    print("|---|---|---|---|---|---|---|---|")
    kept = True
    for machines in (3, 1):
        for deadline in options.deadline_ms:
            for mode in MODES:
                outcome = await measured(mode, deadline / 1000, options, machines=machines)
                times = sorted(outcome.waits) or [float("nan")]
                run = f"| {options.strategy} | {machines} | {deadline} | {mode} | {outcome.lost}"
                print(
                    run,
                    f"{times[len(times) // 2] * 1000:.0f}",
                    f"{times[-1] * 1000:.0f}",
                    f"{outcome.asked} |",
                    sep=" | ",
                )
                kept = kept and outcome.lost <= MAY_LOSE
    return kept


def main() -> int:
    """Print the table; 1 if more requests were lost than may be."""
    parser = argparse.ArgumentParser(description="How many requests a silent first provider takes along.")
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--deadline-ms", type=int, nargs="+", default=[300, 800, 1500])
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--warm-up", type=int, default=10)
    parser.add_argument("--strategy", type=StrategyName, default=StrategyName.FASTEST)
    return 0 if asyncio.run(tables(parser.parse_args())) else 1


if __name__ == "__main__":
    sys.exit(main())

"""
A first provider that hangs: how many requests it takes along.

    python bench/hung.py [--requests N] [--deadline-ms MS ...]

Three models behind real sockets, of which the first is healthy for ten requests and then takes calls without
answering them: not at all (``hang``), no further after the first token (``stall:1``), or a token a second
(``trickle:1``). The requests come one after the other. They are lost when they end without an answer; the first three,
and one for each time the pool looks whether the provider is back, may be. *machines* gives each model a server of its
own, *one* is one Ollama with one slot.
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
WARM_UP = 10


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


async def measured(mode: str, deadline: float, strategy: StrategyName, *, requests: int, machines: int) -> Outcome:
    """One run."""
    async with AsyncExitStack() as stack:
        ups = [await stack.enter_async_context(Upstream(MODELS, ttft="const:0.02", slots=1)) for _ in range(machines)]
        app = await stack.enter_async_context(open_app(configured([ups[at % machines].url for at in range(3)])))
        for number in range(WARM_UP):
            await app.orchestrator.infer(Query(prompt=f"warm-up {number}", deadline=10.0, strategy=strategy))
        ups[0].set_mode(MODELS[0], mode)
        before = sum(entry.model == MODELS[0] for entry in ups[0].journal.entries)
        waits = [wait for number in range(requests) if (wait := await asked(app, number, deadline, strategy))]
        calls = sum(entry.model == MODELS[0] for entry in ups[0].journal.entries) - before
        return Outcome(requests - len(waits), waits, calls)


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
                outcome = await measured(
                    mode, deadline / 1000, options.strategy, requests=options.requests, machines=machines
                )
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
    parser.add_argument("--strategy", type=StrategyName, default=StrategyName.FASTEST)
    return 0 if asyncio.run(tables(parser.parse_args())) else 1


if __name__ == "__main__":
    sys.exit(main())

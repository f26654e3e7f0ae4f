"""
The slow few: what hedging and early decisions do to the tail.

    python bench/tail.py [TRACE.csv] [--requests N] [--seed N]

Three models on machines of their own. A call's first token takes a fifth of a second, give or take, and its answer a
tenth more; one call in twenty takes five times as long, whichever model is asked. Requests arrive as in the trace. The
pool is a whole one (``open_app``: orchestrator, strategies, policies, budget), with scripted models in the place of
backends, on virtual time.

TRACE.csv has the columns trace and t_s (real serving traffic, e.g. the Azure LLM inference trace 2023). Without it the
arrivals are made up: bursts of a Poisson process.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import sys
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple
from unittest.mock import patch

from llm_pool.config import parse
from llm_pool.core.messages import Query, StrategyName
from llm_pool.engine.composition import open_app
from llm_pool.testing import Reply, ScriptedProvider, VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.config import Config
    from llm_pool.core.messages import Answer, Call

MODELS = ("one", "two", "three")
SLOW_SHARE, SLOW_FACTOR = 0.05, 5.0
RIGHT = 0.8
TAIL, EXTRA = 0.6, 0.1
"""What is promised: the p99 with hedging by the p99 without, and further calls by requests."""


class Models:
    """The scripted models of one run, and how long each of their calls takes if nobody cuts it short."""

    def __init__(self, seed: int) -> None:
        self.backends: list[ScriptedProvider] = []
        self.whole: dict[str, list[float]] = {}
        self._seed = seed

    def backend(self, *_: object, **__: object) -> ScriptedProvider:
        """In the place of ``llm_pool.engine.composition.build_provider``."""
        name = MODELS[len(self.backends)]
        rng = Random(f"{self._seed}/{name}")
        self.backends.append(ScriptedProvider(name, lambda call: self._reply(call, rng), model=name))
        return self.backends[-1]

    @property
    def calls(self) -> int:
        """Calls that reached a model."""
        return sum(len(backend.calls) for backend in self.backends)

    def _reply(self, call: Call, rng: Random) -> Reply:
        factor = SLOW_FACTOR if rng.random() < SLOW_SHARE else 1.0
        ttft = 0.2 * rng.lognormvariate(0.0, 0.2) * factor
        duration = ttft + 0.1 * factor
        self.whole.setdefault(call.request_id, []).append(duration)
        said = "blue" if rng.random() < RIGHT else rng.choice(("red", "green"))
        return Reply(said, ttft=ttft, duration=duration)


class Outcome(NamedTuple):
    """How a run went: seconds to each answer, the answers, and the models that gave them."""

    waits: list[float]
    answers: list[Answer]
    models: Models


def configured(hedge: str) -> Config:
    """Three providers, each with a machine of its own that takes many calls."""
    providers = "".join(
        f'[groups.{name}]\nslots = 64\n[[providers]]\nname = "{name}"\ndriver = "ollama"\ngroup = "{name}"\n'
        f'base_url = "http://127.0.0.1:9"\nmodel = "{name}"\n'
        for name in MODELS
    )
    text = f'[qos]\nhedge = "{hedge}"\nmax_deadline_ms = 30000\n[cache]\nenabled = false\n[trust]\nenabled = false\n'
    return parse(text + providers, Path("llm-pool.toml"))


async def replay(arrivals: Sequence[float], strategy: StrategyName, hedge: str, seed: int) -> Outcome:
    """Every request at its instant."""
    models, loop = Models(seed), asyncio.get_running_loop()
    with patch("llm_pool.engine.composition.build_provider", models.backend):
        async with open_app(configured(hedge)) as app:

            async def ask(number: int) -> tuple[float, Answer]:
                began = loop.time()
                query = Query(prompt=f"colour of flag {number}?", request_id=str(number), strategy=strategy)
                return (answer := await app.orchestrator.infer(query)) and (loop.time() - began, answer)

            asking = []
            for number, (before, at) in enumerate(pairwise((0.0, *arrivals))):
                await asyncio.sleep(at - before)
                asking.append(asyncio.create_task(ask(number)))
            waits, answers = zip(*await asyncio.gather(*asking), strict=True)
    return Outcome(list(waits), list(answers), models)


def recorded(path: Path, requests: int) -> list[float]:
    """The first arrivals of the file's first trace, in seconds."""
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        first = next(rows)
        return [float(row["t_s"]) for row in (first, *rows) if row["trace"] == first["trace"]][:requests]


def synthetic(rng: Random, requests: int) -> list[float]:
    """Bursts of three requests on average, Poisson between them, about five a second."""
    now = 0.0
    made: list[float] = []
    while len(made) < requests:
        now += rng.expovariate(1.7)
        made += [now + 0.2 * rng.random() for _ in range(1 + int(rng.expovariate(1 / 2.5)))]
    return sorted(made)[:requests]


def quantiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """The 50th, 95th and 99th percentile."""
    ordered = sorted(seconds)
    p50, p95, p99 = (ordered[round(q * (len(ordered) - 1))] for q in (0.5, 0.95, 0.99))
    return p50, p95, p99


def row(name: str, seconds: Sequence[float], *more: str) -> str:
    """A line of a table."""
    times = " | ".join(f"{each:.2f}" for each in quantiles(seconds))
    return " | ".join((f"| {name}", times, *more)) + " |"


def hedging(runner: asyncio.Runner, arrivals: Sequence[float], seed: int) -> bool:
    """Print FASTEST's table; whether the promise holds."""
    print("| FASTEST, hedge | p50, s | p95, s | p99, s | calls | further calls |\n|---|---|---|---|---|---|")
    kept, without = False, 0.0
    for hedge in ("off", "fixed", "auto"):
        outcome = runner.run(replay(arrivals, StrategyName.FASTEST, hedge, seed))
        extra = outcome.models.calls / len(arrivals) - 1
        print(row(hedge, outcome.waits, str(outcome.models.calls), f"{extra:.1%}"))
        p99 = quantiles(outcome.waits)[2]
        without = without or p99
        kept = p99 <= TAIL * without and extra <= EXTRA
    print(f"\nWith `auto` the p99 is {p99 / without:.0%} of what it is without hedging.\n")
    return kept


def deciding(runner: asyncio.Runner, arrivals: Sequence[float], seed: int) -> bool:
    """Print VOTING's table; whether nothing is lost by deciding early."""
    outcome = runner.run(replay(arrivals, StrategyName.VOTING, "off", seed))
    everybody = [max(outcome.models.whole[answer.request_id]) for answer in outcome.answers]
    saved = sum(answer.decision.saved for answer in outcome.answers)
    print("| VOTING, three models | p50, s | p95, s | p99, s |\n|---|---|---|---|")
    print(row("decides when nothing can change any more", outcome.waits))
    print(row("would wait for all", everybody))
    print(f"\n{saved} of {outcome.models.calls} calls were called off before their end.")
    return quantiles(outcome.waits)[2] < quantiles(everybody)[2]


def main() -> int:
    """Print the tables; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(description="Tail latency: hedging, and deciding early.")
    parser.add_argument("trace", nargs="?", type=Path, help="arrivals as CSV; made up without it")
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = Random(options.seed)
    arrivals = recorded(options.trace, options.requests) if options.trace else synthetic(rng, options.requests)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        promises = hedging(runner, arrivals, options.seed), deciding(runner, arrivals, options.seed)
    return 0 if all(promises) else 1


if __name__ == "__main__":
    sys.exit(main())

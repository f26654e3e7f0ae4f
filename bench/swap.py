"""
How often a machine swaps models, and how long people wait for it: our order against the order of arrival.

    python bench/swap.py [TRACE.csv] [--requests N] [--seed N]

Replays arrivals against a scripted Ollama that answers one call at a time and holds as many models as its memory
does: once as requests come (the backend's own queue), once through the group gate of llm_pool (``qos.Gate``).
Time is virtual; only the order differs. Each request goes to one of three models, drawn at random by popularity, as
three tasks bound to three models would; each asker leaves after a minute. Arrivals are stretched so that answering
alone, without a single load, keeps the machine busy for the given share of the time.

TRACE.csv has the columns trace, t_s, input_tokens, output_tokens (real serving traffic, e.g. the Azure LLM inference
trace 2023). The scenario and the rules were chosen on the first N arrivals of its first trace, told in full; the other
parts, up to PARTS of N from each trace, are held out. Without a file the arrivals are made up: bursts of a Poisson
process.

The promise, at most half the loads, is judged on the whole file: summed over all its parts, at all loads and at those
from PRESSED on, where requests queue. Traces that miss it by themselves are named. A machine with nothing waiting has
nothing to put together.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import sys
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import ProviderError
from llm_pool.core.messages import Delta, ProviderState
from llm_pool.qos.concurrency_limit import ConcurrencyLimited
from llm_pool.qos.gate import Gate
from llm_pool.qos.loaded_models import LoadedModels
from llm_pool.qos.queueing import Limits
from llm_pool.testing import VirtualLoop, a_call

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from llm_pool.core.interfaces import Provider
    from llm_pool.core.messages import Call

MEMORY_MB = 6_000  # an 8 GB card, less context and desktop
SIZES_MB = {"phi3:mini": 2_300, "llama3.1:8b": 4_900, "gemma2:9b": 5_800}
POPULARITY = {"phi3:mini": 0.4, "llama3.1:8b": 0.35, "gemma2:9b": 0.25}
DISK_MB_PER_S = 1_000
PREFILL_PER_S = 2_500
DECODE_PER_S = {"phi3:mini": 120.0, "llama3.1:8b": 70.0, "gemma2:9b": 55.0}
PATIENCE_S = 60.0
BUSY = (0.3, 0.5, 0.7, 0.9, 1.1)
BUSY_FROM = 0.7
PARTS = 3


Request: TypeAlias = tuple[float, int, int]
"""Seconds from the start, tokens in, tokens out."""


class Arrival(NamedTuple):
    """A request: instant in seconds from the start, its model, and the seconds it takes to answer."""

    at: float
    model: str
    seconds: float


class Machine:
    """Answers one call at a time, first come first served; a model that is asked for evicts the least recently used."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.loads = 0
        self._slot = asyncio.Lock()

    async def answer(self, model: str, seconds: float) -> float:
        """Answer; gives the seconds spent loading."""
        async with self._slot:
            loading = 0.0
            if model in self.loaded:
                self.loaded.remove(model)
            else:
                loading = SIZES_MB[model] / DISK_MB_PER_S
                self.loads += 1
                while sum(SIZES_MB[each] for each in self.loaded) + SIZES_MB[model] > MEMORY_MB:
                    self.loaded.pop(0)
            self.loaded.append(model)
            await asyncio.sleep(loading + seconds)
            return loading


class Model:
    """A provider on the machine. The call's prompt is the seconds it takes to answer."""

    def __init__(self, name: str, machine: Machine) -> None:
        self.name, self._machine = name, machine

    async def stream(self, call: Call) -> AsyncGenerator[Delta]:
        """Answer in one piece."""
        loading = await self._machine.answer(self.name, float(call.prompt.user))
        yield Delta("done")
        yield Delta(final=True, loading=loading)

    async def state(self) -> ProviderState:
        """What is loaded."""
        return ProviderState(name=self.name, model=self.name, condition="healthy", loaded=tuple(self._machine.loaded))

    async def load(self) -> None:
        """Load."""
        await self._machine.answer(self.name, 0.0)

    async def aclose(self) -> None:
        """Nothing to close."""


class Outcome(NamedTuple):
    """How a replay went: loads, seconds from arrival to answer of those answered, and how many were not."""

    loads: int
    waits: list[float]
    late: int

    def row(self, order: str, load: float) -> str:
        """A line of the table."""
        waits = sorted(self.waits)
        p50, p95 = (waits[int(q * (len(waits) - 1))] for q in (0.5, 0.95))
        per_answer = self.loads / len(waits) * 100
        return f"| {load:.0%} | {order} | {self.loads} | {per_answer:.0f} | {p50:.1f} | {p95:.1f} | {self.late} |"


Compared: TypeAlias = "dict[float, tuple[Outcome, ...]]"
"""By load: the outcome in each of ORDERS."""
ORDERS = ("arrival", "llm-pool")


def recorded(path: Path, requests: int) -> dict[str, list[list[Request]]]:
    """By trace, up to PARTS consecutive parts of so many requests, each from its own second 0."""
    traces: dict[str, list[Request]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            request = (float(row["t_s"]), int(row["input_tokens"]), int(row["output_tokens"]))
            traces.setdefault(row["trace"], []).append(request)
    return {name: [_from_zero(part) for part in _parts(mine, requests)] for name, mine in traces.items()}


def _parts(trace: Sequence[Request], size: int) -> list[Sequence[Request]]:
    """Whole parts only, apart from a first that is all there is."""
    return [trace[at : at + size] for at in range(0, max(1, len(trace) - size + 1), size)][:PARTS]


def _from_zero(part: Sequence[Request]) -> list[Request]:
    return [(at - part[0][0], tokens_in, tokens_out) for at, tokens_in, tokens_out in part]


def synthetic(rng: Random, requests: int) -> list[Request]:
    """Bursts of four requests on average, Poisson between them."""
    now = 0.0
    made: list[Request] = []
    while len(made) < requests:
        now += rng.expovariate(0.25)
        made += [
            (now + rng.random(), int(rng.lognormvariate(6.5, 0.9)), int(rng.lognormvariate(4.8, 0.8)))
            for _ in range(1 + int(rng.expovariate(1 / 3.5)))
        ]
    return sorted(made)[:requests]


def arrivals(trace: Sequence[Request], load: float, rng: Random) -> list[Arrival]:
    """The trace on our models, stretched so that answering keeps the machine busy for a share *load* of the time."""
    models = rng.choices(list(POPULARITY), weights=list(POPULARITY.values()), k=len(trace))
    work = [
        tokens_in / PREFILL_PER_S + tokens_out / DECODE_PER_S[model]
        for (_, tokens_in, tokens_out), model in zip(trace, models, strict=True)
    ]
    stretch = sum(work) / load / (trace[-1][0] - trace[0][0])
    return [Arrival(at * stretch, model, each) for (at, _, _), model, each in zip(trace, models, work, strict=True)]


async def replay(requests: Sequence[Arrival], *, gated: bool) -> Outcome:
    """Every request at its instant; each asker leaves after PATIENCE_S."""
    machine, loop, waits = Machine(), asyncio.get_running_loop(), []
    providers = dict(panel(machine, gated=gated))

    async def ask(arrival: Arrival) -> None:
        began = loop.time()
        call = msgspec.structs.replace(a_call(str(arrival.seconds)), deadline=began + PATIENCE_S)
        try:
            async with asyncio.timeout_at(call.deadline), aclosing(providers[arrival.model].stream(call)) as deltas:
                async for _ in deltas:
                    pass
        except (ProviderError, TimeoutError):
            return
        waits.append(loop.time() - began)

    async with asyncio.TaskGroup() as asking:
        for before, arrival in pairwise((Arrival(0.0, "", 0.0), *requests)):
            await asyncio.sleep(arrival.at - before.at)
            asking.create_task(ask(arrival))
    return Outcome(machine.loads, waits, len(requests) - len(waits))


def panel(machine: Machine, *, gated: bool) -> Iterator[tuple[str, Provider]]:
    """The machine's models, behind a gate or not."""
    clock = SystemClock()

    async def list_loaded() -> dict[str, float]:
        return {name: SIZES_MB[name] for name in machine.loaded}

    limits = Limits(slots=1, queue=512, memory=MEMORY_MB)
    gate = Gate("machine", limits, clock, LoadedModels(clock, list_loaded))
    for name in SIZES_MB:
        model = Model(name, machine)
        yield name, ConcurrencyLimited(model, gate, name, lambda _: None) if gated else model


def compared(part: Sequence[Request], seed: int) -> Compared:
    """Both orders at every load: order of arrival, then ours."""
    found = {}
    for load in BUSY:
        requests = arrivals(part, load, Random(seed))
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            found[load] = tuple(runner.run(replay(requests, gated=gated)) for gated in (False, True))
    return found


def share(parts: Sequence[Compared], busy: Sequence[float]) -> float:
    """Our loads in terms of those in order of arrival, summed over *parts* and the loads *busy*."""
    naive, ours = (sum(part[load][order].loads for part in parts for load in busy) for order in (0, 1))
    return ours / naive


def in_full(part: Compared) -> str:
    """Loads, waits and who was late, at every load."""
    head = "| busy answering | order | loads | loads per 100 answers | p50, s | p95, s | not within the minute |"
    rows = [outcome.row(order, load) for load in BUSY for outcome, order in zip(part[load], ORDERS, strict=True)]
    return "\n".join([head, "|---" * 7 + "|", *rows])


def by_part(traces: dict[str, list[Compared]]) -> str:
    """Our share of the loads, for each part at every load and in sum, and for all parts."""
    pressed, all_parts = _pressed(), [part for parts in traces.values() for part in parts]
    named = [(f"{name}, part {at}", [part]) for name, parts in traces.items() for at, part in enumerate(parts, 1)]
    head = f"| loads, ours of naive | {' | '.join(f'{load:.0%}' for load in BUSY)} | from {BUSY_FROM:.0%} | all |"
    rows = [
        f"| {name} | {' | '.join(f'{share(parts, each):.0%}' for each in (*([b] for b in BUSY), pressed, BUSY))} |"
        for name, parts in [*named, ("all parts", all_parts)]
    ]
    return "\n".join([head, "|---" * (len(BUSY) + 3) + "|", *rows])


def missing(traces: dict[str, list[Compared]]) -> list[str]:
    """Traces that by themselves have more than half of the loads from PRESSED on."""
    return [name for name, parts in traces.items() if share(parts, _pressed()) > 0.5]


def is_kept(traces: dict[str, list[Compared]]) -> bool:
    """Whether all parts together have at most half of the loads, at all loads and from PRESSED on."""
    all_parts = [part for parts in traces.values() for part in parts]
    return all(share(all_parts, busy) <= 0.5 for busy in (BUSY, _pressed()))


def _pressed() -> list[float]:
    return [load for load in BUSY if load >= BUSY_FROM]


def main() -> int:
    """Print the tables; 1 if the promise is broken."""
    parser = argparse.ArgumentParser(description="Model swaps: our order against the order of arrival.")
    parser.add_argument("trace", nargs="?", type=Path, help="arrivals as CSV; made up without it")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.trace:
        trace = recorded(options.trace, options.requests)
    else:
        trace = {"made up": [synthetic(Random(options.seed), options.requests)]}
    traces = {name: [compared(part, options.seed) for part in parts] for name, parts in trace.items()}
    print(in_full(next(iter(traces.values()))[0]), by_part(traces), sep="\n\n")
    kept, apart = is_kept(traces), ", ".join(missing(traces))
    print(f"\nAt most half the loads, all parts together: {'yes' if kept else 'no'}.", end="")
    print(f" From {BUSY_FROM:.0%} on, not by themselves: {apart}." if apart else "")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

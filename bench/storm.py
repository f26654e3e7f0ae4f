"""
Two thousand askers who leave: what is left of them.

    python bench/storm.py [--cancels N] [--seed N]

Four providers, each with an upstream of its own behind real sockets and four slots before it; the pool is a whole one
(``open_app``). The upstreams answer, hang, trickle, stall, break off and fail at random, and every request is cancelled
at a random moment of its first tenth of a second, under each of the five strategies. Then the upstreams are well again:
twenty requests must be answered within a second, and every permit, socket, task and lease must be back.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from llm_pool.config import parse
from llm_pool.core.errors import LlmPoolError
from llm_pool.core.messages import Query, StrategyName
from llm_pool.engine.composition import open_app
from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.config import Config
    from llm_pool.engine.composition import App

POOL = 4
SLOTS = 4
AT_ONCE = 24
IDLE_SOCKETS = POOL * (1 + 2 * SLOTS) + 4
"""Listeners, both ends of each connection kept for the next call, and the event loop's own."""
CLEAN = 20
TROUBLE = ("ok", "ok", "hang", "hang", "trickle:5", "stall:1", "slow:20", "error:500", "cut:1", "busy:0.05")


class InUse(NamedTuple):
    """What is in use at one moment, in the pool and at its upstreams."""

    tasks: int
    permits: int
    leases: int
    in_flight: int
    sockets: int

    def __str__(self) -> str:
        return " | ".join(str(number) for number in self)


class Storm(NamedTuple):
    """
    How it went.

    Attributes:
        cancelled: requests cancelled before their end; those that had ended already are not counted.
        seen: seconds from each cancel to the moment its upstream saw the connection closed.
        clean: seconds of each of the clean requests that was answered.
        took: seconds of all of them together.
    """

    cancelled: int
    seen: list[float]
    clean: list[float]
    took: float
    before: InUse
    after: InUse

    @property
    def calm(self) -> bool:
        """All clean requests are answered within a second, and everything is back."""
        back = self.after[:4] == self.before[:4] and self.after.sockets <= IDLE_SOCKETS
        return len(self.clean) == CLEAN and self.took <= 1.0 and back


def configured(upstreams: Sequence[Upstream]) -> Config:
    """A provider for each upstream."""
    providers = "".join(
        f'[groups.g{at}]\nslots = {SLOTS}\n[[providers]]\nname = "p{at}"\ndriver = "ollama"\ngroup = "g{at}"\n'
        f'base_url = "{up.url}"\nmodel = "phi3:mini"\n'
        for at, up in enumerate(upstreams)
    )
    text = "[qos]\nhedge_after_ms = 20\n[cache]\nenabled = false\n[trust]\nenabled = false\n"
    return parse(text + providers, Path("llm-pool.toml"))


async def storm(cancels: int, seed: int) -> Storm:
    """Warm up, storm, calm down, count."""
    async with AsyncExitStack() as stack:
        ups = [await stack.enter_async_context(Upstream(ttft="uniform:0.005,0.03", seed=at)) for at in range(POOL)]
        app = await stack.enter_async_context(open_app(configured(ups)))
        await clean(app, "warm")
        before = left(app, ups)
        cancelled = await cancelling_clients(app, ups, cancels, Random(seed))
        for up in ups:
            up.set_mode("*", "ok")
        began = asyncio.get_running_loop().time()
        answered = await clean(app, "clean")
        took = asyncio.get_running_loop().time() - began
        await asyncio.sleep(0.1)
        return Storm(len(cancelled), seen(ups, cancelled), answered, took, before, left(app, ups))


async def cancelling_clients(app: App, ups: Sequence[Upstream], cancels: int, rng: Random) -> dict[int, float]:
    """The instant of each cancel that met a request at work, by the request's number."""
    loop, cancelled, numbers = asyncio.get_running_loop(), dict[int, float](), count()

    async def client() -> None:
        while len(cancelled) < cancels:
            number = next(numbers)
            rng.choice(ups).set_mode("*", *rng.choices(TROUBLE, k=3))
            strategy = rng.choice(list(StrategyName))
            query = Query(prompt=f"storm <{number}>", deadline=2.0, strategy=strategy, no_cache=rng.random() < 0.5)
            asking = asyncio.create_task(app.orchestrator.infer(query))
            await asyncio.sleep(rng.uniform(0, 0.1))
            if asking.cancel():
                cancelled[number] = loop.time()
            await asyncio.gather(asking, return_exceptions=True)

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return cancelled


async def clean(app: App, name: str) -> list[float]:
    """Twenty requests at once; the seconds of those that were answered."""
    loop = asyncio.get_running_loop()

    async def one(number: int) -> float | None:
        began = loop.time()
        try:
            await app.orchestrator.infer(Query(prompt=f"{name} {number}", deadline=2.0, strategy=StrategyName.FASTEST))
        except LlmPoolError:
            return None
        return loop.time() - began

    return [each for each in await asyncio.gather(*(one(number) for number in range(CLEAN))) if each is not None]


def seen(ups: Sequence[Upstream], cancelled: dict[int, float]) -> list[float]:
    """Seconds from a cancel to its upstream's noticing, for each call that it cut off."""
    delays = []
    for entry in (entry for up in ups for entry in up.journal.entries):
        number = re.search(r"storm <(\d+)>", str(entry.body))
        cut = cancelled.get(int(number.group(1))) if number else None
        if cut is not None and entry.ending == "cancelled" and entry.ended is not None and entry.ended >= cut:
            delays.append(entry.ended - cut)
    return delays


def left(app: App, ups: Sequence[Upstream]) -> InUse:
    """What is in use now, at both ends of the sockets."""
    watched = app.pool_state.breakers._tracked.values()  # noqa: SLF001  counts that nobody but a test needs
    return InUse(
        tasks=len(asyncio.all_tasks()),
        permits=sum(len(gate._leases) + len(gate._waiting) for gate in app.machines.gates),  # noqa: SLF001
        leases=sum(each.breaker._lease is not None for each in watched),  # noqa: SLF001
        in_flight=sum(up.counts.in_flight for up in ups),
        sockets=sum(is_socket(file) for file in Path("/proc/self/fd").iterdir()),
    )


def is_socket(file: Path) -> bool:
    """Whether an open file is one; the one that lists them is gone by now."""
    return file.is_symlink() and str(file.readlink()).startswith("socket:")


def main() -> int:
    """Print what became of it; 1 if anything is left or a clean request failed."""
    parser = argparse.ArgumentParser(description="Cancels, and what they leave behind.")
    parser.add_argument("--cancels", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    went = asyncio.run(storm(options.cancels, options.seed))
    delays = sorted(went.seen)
    print(f"{went.cancelled} requests cancelled at work; {len(delays)} calls cut off at an upstream.")
    print(f"Seen there after p50 {delays[len(delays) // 2] * 1000:.1f} ms, p99 {quantile(delays) * 1000:.1f} ms.")
    print(f"Then {len(went.clean)} of {CLEAN} clean requests answered in {went.took:.2f} s together.\n")
    print("| | tasks | permits, waiting | probes' leases | calls upstream | sockets |\n|---|---|---|---|---|---|")
    print(f"| before | {went.before} |\n| after | {went.after} |")
    return 0 if went.calm else 1


def quantile(ordered: Sequence[float]) -> float:
    """The 99th percentile."""
    return ordered[round(0.99 * (len(ordered) - 1))]


if __name__ == "__main__":
    sys.exit(main())

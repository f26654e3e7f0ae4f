"""
The two ways to put a load on something.

* Closed loop: *concurrency* askers, each asking anew when it has its answer. It shows what the pool can do; a pool
  that stalls is asked less, and looks better than its users find it.
* Open loop: a request each ``1 / rate`` seconds, whatever becomes of those before it, and its time counts from when
  it was meant to be sent. So a stall shows in full (coordinated omission: G. Tene, "How NOT to Measure Latency").
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llm_pool.cli.bench.figures import Sample


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """
    How much, and for how long.

    Attributes:
        requests: at most so many; None: as many as fit into *duration*.
        duration: seconds in which requests are begun; None: until all *requests* are.
        concurrency: askers of the closed loop.
        rate: requests a second of the open loop; None: closed loop.
    """

    requests: int | None
    duration: float | None
    concurrency: int = 1
    rate: float | None = None

    def total(self) -> int | None:
        """How many requests there will be, where that is known before."""
        fitting = int(self.rate * self.duration) if self.rate is not None and self.duration is not None else None
        known = [count for count in (self.requests, fitting) if count is not None]
        return max(1, min(known)) if known else None

    def words(self) -> str:
        """The load in words for a person."""
        count = f"{self.requests} requests each" if self.requests is not None else f"{self.duration:g} s each"
        return f"{count}, {self.rate:g} a second" if self.rate is not None else f"{count}, {self.concurrency} at a time"


async def run_load(
    load: Load, ask: Callable[[float], Awaitable[Sample]], done: Callable[[int, float], None]
) -> tuple[list[Sample], float]:
    """
    Put *load* on *ask*.

    Args:
        load: how much.
        ask: asks once; gets the instant at which the request was meant to be sent, on the loop's clock.
        done: told how many requests are answered, and the seconds since the start.

    Returns:
        The samples in the order of their end, and the seconds it all took.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    samples: list[Sample] = []

    async def one(intended: float) -> None:
        samples.append(await ask(intended))
        done(len(samples), loop.time() - began)

    if load.rate is None:
        await _closed(load, one, began)
    else:
        await _open(load, load.rate, one, began)
    return samples, loop.time() - began


async def _closed(load: Load, one: Callable[[float], Awaitable[None]], began: float) -> None:
    loop = asyncio.get_running_loop()
    begun = 0

    async def worker() -> None:
        nonlocal begun
        while _goes_on(load, begun, loop.time() - began):
            begun += 1
            await one(loop.time())

    async with asyncio.TaskGroup() as group:
        for _ in range(load.concurrency):
            group.create_task(worker())


async def _open(load: Load, rate: float, one: Callable[[float], Awaitable[None]], began: float) -> None:
    loop = asyncio.get_running_loop()
    begun = 0
    async with asyncio.TaskGroup() as group:
        while _goes_on(load, begun, begun / rate):
            intended = began + begun / rate
            await asyncio.sleep(intended - loop.time())
            begun += 1
            group.create_task(_as_coroutine(one(intended)))


async def _as_coroutine(work: Awaitable[None]) -> None:
    await work


def _goes_on(load: Load, begun: int, elapsed: float) -> bool:
    if load.requests is not None and begun >= load.requests:
        return False
    return load.duration is None or elapsed < load.duration or begun == 0

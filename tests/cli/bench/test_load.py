"""Closed and open loops, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from llm_pool.cli.bench.figures import Sample, percentile
from llm_pool.cli.bench.load import Load, run_load

pytestmark = pytest.mark.anyio


class Server:
    """Answers after *usual* seconds, but stops the world once, for *stall* seconds at second *at*."""

    def __init__(self, usual: float = 0.1, at: float = 1e9, stall: float = 0.0) -> None:
        self._usual, self._at, self._stall = usual, at, stall
        self.under_way = self.most = 0

    async def ask(self, intended: float) -> Sample:
        loop = asyncio.get_running_loop()
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        now = loop.time()
        await asyncio.sleep(max(0.0, self._at + self._stall - now) if now >= self._at else 0.0)
        await asyncio.sleep(self._usual)
        self.under_way -= 1
        return Sample(took=loop.time() - intended)


async def test_a_closed_loop_keeps_as_many_askers_busy() -> None:
    """20 requests, 4 askers, 0.1 s each: half a second."""
    server, told = Server(), list[int]()

    samples, elapsed = await run_load(
        Load(requests=20, duration=None, concurrency=4), server.ask, lambda count, _elapsed: told.append(count)
    )

    assert (len(samples), server.most, told) == (20, 4, list(range(1, 21)))
    assert elapsed == pytest.approx(0.5)


async def test_a_closed_loop_ends_with_its_time() -> None:
    """Requests are begun for one second; what is begun is finished."""
    samples, elapsed = await run_load(Load(requests=None, duration=1.0), Server(0.3).ask, lambda *_: None)

    assert len(samples) == 4
    assert elapsed == pytest.approx(1.2)


async def test_an_open_loop_sends_on_time_whatever_comes_back() -> None:
    """10 a second for 2 s against a server that takes 1 s: 10 under way at once, none of them late."""
    server = Server(1.0)

    samples, _ = await run_load(Load(requests=None, duration=2.0, rate=10.0), server.ask, lambda *_: None)

    assert (len(samples), server.most) == (20, 10)
    assert [sample.took for sample in samples] == pytest.approx([1.0] * 20)


async def test_an_open_loop_shows_a_stall_in_full() -> None:
    """
    No coordinated omission: the server stands still for 10 of 20 seconds.

    A closed loop of one asker sees one slow request of 101; of what arrives at 10 a second, half is slow.
    """
    closed, _ = await run_load(Load(requests=101, duration=None), Server(0.1, 5.0, 10.0).ask, lambda *_: None)
    begun = asyncio.get_running_loop().time()
    opened, _ = await run_load(
        Load(requests=200, duration=None, rate=10.0), Server(0.1, begun + 5.0, 10.0).ask, lambda *_: None
    )

    assert percentile([sample.took for sample in closed], 0.95) == pytest.approx(0.1)
    assert percentile([sample.took for sample in opened], 0.95) > 8.0
    assert sum(sample.took > 0.2 for sample in opened) / len(opened) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("load", "total", "words"),
    [
        (Load(requests=20, duration=None), 20, "20 requests each, 1 at a time"),
        (Load(requests=None, duration=3.0, concurrency=2), None, "3 s each, 2 at a time"),
        (Load(requests=None, duration=3.0, rate=4.0), 12, "3 s each, 4 a second"),
        (Load(requests=5, duration=3.0, rate=4.0), 5, "5 requests each, 4 a second"),
    ],
)
async def test_a_load_knows_its_size(load: Load, total: int | None, words: str) -> None:
    assert (load.total(), load.words()) == (total, words)

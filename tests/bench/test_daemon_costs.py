"""The pure parts of bench/stream, rpc, overload and memory, and the upstream and the client that they share."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from bench.gateway.measuring import Round
from bench.growth import times
from bench.load.client import posted
from bench.load.questions import chat_body
from bench.load.upstream import paced
from bench.load.wrk import Report
from bench.memory import LARGE, SMALL, Course, Point, rows, slope
from bench.overload import Loop, closed_table, quantile
from bench.rpc import ECHO, MISS, over_echo
from bench.stream import RAW, STREAMS, costs, over_raw

if TYPE_CHECKING:
    from pathlib import Path

GROWN = {"16 connections": [100.0, 1000.0, 100.0], "256 connections": [150.0, 1500.0, 110.0]}


def test_a_chunk_costs_what_it_costs_more_than_reading_it() -> None:
    """The median of the rounds' differences, and a column for each number of streams."""
    found = {RAW: [10.0, 100.0, 12.0], STREAMS: [30.0, 125.0, 31.0]}

    assert over_raw(found) == 20.0
    assert costs({8: found, 16: found})[-1] == f"| {STREAMS} | 31.0 (30.0..125.0) | 31.0 (30.0..125.0) |"


def test_a_call_is_so_many_echoes() -> None:
    """The median of the rounds' ratios."""
    assert over_echo({ECHO: [100.0, 200.0, 100.0], MISS: [200.0, 300.0, 400.0]}, MISS) == 2.0


def test_growth_is_a_ratio_of_the_same_round() -> None:
    """A slow round of the machine meets both."""
    found = {name: [Round(each, Report(1, 1.0, 1, 0, 0, 0.0, 0.0, 0.0)) for each in cpu] for name, cpu in GROWN.items()}

    assert times(found, "256 connections", "16 connections") == pytest.approx(1.5)


def test_goodput_is_told_as_a_share_of_the_peak() -> None:
    """Whichever loop has it."""
    loops = [Loop(16, 80.0, 0.0, 0.2, 0), Loop(512, 60.0, 1234.0, 0.4, 1)]

    assert closed_table(loops)[2:] == [
        "| 16 | 80.0 | 100% | 0 | 200 | 0 |",
        "| 512 | 60.0 | 75% | 1,234 | 400 | 1 |",
    ]
    assert (quantile([], 0.5), quantile([3.0, 1.0, 2.0], 0.5), quantile([3.0, 1.0, 2.0], 0.99)) == (0.0, 2.0, 3.0)


def test_memory_counts_from_a_full_cache() -> None:
    """What filled it is not growth; where it never was full, nothing is said of growth."""
    full = SMALL.fills_cache
    points = [Point(full // 2, 100.0), Point(full + 1, 140.0), Point(full + 100_001, 141.0), Point(full + 200_001, 142)]
    course = Course(SMALL, 70.0, points)

    assert course.grown == 2.0
    assert course.slope == pytest.approx(1.0)
    assert Course(SMALL, 70.0, points[:1]).grown is None
    assert slope([Point(0, 1.0), Point(10, 2.0)]) == pytest.approx(0.1)
    assert rows(course)[0].startswith("1 KB answers, 16 connections: +2.0 MB since the cache is full, +1.00 MB for")


def test_the_sizes_are_what_they_are_called() -> None:
    """And every prompt has room for its number, once."""
    assert 900 < len("".join(SMALL.pieces)) < 1200
    assert len("".join(LARGE.pieces)) == 32 * 1024
    assert 7500 < len(LARGE.prompt) < 8500
    assert SMALL.prompt.count("@") == LARGE.prompt.count("@") == 1


def test_the_upstream_takes_its_time_and_the_client_counts(tmp_path: Path) -> None:
    """Streamed, a piece for each of its chunks, so far apart; else one answer after its delay, also in an open loop."""
    with paced(tmp_path / "log", chunks=10, every=0.02, delay=0.05) as url:
        stream = posted(url, "/v1/chat/completions", chat_body("m", stream=True), run="a", connections=2, requests=4)
        plain = posted(url, "/v1/chat/completions", chat_body("m"), run="b", rate=20.0, seconds=0.5)

    assert stream.statuses == {200: 4}
    assert 4 * 5 <= stream.pieces <= 4 * 12
    assert min(stream.answered) >= 0.05 + 8 * 0.02
    assert plain.statuses == {200: 10}
    assert min(plain.answered) >= 0.045
    assert plain.took >= 0.45


def test_a_client_counts_who_is_refused(tmp_path: Path) -> None:
    """A server that is not there is no response, and no answer."""
    with paced(tmp_path / "log") as url:
        pass

    began = time.monotonic()
    report = posted(url, "/", json.dumps({}), run="a", connections=1, requests=2)

    assert report.statuses == {0: 2}
    assert (len(report.answered), len(report.refused)) == (0, 2)
    assert time.monotonic() - began < 30

"""What a request makes the daemon do is within its budget, and the budget is not far above it."""

from __future__ import annotations

import asyncio
import io
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bench.counts.budget import complaints, keep, load, version
from bench.counts.counting import CountingLoop, Counts
from bench.counts.outside import is_whole, response

ROOT = Path(__file__).parents[2]
ALLOWED = {"a request": Counts(tasks=6, timers=15, writes=4, calls=2000, blocks=80)}


@pytest.mark.timeout(400)
@pytest.mark.skipif(load()[0] != version(), reason="the budget is one of another Python")
def test_a_request_is_within_its_budget() -> None:
    """`python -m bench.counts` says by how much it is not; with --write it makes the budget anew."""
    command = [sys.executable, "-m", "bench.counts"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=390, check=False)

    assert done.returncode == 0, done.stdout + done.stderr[-1000:]
    assert "All within their budget." in done.stdout


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({}, None),
        ({"calls": 2019}, None),  # one in a hundred, and a few
        ({"calls": 2024}, "a request: 2024 calls, 24 more than its 2000"),
        ({"tasks": 7}, "a request: 7 tasks, 1 more than its 6"),
        ({"calls": 1810}, None),
        ({"calls": 1500}, "a request: 1500 calls, only 75% of its 2000: good; python -m bench.counts --write"),
        ({"timers": 2}, "a request: 2 timers, only 13% of its 15: good; python -m bench.counts --write"),
        ({"blocks": 99}, None),
        ({"blocks": 120}, "a request: 120 blocks, 40 more than its 80"),
    ],
)
def test_what_is_above_the_budget_or_far_below_it_is_told(counts: dict[str, float], said: str | None) -> None:
    """By how much, and what to do where it is cheaper now."""
    found = {"a request": ALLOWED["a request"]._replace(**counts)}

    assert complaints(found, ALLOWED) == ([] if said is None else [said])


def test_a_request_without_a_budget_is_told() -> None:
    """And one that is no longer counted."""
    assert complaints({"new": ALLOWED["a request"]}, ALLOWED) == [
        "a request: not counted; python -m bench.counts --write",
        "new: has no budget; python -m bench.counts --write",
    ]


def test_a_budget_is_read_as_it_was_kept(tmp_path: Path) -> None:
    """With the Python that it is for."""
    keep(ALLOWED, tmp_path / "budget.json")

    assert load(tmp_path / "budget.json") == (version(), ALLOWED)


def test_the_loop_counts_what_it_is_made_to_do() -> None:
    """Tasks, timers and calls of its own thread; a write to a socket is one, into memory none."""

    async def work() -> Counts:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CountingLoop)
        near, far = socket.socketpair()
        near.setblocking(False)
        with near, far:
            before = loop.counts()
            await asyncio.gather(*(asyncio.create_task(asyncio.sleep(0.001)) for _ in range(3)))
            await loop.sock_sendall(near, b"one")
            io.BytesIO().write(b"two")
            return loop.counts() - before

    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        counted = runner.run(work())

    assert (counted.tasks, counted.timers, counted.writes) == (3, 3, 1)
    assert 20 < counted.calls < 400


@pytest.mark.parametrize(
    ("message", "whole"),
    [
        (response("text/plain", b"abc"), True),
        (response("text/plain", b"abc")[:-1], False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", False),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", True),
    ],
)
def test_a_message_is_whole_with_its_body(message: bytes, *, whole: bool) -> None:
    """By its length, or by its last chunk."""
    assert is_whole(message) is whole

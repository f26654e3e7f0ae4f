"""
What memory the daemon takes: idle, with a full cache, and after many more requests.

::

    python -m bench.memory [--write]              # four minutes
    python -m bench.memory --requests 1000000     # a quarter of an hour or more; --quick takes half a minute

Each request is a new one, so each answer goes into the cache, which is full after as many requests as its 64 MiB hold
answers, whatever else it keeps of them. Memory is the resident set of the process. Exit 1 if a bound is broken.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.load.daemon import providers, serving
from bench.load.figures import Verdict, keep, load_average, page, table_of
from bench.load.nginx import MODEL, PIECES, nginx
from bench.load.processes import rss_of
from bench.load.questions import PROMPT, infer_body
from bench.load.wrk import Posts, drive

if TYPE_CHECKING:
    from collections.abc import Sequence

CACHE = 64 << 20
"""Bytes of the cache of which nothing is configured."""
AT_ONCE = 16
STEP_SECONDS = 5.0


class Case(NamedTuple):
    """Requests of one kind: what each asks, and the pieces of its answer."""

    name: str
    prompt: str
    pieces: tuple[str, ...]
    share: float

    @property
    def fills_cache(self) -> int:
        """Requests after which a cache that held nothing but answers would be full."""
        return CACHE // len("".join(self.pieces))


class Point(NamedTuple):
    """MB after so many requests."""

    requests: int
    rss: float


class Course(NamedTuple):
    """How memory went: idle, and after each step of the load."""

    case: Case
    idle: float
    points: list[Point]

    @property
    def full(self) -> Point:
        """The first point at which the cache is full, or the last where it never was."""
        return next((point for point in self.points if point.requests >= self.case.fills_cache), self.points[-1])

    @property
    def grown(self) -> float | None:
        """MB since the cache is full; None where it was not."""
        return None if self.full is self.points[-1] else self.points[-1].rss - self.full.rss

    @property
    def slope(self) -> float | None:
        """MB for each 100,000 requests since then, by least squares; None of fewer than three points."""
        after = [point for point in self.points if point.requests >= self.full.requests]
        return slope(after) * 100_000 if len(after) > 2 else None


SMALL = Case("1 KB answers", PROMPT, (*PIECES, *PIECES, *PIECES), 1.0)
LONG = PROMPT + PROMPT.replace("@", "again") * 41
LARGE = Case("8 KB prompts, 32 KB answers", LONG, tuple(f"{number:<511}\n" for number in range(64)), 0.1)


def main() -> int:
    """Measure, print, perhaps keep; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200_000, help="of the small ones; a tenth of it large ones")
    parser.add_argument("--quick", action="store_true", help="20,000: not enough for a full cache")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    requests, load = 20_000 if options.quick else options.requests, load_average()
    courses = [course(case, int(requests * case.share)) for case in (SMALL, LARGE)]
    small = courses[0]
    found = [
        Verdict("idle", small.idle, 80, unit=" MB"),
        Verdict(f"after {small.points[-1].requests:,} requests, over a full cache", small.grown, 15, unit=" MB"),
    ]
    blocks = [table_of(found), *(rows(each) for each in courses)]
    text = page("What memory the daemon takes", f"python -m bench.memory --requests {requests} --write", load, blocks)
    print(text)
    if options.write:
        keep("memory.md", text)
    return int(any(each.is_broken for each in found))


def course(case: Case, requests: int) -> Course:
    """Ask *requests* times, and look after every step."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        upstream = stack.enter_context(nginx(Path(folder) / "nginx", pieces=case.pieces)).urls[0]
        daemon = stack.enter_context(serving(Path(folder) / "daemon", providers([upstream], MODEL)))
        idle, done, points = rss_of(daemon.pid), 0, list[Point]()
        posts = Posts(f"{daemon.url}/v1/infer", infer_body(prompt=case.prompt))
        while done < requests:
            report = drive(posts, connections=AT_ONCE, seconds=STEP_SECONDS, run=str(done))
            if report.refused or not report.requests:
                raise RuntimeError(f"{report.refused} of {report.requests} refused")
            done += report.requests
            points.append(Point(done, rss_of(daemon.pid)))
            print(f"{case.name}: {done:,} of {requests:,}, {points[-1].rss:.0f} MB", file=sys.stderr, flush=True)
    return Course(case, idle, points)


def slope(points: Sequence[Point]) -> float:
    """MB for each request, by least squares; there are two points at least."""
    x = sum(point.requests for point in points) / len(points)
    y = sum(point.rss for point in points) / len(points)
    spread = sum((point.requests - x) ** 2 for point in points)
    return sum((point.requests - x) * (point.rss - y) for point in points) / spread


def rows(one: Course) -> list[str]:
    """How memory went, as a Markdown table of ten points at most."""
    every = max(1, len(one.points) // 9)
    shown = [*one.points[:-1:every], one.points[-1]]
    grown = "never full" if one.grown is None else f"{one.grown:+.1f} MB since the cache is full"
    rising = "" if one.slope is None else f", {one.slope:+.2f} MB for 100,000 requests"
    return [
        f"{one.case.name}, {AT_ONCE} connections: {grown}{rising}. Full after {one.case.fills_cache:,} at the latest.",
        "",
        "| requests | MB |",
        "|---:|---:|",
        f"| 0 | {one.idle:.0f} |",
        *(f"| {point.requests:,} | {point.rss:.0f} |" for point in shown),
    ]


if __name__ == "__main__":
    sys.exit(main())

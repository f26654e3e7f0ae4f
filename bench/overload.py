"""
What is left of a daemon that is asked for more than its models can do.

::

    python -m bench.overload [--write]     # a minute and a half; --quick takes a third of it

The upstream needs 50 ms for an answer and has four slots: 80 answers a second. An open loop asks three times as many,
and nobody waits for an answer before asking; then closed loops ask over more and more connections, each again as soon
as it is answered or refused. Goodput is what was answered. Exit 1 if a bound is broken.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.load.client import posted
from bench.load.daemon import providers, serving
from bench.load.figures import Verdict, keep, load_average, page, table_of
from bench.load.nginx import MODEL, nginx
from bench.load.processes import cpu_of
from bench.load.questions import CROWDED, crowd, infer_body
from bench.load.upstream import paced
from bench.load.wrk import Posts, drive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.load.client import Report
    from bench.load.daemon import Daemon

SLOTS, SERVICE = 4, 0.05
CAPACITY = SLOTS / SERVICE
TIMES = 3
CLOSED = (4, 16, 64, 200, 512)
TOML = '[groups."{url}"]\nslots = 4\n'


class Loop(NamedTuple):
    """One closed loop: answers and refusals a second, and seconds of the response that one in a hundred exceeds."""

    connections: int
    goodput: float
    refused: float
    p99: float
    broken: int


def main() -> int:
    """Measure, print, perhaps keep; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each loop")
    parser.add_argument("--quick", action="store_true", help="three seconds of each")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    seconds, load = 3.0 if options.quick else options.seconds, load_average()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        url = stack.enter_context(paced(Path(folder) / "upstream.log", delay=SERVICE))
        daemon = stack.enter_context(serving(Path(folder) / "daemon", TOML.format(url=url) + providers([url], MODEL)))
        loops = [closed(daemon, connections, seconds) for connections in CLOSED]
        opened = posted(daemon.url, "/v1/infer", infer_body(), run="open", rate=TIMES * CAPACITY, seconds=seconds)
        answer, refusal = costs(stack, Path(folder), seconds)
    peak = max(loop.goodput for loop in loops)
    answered = len(opened.answered) / opened.took
    found = [
        Verdict("goodput at 512 connections, of the peak", loops[-1].goodput / peak, 0.8, 0.9, at_least=True),
        Verdict("goodput at three times the capacity, of the peak", answered / peak, 0.9, at_least=True),
        Verdict("a refusal, share of an answer", refusal / answer, 0.15, 0.1),
    ]
    made = f"{SLOTS} slots, {SERVICE * 1000:g} ms for an answer; {seconds:g} s of each loop."
    said = f"CPU: {answer:,.0f} us for an answer, {refusal:,.0f} us for a refusal, both over 16 connections."
    blocks = [table_of(found), [made], closed_table(loops), open_told(opened), [said]]
    text = page("Asked for more than the models can do", "python -m bench.overload --write", load, blocks)
    print(text)
    if options.write:
        keep("overload.md", text)
    return int(any(each.is_broken for each in found))


def closed(daemon: Daemon, connections: int, seconds: float) -> Loop:
    """A closed loop, after a second to warm up."""
    posts = Posts(f"{daemon.url}/v1/infer", infer_body())
    drive(posts, connections=connections, seconds=1, run=f"{connections} warm")
    report = drive(posts, connections=connections, seconds=seconds, run=str(connections))
    refused = report.refused / report.seconds
    return Loop(connections, report.answered / report.seconds, refused, report.p99, report.broken)


def costs(stack: ExitStack, folder: Path, seconds: float) -> tuple[float, float]:
    """Microseconds of CPU of an answer and of a refusal, each of a daemon that gives nothing else."""
    upstreams = stack.enter_context(nginx(folder / "nginx"))
    quiet = stack.enter_context(serving(folder / "quiet", providers(upstreams.urls, MODEL)))
    busy = stack.enter_context(serving(folder / "busy", CROWDED + providers([upstreams.silent], MODEL)))
    crowd(stack, busy.url)
    found = []
    for daemon in (quiet, busy):
        posts = Posts(f"{daemon.url}/v1/infer", infer_body())
        drive(posts, connections=16, seconds=1, run="warm")
        before = cpu_of(daemon.pid)
        report = drive(posts, connections=16, seconds=seconds, run="counted")
        if report.refused != (report.requests if daemon is busy else 0):
            raise RuntimeError(f"{report.refused} of {report.requests} refused")
        found.append((cpu_of(daemon.pid) - before) / report.requests * 1e6)
    return found[0], found[1]


def closed_table(loops: Sequence[Loop]) -> list[str]:
    """A row for each closed loop, as a Markdown table."""
    peak = max(loop.goodput for loop in loops)
    lines = [
        f"| {loop.connections} | {loop.goodput:.1f} | {loop.goodput / peak:.0%} | {loop.refused:,.0f} "
        f"| {loop.p99 * 1000:,.0f} | {loop.broken} |"
        for loop in loops
    ]
    head = "| connections | answers/s | of the peak | refusals/s | p99 of all, ms | no response |"
    return [head, "|---:|---:|---:|---:|---:|---:|", *lines]


def open_told(opened: Report) -> list[str]:
    """How the open loop went."""
    middle, late = (quantile(opened.refused, q) * 1000 for q in (0.5, 0.99))
    goodput = len(opened.answered) / opened.took
    return [
        f"Open loop, {TIMES * CAPACITY:g} requests a second: {goodput:.1f} answers a second.",
        f"How many requests ended with which status: {dict(sorted(opened.statuses.items()))}.",
        f"A refusal takes {middle:.1f} ms at the median, {late:.1f} ms at the 99th percentile.",
    ]


def quantile(values: Sequence[float], q: float) -> float:
    """The nearest-rank quantile; 0 of nothing."""
    return sorted(values)[min(len(values) - 1, int(q * len(values)))] if values else 0.0


if __name__ == "__main__":
    sys.exit(main())

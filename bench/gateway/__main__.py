"""
What a request costs in CPU: our daemon, and the gateways of others beside it, in one run.

::

    python -m bench.gateway                   # four minutes; --quick takes one, --no-peers asks ours alone
    python -m bench.gateway --write           # and keeps it in bench/results/gateway.md

Everybody has the same upstream (nginx, which answers from memory), the same client (wrk over kept connections) and the
same question, with a number in it, so that no two are equal. They take turns: in each round everybody is asked for some
seconds. CPU is what the kernel counts of a gateway's whole process tree. Exit 1 if a bound is broken.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bench.gateway.measuring import BASE, STALL_REQUESTS, Plan, longest_gap, measure, ratio, verdicts
from bench.gateway.peers import PINS, pins
from bench.gateway.subjects import ours, peers
from bench.load.daemon import providers, serving
from bench.load.figures import Spread, keep, load_average, page, table_of
from bench.load.nginx import MODEL, nginx

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.gateway.measuring import Row
    from bench.load.nginx import Upstreams


def main() -> int:
    """Measure, print, perhaps keep; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of load for each in each round")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--no-peers", action="store_true", help="our daemon alone")
    parser.add_argument("--quick", action="store_true", help="one round of two seconds")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    plan = Plan(options.rounds, options.seconds, options.connections, starts=5)
    if options.quick:
        plan = Plan(1, 2.0, options.connections, starts=1)
    load = load_average()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        upstreams = stack.enter_context(nginx(Path(folder) / "nginx", count=3))
        starts = _starts(Path(folder) / "starts", upstreams, plan.starts)
        subjects = ours(stack, Path(folder), upstreams)
        others, missing = ([], ["not asked"]) if options.no_peers else peers(stack, Path(folder), upstreams)
        rows, failed = measure([*others, *subjects], plan)
        gaps = Spread.of([longest_gap(subjects[0], STALL_REQUESTS, f"g{number}") for number in range(plan.rounds)])
    found = verdicts(rows, gaps, starts)
    blocks = [
        table_of(found),
        [f"wrk, {plan.connections} connections; {plan.rounds} rounds of {plan.seconds:g} s; median (lowest..highest)."],
        _costs(rows),
        [f"Longest of {STALL_REQUESTS:,} requests in turn over one connection, ms: {_ms(gaps)}."],
        [f"`serve` to `/readyz`, s: {starts.told(2)}, of {plan.starts}."],
        [
            f"Peers: {', '.join(pins(PINS.read_text('utf-8')).values())}.",
            *(f"Left out: {why}" for why in missing + failed),
        ],
    ]
    text = page("What a request costs", "python -m bench.gateway --write", load, blocks)
    print(text)
    if options.write:
        keep("gateway.md", text)
    return int(any(each.is_broken for each in found))


def _starts(folder: Path, upstreams: Upstreams, count: int) -> Spread:
    """Seconds of *count* starts, each in a fresh folder; the first one is not counted, as it fills caches."""
    took = []
    for number in range(count + 1):
        with serving(folder / str(number), providers(upstreams.urls[:1], MODEL)) as daemon:
            took.append(daemon.took)
    return Spread.of(took[1:])


def _costs(rows: Mapping[str, Row]) -> list[str]:
    """A row for everybody, as a Markdown table."""
    lines = [
        f"| | CPU us a request | x {BASE} | req/s | p50 ms | p99 ms | MB before | after |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in rows.items():
        p50, p99 = (Spread.of([getattr(each.report, which) for each in row.rounds]) for which in ("p50", "p99"))
        times = ratio(rows, name, BASE)
        lines.append(
            f"| {name} | {row.cpu.told()} | {'' if times is None else f'{times:.2f}'} | {row.rate:,.0f} "
            f"| {p50.median * 1000:.1f} | {p99.median * 1000:.1f} | {row.rss_before:.0f} | {row.rss_after:.0f} |"
        )
    return lines


def _ms(seconds: Spread) -> str:
    return Spread(*(value * 1000 for value in seconds)).told(1)


if __name__ == "__main__":
    sys.exit(main())

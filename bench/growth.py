"""
Whether a request costs the same when there are more of them, or when they are larger.

::

    python -m bench.growth [--write]     # a minute and a half; --quick takes a third of it

The machine behind has 256 slots, so that nobody waits for one. Every number of connections and every size is measured
once in each round. Exit 1 if a bound is broken.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from bench.gateway.measuring import Plan, Round, one_round
from bench.gateway.subjects import Subject
from bench.load.daemon import providers, serving
from bench.load.figures import Spread, Verdict, keep, load_average, page, table_of
from bench.load.nginx import MODEL, nginx
from bench.load.questions import infer_body
from bench.load.wrk import Posts
from bench.memory import LARGE, SMALL

CONNECTIONS = (1, 16, 64, 256)
SIZES_AT = 16
TOML = '[groups."{url}"]\nslots = 256\n'


def main() -> int:
    """Measure, print, perhaps keep; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of load for each in each round")
    parser.add_argument("--quick", action="store_true", help="one round of two seconds")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    rounds, seconds = (1, 2.0) if options.quick else (options.rounds, options.seconds)
    load = load_average()
    found = measured(rounds, seconds)
    verdicts = [
        Verdict("256 connections, times 16", times(found, _name(256), _name(16)), 1.2, 1.1),
        Verdict(f"{LARGE.name}, times {SMALL.name}", times(found, LARGE.name, SMALL.name), 1.5),
    ]
    rows = [
        f"| {name} | {Spread.of([each.cpu for each in row]).told()} "
        f"| {median(each.report.requests / each.report.seconds for each in row):,.0f} |"
        for name, row in found.items()
    ]
    made = f"wrk; {rounds} rounds of {seconds:g} s; sizes over {SIZES_AT} connections; median (lowest..highest)."
    costs = ["| /v1/infer, FASTEST, one provider | CPU us a request | req/s |", "|---|---:|---:|", *rows]
    text = page("How costs grow", "python -m bench.growth --write", load, [table_of(verdicts), [made], costs])
    print(text)
    if options.write:
        keep("growth.md", text)
    return int(any(each.is_broken for each in verdicts))


def measured(rounds: int, seconds: float) -> dict[str, list[Round]]:
    """By what was asked, its rounds."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        asked: dict[str, tuple[Subject, int]] = {}
        for case in (SMALL, LARGE):
            home = Path(folder) / case.name.replace(" ", "")
            url = stack.enter_context(nginx(home / "nginx", pieces=case.pieces)).urls[0]
            toml = TOML.format(url=url) + providers([url], MODEL)
            daemon = stack.enter_context(serving(home / "daemon", toml))
            subject = Subject(case.name, Posts(f"{daemon.url}/v1/infer", infer_body(prompt=case.prompt)), daemon.pid)
            asked[case.name] = (subject, SIZES_AT)
            if case is SMALL:
                asked |= {_name(connections): (subject, connections) for connections in CONNECTIONS}
        found: dict[str, list[Round]] = {name: [] for name in asked}
        for number in range(rounds):
            for at, (name, (subject, connections)) in enumerate(asked.items()):
                plan = Plan(rounds, seconds, connections, starts=0)
                found[name].append(one_round(subject, plan, f"{number}.{at}"))
        return found


def times(found: dict[str, list[Round]], what: str, to: str) -> float:
    """How many times *to*'s CPU *what* takes: the median of the rounds' ratios."""
    return median(a.cpu / b.cpu for a, b in zip(found[what], found[to], strict=True))


def _name(connections: int) -> str:
    return f"{connections} connection{'' if connections == 1 else 's'}"


if __name__ == "__main__":
    sys.exit(main())

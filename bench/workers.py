"""
What two workers do beside one process: requests a second, CPU of each request, and who did the work.

::

    python -m bench.workers [--write]     # a minute; --quick takes a third of it

Both have the same configuration, with the cache in a Redis of the bench's own and the machine's slots divided. wrk and
nginx run on the same cores, so on few of them it is not the rate that tells whether workers cost more than one process,
but the CPU that a request takes. Exit 1 if the bound is broken.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from bench.load.daemon import providers, serving
from bench.load.figures import Spread, Verdict, keep, load_average, page, table_of
from bench.load.nginx import MODEL, nginx
from bench.load.processes import free_port, running, tree
from bench.load.questions import infer_body
from bench.load.wrk import Posts, drive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.load.daemon import Daemon

CONNECTIONS = 64
TOML = '[cache]\ndriver = "redis"\nurl = "redis://127.0.0.1:{port}/0"\n[groups."{url}"]\nslots = 64\n'


class Round(NamedTuple):
    """Requests a second, microseconds of CPU for each, and the CPU of the busiest process as a share of all."""

    rate: float
    cpu: float
    share: float


def main() -> int:
    """Measure, print, perhaps keep; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of load for each in each round")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one round of three seconds")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    rounds, seconds = (1, 3.0) if options.quick else (options.rounds, options.seconds)
    load = load_average()
    found = measured(options.workers, rounds, seconds)
    (_, one), (name, several) = found.items()
    found_ratio = median(b.cpu / a.cpu for a, b in zip(one, several, strict=True))
    verdict = Verdict(f"CPU of a request with {name}, times that with one process", found_ratio, 1.15)
    rows = [
        f"| {name} | {Spread.of([each.rate for each in row]).told()} | {Spread.of([each.cpu for each in row]).told()} "
        f"| {median(each.share for each in row):.0%} |"
        for name, row in found.items()
    ]
    head = ["| | req/s | CPU us a request | of it, the busiest process |", "|---|---:|---:|---:|", *rows]
    made = f"wrk, {CONNECTIONS} connections; {rounds} rounds of {seconds:g} s; median (lowest..highest)."
    text = page("Several workers", "python -m bench.workers --write", load, [table_of([verdict]), [made], head])
    print(text)
    if options.write:
        keep("workers.md", text)
    return int(verdict.is_broken)


def measured(workers: int, rounds: int, seconds: float) -> dict[str, list[Round]]:
    """The rounds of one process, then of so many *workers*, in turns."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home = Path(folder)
        url = stack.enter_context(nginx(home / "nginx")).urls[0]
        toml = TOML.format(port=stack.enter_context(redis(home / "redis.log")), url=url) + providers([url], MODEL)
        daemons = {
            "one process": stack.enter_context(serving(home / "one", toml)),
            f"{workers} workers": stack.enter_context(serving(home / "several", toml, "--workers", str(workers))),
        }
        found: dict[str, list[Round]] = {name: [] for name in daemons}
        for number in range(rounds):
            for name, daemon in daemons.items():
                found[name].append(one_round(daemon, f"{number} {len(name)}", seconds))
        return found


def one_round(daemon: Daemon, run: str, seconds: float) -> Round:
    """Warm up, then count; raises RuntimeError where somebody is refused."""
    posts = Posts(f"{daemon.url}/v1/infer", infer_body())
    drive(posts, connections=CONNECTIONS, seconds=1, run=f"{run} warm")
    before = {pid: stat.cpu for pid, stat in tree(daemon.pid).items()}
    report = drive(posts, connections=CONNECTIONS, seconds=seconds, run=run)
    used = {pid: stat.cpu - before.get(pid, 0.0) for pid, stat in tree(daemon.pid).items()}
    if report.refused or report.broken or not report.requests:
        raise RuntimeError(f"{report.refused} of {report.requests} refused, {report.broken} without a response")
    total = sum(used.values())
    return Round(report.requests / report.seconds, total / report.requests * 1e6, max(used.values()) / total)


@contextmanager
def redis(log: Path) -> Iterator[int]:
    """The port of a Redis that keeps nothing on disk."""
    port = free_port()
    with running(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""], log=log):
        yield port


if __name__ == "__main__":
    sys.exit(main())

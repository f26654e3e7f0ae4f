"""
What a streamed chunk costs our daemon, beside reading the same stream with our HTTP client and doing nothing with it.

::

    python -m bench.stream [--write]     # a minute; --quick takes a quarter of it

The upstream sends a hundred chunks, three milliseconds apart. CPU is what the kernel counts of the daemon's process,
divided by the chunks: what the whole request costs beside them is in it. Exit 1 if the bound is broken.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from bench.load.client import posted
from bench.load.daemon import providers, serving
from bench.load.figures import Spread, Verdict, keep, load_average, page, table_of
from bench.load.nginx import MODEL
from bench.load.processes import cpu_of
from bench.load.questions import chat_body, infer_body
from bench.load.upstream import paced

CHUNKS, EVERY = 100, 0.003
RAW = "our HTTP client alone"
STREAMS = "/v1/chat/completions, streamed"
SLOTS = '[groups."{url}"]\nslots = 32\n'


def main() -> int:
    """Measure, print, perhaps keep; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=12, help="one after the other, over each connection")
    parser.add_argument("--quick", action="store_true", help="one round of six")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    rounds, requests = (1, 6) if options.quick else (options.rounds, options.requests)
    load = load_average()
    found = {at_once: measured(at_once, rounds, requests) for at_once in (8, 16)}
    verdict = Verdict("a streamed chunk, over our HTTP client alone", over_raw(found[8]), 20, 8, " us")
    made = f"{CHUNKS} chunks {EVERY * 1000:g} ms apart; {rounds} rounds of {requests} streams over each connection."
    blocks = [table_of([verdict]), [made], costs(found)]
    text = page("What a streamed chunk costs", "python -m bench.stream --write", load, blocks)
    print(text)
    if options.write:
        keep("stream.md", text)
    return int(verdict.is_broken)


def measured(at_once: int, rounds: int, requests: int) -> dict[str, list[float]]:
    """Microseconds for each chunk, round by round, with so many streams *at_once*."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        upstream = stack.enter_context(paced(Path(folder) / "upstream.log", chunks=CHUNKS, every=EVERY))
        toml = SLOTS.format(url=upstream) + providers([upstream], MODEL)
        daemon = stack.enter_context(serving(Path(folder) / "daemon", toml))
        subjects = {
            STREAMS: ("/v1/chat/completions", chat_body("pool", stream=True)),
            "/v1/infer, streamed": ("/v1/infer", infer_body(stream=True)),
            "/v1/infer, not streamed": ("/v1/infer", infer_body()),
        }
        load = {"connections": at_once, "requests": at_once * requests}
        for number in range(-1, rounds):  # the first one only warms up
            raw = posted(upstream, "/v1/chat/completions", chat_body(MODEL, stream=True), run="raw", **load)
            costs = {RAW: raw.cpu}
            for at, (name, (path, body)) in enumerate(subjects.items()):
                before = cpu_of(daemon.pid)
                report = posted(daemon.url, path, body, run=f"{at}-{number}", **load)
                costs[name] = cpu_of(daemon.pid) - before
                if set(report.statuses) != {200}:
                    raise RuntimeError(f"{name}: {report.statuses}")
            for name, cpu in costs.items() if number >= 0 else ():
                found.setdefault(name, []).append(cpu / (load["requests"] * CHUNKS) * 1e6)
    return found


def over_raw(found: dict[str, list[float]]) -> float:
    """Microseconds that a chunk costs more than the client's own: the median of the rounds' differences."""
    return median(ours - raw for ours, raw in zip(found[STREAMS], found[RAW], strict=True))


def costs(found: dict[int, dict[str, list[float]]]) -> list[str]:
    """A row for each way to ask, as a Markdown table: microseconds for each chunk."""
    heads = [f"{at_once} streams, us a chunk" for at_once in found]
    rows = {name: [Spread.of(each[name]).told(1) for each in found.values()] for name in next(iter(found.values()))}
    lines = [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
    return [f"| | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}", *lines]


if __name__ == "__main__":
    sys.exit(main())

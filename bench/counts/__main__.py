"""
What a request makes the daemon do: tasks, timers, writes, Python calls, and memory that it leaves behind.

::

    python -m bench.counts            # counts, and exits with 1 where one is off its budget
    python -m bench.counts --write    # makes what is counted the budget, bench/counts/budget.json

No clock is in it, so it says the same on a busy machine; a test holds it to the budget. The daemon is a whole one of
this process, on asyncio's own loop. The client and the models go on only when it waits for them, step by step, and a
stream comes in pieces of one event.
"""

from __future__ import annotations

import argparse
import os
import sys

from bench.counts import budget
from bench.counts.counting import Counts
from bench.counts.scenarios import every


def main() -> int:
    """Count, print, compare or keep; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    told = os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  # where the daemon's log goes
        os.dup2(nowhere.fileno(), 2)
        found = every()
    os.dup2(told, 2)
    print(f"| | {' | '.join(Counts._fields)} |\n|---|{'---:|' * len(Counts._fields)}")
    for name, counts in found.items():
        print(f"| {name} | {' | '.join(f'{each:g}' for each in counts)} |")
    if options.write:
        budget.keep(found)
        return 0
    python, allowed = budget.load()
    if python != budget.version():
        print(f"The budget is one of Python {python}, and this is {budget.version()}.")
        return 0
    complaints = budget.complaints(found, allowed)
    print("\n".join(complaints) or "All within their budget.")
    return int(bool(complaints))


if __name__ == "__main__":
    sys.exit(main())

"""``python -m bench.cluster``: see the package's docstring."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import bench.cluster
from bench.cluster import cluster, envoy
from bench.cluster.report import Findings, markdown

RESULT = Path(__file__).parents[1] / "results" / "cluster.md"
OWN_NAMESPACES = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
"""What is started in them ends with the first process, and the network with the last."""

LOG_SHOWN = 5000
"""Characters of the replicas' logs that are shown where a goal was missed: from the first traceback if there is one."""


def main() -> int:
    """Run, print, and say by the exit status whether every goal was reached."""
    line = argparse.ArgumentParser(
        prog="python -m bench.cluster",
        description=bench.cluster.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    line.add_argument("--minutes", type=float, default=4.0, help="for rounds of faults; one is run at least")
    line.add_argument("--rate", type=float, default=100.0, help="ids a second")
    line.add_argument("--write", action="store_true", help=f"write the figures to {RESULT.name} too")
    line.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = line.parse_args()
    programs = {"envoy": envoy.binary(), **{name: shutil.which(name) for name in ("redis-server", "ip", "iptables")}}
    missing = [name for name, place in programs.items() if place is None]
    if missing or os.geteuid() != 0:
        line.exit(2, f"{line.prog}: takes root and {', '.join(programs)}; missing: {', '.join(missing) or 'root'}\n")
    if not args.inside:
        os.execvp(  # noqa: S606  without a shell, and the words are ours
            OWN_NAMESPACES[0], [*OWN_NAMESPACES, sys.executable, "-m", "bench.cluster", "--inside", *sys.argv[1:]]
        )
    with tempfile.TemporaryDirectory() as folder:
        found = {name: place for name, place in programs.items() if place is not None}
        observed = asyncio.run(cluster.run(args.minutes * 60, args.rate, found, Path(folder)))
    findings = Findings(observed)
    balancer = _version(found["envoy"])
    said = markdown(findings, f"python -m bench.cluster --minutes {args.minutes:g} --rate {args.rate:g}", balancer)
    print(said)
    if args.write:
        RESULT.write_text(said)
    if all(findings.goals().values()):
        return 0
    first = max(0, observed.logs.find("raceback") - 500) or -LOG_SHOWN
    print(observed.logs[first:][:LOG_SHOWN], file=sys.stderr)
    return 1


def _version(program: str) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S603  likewise
    found = re.search(r"/(\d+\.\d+\.\d+)/", said)
    return f"Envoy {found[1]}" if found else "Envoy"


if __name__ == "__main__":
    sys.exit(main())

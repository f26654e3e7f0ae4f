"""
Every client, unmodified: which of them work with ``llm-pool serve``, and with what.

    python -m bench.clients [--only NAME …] [--ci] [--write] [--lock]

Each client gets an environment of its own, made by uv or npm from its pinned list and kept in a cache folder
(``LLM_POOL_CLIENTS``). Its driver, a program such as its users write, runs as a process of its own against one daemon
over the scripted upstream and tells what came; what was said, called, thought and embedded is compared with what the
upstream said. ``--write`` keeps the results in ``bench/results/clients.json`` and the table in ``docs/clients.md``.
Exit 1 where something fails, unless ``client.toml`` knows a reason of the client's own.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.clients import catalog, environments, pool, report, running

if TYPE_CHECKING:
    from bench.clients.catalog import Client
    from bench.clients.running import Result


async def results(clients: list[Client], folder: Path) -> dict[str, Result]:
    """What each of *clients* did, one after the other; those that cannot be installed are told and left out."""
    found = {}
    async with pool.serving(folder) as serving:
        for client in clients:
            try:
                environment = await environments.prepare(client)
            except environments.NotInstalled as why:
                print(f"{client.name:28} left out: {why}", flush=True)
                continue
            home = running.emptied(folder / client.key)
            result = found[client.key] = await running.run(client, environment, serving, home)
            wrong = {cell: why for cell, why in result.cells.items() if why}
            marks = " ".join(f"{cell} {'✗' if cell in wrong else '✓'}" for cell in result.cells)
            print(f"{client.name:28} {result.version:12} {result.seconds:5.1f} s  {marks}", flush=True)
            for cell, why in wrong.items():
                print(f"    {cell}: {why}", flush=True)
    return found


def machine() -> str:
    """What this ran on."""
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    return f"{os.cpu_count()} vCPU, Python {platform.python_version()}, Node {node.removeprefix('v') or 'none'}"


def unexplained(clients: list[Client], found: dict[str, Result]) -> list[str]:
    """Cells that fail, and not for a reason of the client's own that its ``client.toml`` tells."""
    return [
        f"{client.key} {cell}"
        for client in clients
        if client.key in found
        for cell, why in found[client.key].cells.items()
        if why != client.fails.get(cell, "")
    ]


def main() -> int:
    """Run, print, keep; the exit status."""
    line = argparse.ArgumentParser(prog="python -m bench.clients", description="Every client, unmodified.")
    line.add_argument("--only", nargs="+", default=[], metavar="NAME", help="folders of bench/clients/drivers")
    line.add_argument("--ci", action="store_true", help="only those that every run of the tests tries")
    line.add_argument("--write", action="store_true", help="keep the results, and write the table anew")
    line.add_argument("--lock", action="store_true", help="write the pinned lists anew, and run nothing")
    options = line.parse_args()
    try:
        clients = [client for client in catalog.load(options.only) if client.ci or not options.ci]
    except ValueError as error:
        line.error(str(error))
    if options.lock:
        for client in clients:
            asyncio.run(environments.lock(client))
        return 0
    with tempfile.TemporaryDirectory(prefix="llm-pool-clients-") as folder:
        found = asyncio.run(results(clients, Path(folder)))
    if options.write:
        today = dt.datetime.now(dt.UTC).date().isoformat()
        report.write(report.Run(today, machine(), report.kept().results | found))
    failed = unexplained(clients, found)
    if failed:
        print(f"failed, and not for a known reason of the client's own: {', '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())

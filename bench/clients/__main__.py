"""
Every client, unmodified: which of them work with ``llm-pool serve``, and with what.

    python -m bench.clients [--only NAME …] [--ci] [--json] [--write] [--lock]

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
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from bench.clients import catalog, environments, pool, report, running

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.clients.catalog import Client
    from bench.clients.running import Result

Teller: TypeAlias = "Callable[[Client, Result | str], None]"
"""Takes what a client did, or why it was left out."""


async def results(clients: list[Client], folder: Path, tell: Teller) -> dict[str, Result]:
    """What each of *clients* did, one after the other; those that cannot be installed are told and left out."""
    found = {}
    async with pool.serving(folder) as serving:
        for client in clients:
            try:
                environment = await environments.prepare(client)
            except environments.NotInstalled as why:
                tell(client, str(why))
                continue
            home = running.emptied(folder / client.key)
            found[client.key] = await running.run(client, environment, serving, home)
            tell(client, found[client.key])
    return found


def in_words(client: Client, told: Result | str) -> None:
    """Print a line for *client*, and one for each cell that fails."""
    if isinstance(told, str):
        print(f"{client.name:28} left out: {told}", flush=True)
        return
    wrong = {cell: why for cell, why in told.cells.items() if why}
    marks = " ".join(f"{cell} {'✗' if cell in wrong else '✓'}" for cell in told.cells)
    print(f"{client.name:28} {told.version:14} {told.seconds:5.1f} s  {marks}", flush=True)
    for cell, why in wrong.items():
        print(f"    {cell}: {why}", flush=True)


def in_json(client: Client, told: Result | str) -> None:
    """Print a line of JSON for *client*: its result, or why it was left out."""
    said = {"client": client.key, "left_out": told} if isinstance(told, str) else told
    print(msgspec.json.encode(said).decode(), flush=True)


def machine() -> str:
    """What this ran on."""
    node = shutil.which("node")
    version = subprocess.check_output([node, "--version"], text=True).strip() if node else "none"  # noqa: S603  # itself
    return f"{os.cpu_count()} vCPU, Python {platform.python_version()}, Node {version.removeprefix('v')}"


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
    line.add_argument("--json", action="store_true", help="print a line of JSON for each")
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
        found = asyncio.run(results(clients, Path(folder), in_json if options.json else in_words))
    if options.write:
        today = dt.datetime.now(dt.UTC).date().isoformat()
        report.write(report.Run(today, machine(), report.kept().results | found))
    failed = unexplained(clients, found)
    if failed:
        print(f"failed, and not for a known reason of the client's own: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())

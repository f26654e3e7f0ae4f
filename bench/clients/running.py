"""One client's driver, run against the pool: what it tells, judged."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

import msgspec

from bench.clients import judging
from bench.clients.catalog import DRIVERS, SHOWN

if TYPE_CHECKING:
    from pathlib import Path

    from bench.clients.catalog import Client
    from bench.clients.environments import Environment
    from bench.clients.pool import Pool
    from llm_pool.testing.upstream import Entry

SHOWN_ORIGIN = "http://app.example:8080"
"""The page's address as its driver writes it."""
CANCEL_TIME = 2.0
"""Seconds until a call that goes on is taken for one that was not stopped."""


class Result(msgspec.Struct, frozen=True):
    """
    What a client did.

    Attributes:
        client, version: which one.
        seconds: that its run took.
        cells: for each cell what is wrong; empty where nothing is.
    """

    client: str
    version: str
    seconds: float
    cells: dict[str, str]


async def run(client: Client, environment: Environment, pool: Pool, folder: Path) -> Result:
    """Run *client* in the empty *folder*, which is its home, and judge what it tells."""
    command = (*environment.command, str(_laid_out(client, environment, pool, folder)))
    began = time.monotonic()
    told, complaint = await _told(command, _variables(environment, folder), folder, client.timeout)
    cells = {}
    for cell in client.cells:
        if cell not in told:
            wrong = f"nothing was told{complaint and ': ' + complaint}"
        elif cell == "leave" and "left" in told[cell]:
            wrong = await _stopped(pool, told[cell]["left"])
        else:
            wrong = judging.verdict(client, cell, told[cell])
        cells[cell] = judging.explained(client, cell, wrong)
    return Result(client.key, environment.version, round(time.monotonic() - began, 1), cells)


def _laid_out(client: Client, environment: Environment, pool: Pool, folder: Path) -> Path:
    """The driver in *folder*, with the addresses of this run in the place of those it is written with."""
    for path in (*DRIVERS.glob("*.*"), *client.folder.iterdir()):
        if path.suffix in {".py", ".mjs", ".html"}:
            text = path.read_text(encoding="utf-8").replace(SHOWN, pool.url).replace(SHOWN_ORIGIN, pool.origin)
            (folder / path.name).write_text(text, encoding="utf-8")
    if environment.modules is not None:
        (folder / "node_modules").symlink_to(environment.modules)
    return folder / client.driver.name


def _variables(environment: Environment, folder: Path) -> dict[str, str]:
    """A home of its own, and nothing of this user's."""
    path = os.pathsep.join((str(environment.programs), os.environ.get("PATH", os.defpath)))
    return {"PATH": path, "HOME": str(folder), "LANG": "C.UTF-8", "TERM": "dumb"}


async def _told(
    command: tuple[str, ...], env: dict[str, str], folder: Path, patience: float
) -> tuple[dict[str, dict[str, Any]], str]:
    """What the driver tells, by cell, and its last complaint if it fails."""
    output, errors = folder / "driver.out", folder / "driver.err"
    with output.open("wb") as out, errors.open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=err,
            start_new_session=True,
        )  # fmt: skip
        try:
            async with asyncio.timeout(patience):
                status = await process.wait()
        except TimeoutError:
            status = -signal.SIGKILL
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
    lines = [json.loads(line) for line in output.read_text("utf-8").splitlines() if line.startswith('{"cell"')]
    last = errors.read_text("utf-8", "replace").strip().splitlines()
    if status == -signal.SIGKILL:
        last = [f"the driver took longer than {patience:g} s"]
    return {line["cell"]: line for line in lines}, last[-1][:300] if status and last else ""


async def _stopped(pool: Pool, left: float) -> str:
    """Whether the call that was left at *left* ends at the backend in time."""
    entry = _endless(pool)
    if entry is None:
        return "the backend was not asked"
    deadline = time.monotonic() + CANCEL_TIME
    while entry.ending == "running" and time.monotonic() < deadline:  # noqa: ASYNC110  # no event for entries
        await asyncio.sleep(0.01)
    return judging.stopped(left, entry.ended if entry.ending == "cancelled" else None)


def _endless(pool: Pool) -> Entry | None:
    """The last request for the endless story."""
    asked = [entry for entry in pool.upstream.journal.inferences() if "endless" in json.dumps(entry.body)]
    return asked[-1] if asked else None


def emptied(folder: Path) -> Path:
    """*folder*, there and empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder

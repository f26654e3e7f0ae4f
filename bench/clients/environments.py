"""An environment for each client: made once by uv or npm from its pinned list, and kept in a cache folder."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import platformdirs

if TYPE_CHECKING:
    from bench.clients.catalog import Client

INSTALL_TIME = 1200.0  # seconds


class NotInstalled(Exception):
    """An environment that cannot be made here, and why."""


class Environment(msgspec.Struct, frozen=True):
    """
    Where a client is installed.

    Attributes:
        command: the interpreter, and its options, that runs a driver.
        programs: the folder of the commands that the packages bring.
        modules: the folder that node looks for packages in; None for Python.
        version: of the client's package.
    """

    command: tuple[str, ...]
    programs: Path
    modules: Path | None
    version: str


def cache_folder() -> Path:
    """Where environments are kept: ``$LLM_POOL_CLIENTS``, else the user's cache folder."""
    return Path(os.environ.get("LLM_POOL_CLIENTS") or platformdirs.user_cache_path("llm-pool-clients"))


async def prepare(client: Client) -> Environment:
    """
    The environment of *client*; made if it is not there yet, or if its list has changed.

    Raises:
        NotInstalled: a tool is missing, or the package index is out of reach.
    """
    for program in (*client.needs, *(("node", "npm") if client.is_node else ())):
        if shutil.which(program) is None:
            raise NotInstalled(f"{program} is not here")
    if client.is_node:
        return await _node(client)
    return await (_python(client) if (client.folder / "requirements.txt").exists() else _program(client))


async def _program(client: Client) -> Environment:
    """For a program that is here: nothing is installed."""
    told = re.search(r"\d+(\.\d+)+", await _run(client.package, "--version"))
    return Environment((sys.executable, "-u"), Path(sys.executable).parent, None, told[0] if told else "unknown")


async def _python(client: Client) -> Environment:
    listed = client.folder / "requirements.txt"
    folder = _folder(client, listed.read_bytes())
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (folder / "complete").exists():
        await _run(_uv(), "venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
        await _run(_uv(), "pip", "install", "--quiet", "--python", str(python), "--no-deps", "-r", str(listed))
        (folder / "complete").touch()
    asked = f"import importlib.metadata as m; print(m.version({client.package!r}))"
    version = await _run(str(python), "-c", asked)
    return Environment((str(python), "-u"), python.parent, None, version.strip())


async def _node(client: Client) -> Environment:
    lock = client.folder / "package-lock.json"
    folder = _folder(client, lock.read_bytes())
    modules = folder / "node_modules"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(client.folder / name, folder)
        # Not `npm ci`, which refuses a lock that lacks the optional packages of other systems, as some indexes do.
        await _run("npm", "install", "--no-save", "--no-audit", "--no-fund", "--prefix", str(folder))
        (folder / "complete").touch()
    version = json.loads((modules / client.package / "package.json").read_bytes())["version"]
    command = ("node",) if client.driver.suffix == ".mjs" else (sys.executable, "-u")
    return Environment(command, modules / ".bin", modules, version)


async def lock(client: Client) -> None:
    """Write the pinned list of *client* anew, from ``requirements.in`` or ``package.json``."""
    if client.is_node:
        await _run("npm", "install", "--package-lock-only", "--omit-lockfile-registry-resolved", "--no-audit",
                   "--no-fund", "--prefix", str(client.folder))  # fmt: skip
    else:
        await _run(_uv(), "pip", "compile", "--quiet", "--upgrade", "--universal", "--python-version", "3.11",
                   "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links",
                   "-o", str(client.folder / "requirements.txt"), str(client.folder / "requirements.in"))  # fmt: skip


def _folder(client: Client, pinned: bytes) -> Path:
    version = f"{sys.version_info.major}.{sys.version_info.minor}".encode()
    return cache_folder() / f"{client.key}-{hashlib.sha256(pinned + version).hexdigest()[:12]}"


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise NotInstalled("uv is not here")
    return found


async def _run(*command: str) -> str:
    """What *command* writes to stdout."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(INSTALL_TIME):
            output, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise NotInstalled(f"{command[0]} took longer than {INSTALL_TIME:g} s") from None
    if process.returncode:
        last = errors.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise NotInstalled(f"{Path(command[0]).name} {command[1]}: {last[-1]}")
    return output.decode()

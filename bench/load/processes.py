"""Programs that run while a block does, and what the kernel counts of one and all its children."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

TICK = os.sysconf("SC_CLK_TCK")
STOP_TIMEOUT = 15.0
"""Seconds from SIGTERM to SIGKILL."""


class Stat(NamedTuple):
    """What ``/proc/PID/stat`` says: the parent, and CPU seconds, those of children that ended included."""

    parent: int
    cpu: float


def read_stat(text: str) -> Stat:
    """*text* of ``/proc/PID/stat``, see proc(5); the name in it may hold spaces and brackets."""
    fields = text.rpartition(")")[2].split()
    return Stat(parent=int(fields[1]), cpu=sum(map(int, fields[11:15])) / TICK)


def tree(pid: int) -> dict[int, Stat]:
    """The process *pid* and all below it."""
    every = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it ended meanwhile
                every[int(folder.name)] = read_stat((folder / "stat").read_text("utf-8", "replace"))
    found, more = {}, [pid]
    while more:
        one = more.pop()
        if one in every:
            found[one] = every[one]
            more += [child for child, stat in every.items() if stat.parent == one]
    return found


def cpu_of(pid: int) -> float:
    """CPU seconds of *pid* and all below it, user and system."""
    return sum(stat.cpu for stat in tree(pid).values())


def rss_of(pid: int) -> float:
    """MB that *pid* and all below it hold in memory."""
    total = 0
    for one in tree(pid):
        with suppress(OSError):
            found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{one}/status").read_text("utf-8"))
            total += int(found[1]) if found else 0
    return total / 1000


@contextmanager
def running(
    words: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The program *words*, in a group of its own, writing to *log*; ended with all below it when left."""
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  # programs that the bench names
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, start_new_session=True
        )
    try:
        yield process
    finally:
        below = list(tree(process.pid))
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for one in below:  # what outlived its parent
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)


def until(
    is_so: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, *, within: float, every: float = 0.05
) -> float:
    """
    Wait until *is_so*; the seconds it took.

    Raises:
        RuntimeError: *process* ended, or *within* seconds passed; the end of *log* is in the message.
    """
    began = time.monotonic()
    while not is_so():
        if process.poll() is not None or time.monotonic() - began > within:
            said = log.read_text("utf-8", "replace").strip()[-400:]
            raise RuntimeError(f"{Path(process.args[0]).name} did not get ready: {said}")  # type: ignore[index]
        time.sleep(every)
    return time.monotonic() - began


def free_port() -> int:
    """A port of the loopback that nobody listens at now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def answers(url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> bool:
    """Whether *url* answers a GET, or a POST of *body*, with 200."""
    request = urllib.request.Request(url, body, {"content-type": "application/json", **(headers or {})})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310  # our own loopback URLs
            return bool(response.status == 200)
    except OSError:
        return False

"""
Waiting for files to change: as long as the file system tells of it, and by looking where it does not.

inotify and its like tell of what this machine writes, ConfigMaps' swapped links included, but not of what another
machine writes to a network volume. Where a folder lies on one, or nothing can be subscribed to, there is nothing but to
look again; and in any case somebody looks each ``LOOK_ANYWAY`` seconds.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LOOK_ANYWAY = 5.0
"""Seconds between two looks at most, whatever the file system tells."""
SUBSCRIBING = 1.0
"""Seconds after which a subscription is sure to stand: until then looking goes on beside it, and misses nothing."""
SILENT = (
    "9p",
    "afs",
    "ceph",
    "cifs",
    "fuse",
    "gfs2",
    "glusterfs",
    "lustre",
    "ncpfs",
    "nfs",
    "ocfs2",
    "smb",
    "virtiofs",
)
"""How the types of file systems begin that do not tell what others write."""
_MOUNTS = Path("/proc/self/mountinfo")
_log = logging.getLogger("llm_pool.engine")


class FolderEvents:
    """What the file system tells of some folders; closed by ``aclose``."""

    def __init__(self) -> None:
        self._told, self._stop = asyncio.Event(), asyncio.Event()
        self._folders: frozenset[Path] = frozenset()
        self._listening: asyncio.Task[None] | None = None
        self._since = 0.0

    async def wait(self, folders: frozenset[Path], interval: float) -> None:
        """Return when something in *folders* may have changed: told, or after *interval* where nobody tells."""
        if folders != self._folders:
            await self.aclose()
            self._folders = folders
            if await asyncio.to_thread(_all_tell, folders):
                self._stop = asyncio.Event()
                self._listening = asyncio.create_task(self._listen(self._stop), name="listen to the file system")
            self._since = asyncio.get_running_loop().time()
        stands = asyncio.get_running_loop().time() - self._since >= SUBSCRIBING
        listens = stands and self._listening is not None and not self._listening.done()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(interval, LOOK_ANYWAY) if listens else interval):
                await self._told.wait()
        self._told.clear()

    async def aclose(self) -> None:
        """Listen no more."""
        self._stop.set()  # cancelling would wait for the thread, which looks up each five seconds
        if self._listening is not None:
            await asyncio.wait({self._listening})
            self._listening = None

    async def _listen(self, stop: asyncio.Event) -> None:
        """Note each change until *stop* is set; what cannot be listened to is looked at, and the log says so."""
        from watchfiles import awatch

        try:
            changes = awatch(*self._folders, watch_filter=None, recursive=False, debounce=100, step=20, stop_event=stop)
            async for _ in changes:
                self._told.set()
        except Exception as error:  # noqa: BLE001  # gone folders, no watches left: whatever it is, looking goes on
            _log.info("the file system does not tell of changes, they are looked for: %s", error)
        self._told.set()


def _all_tell(folders: Iterable[Path]) -> bool:
    """Whether the file system tells of every change in *folders*, whoever makes it."""
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux: what is not told is seen by looking
        return True
    types = dict(map(_mount, mounts))
    return all(not types.get(_mount_point(folder.resolve(), types), "").startswith(SILENT) for folder in folders)


def _mount(line: str) -> tuple[str, str]:
    """Where a line of mountinfo is mounted, and the type of its file system. Source: proc_pid_mountinfo(5)."""
    before, _, after = line.partition(" - ")
    place = before.split(" ")[4].replace("\\040", " ")
    return place, after.partition(" ")[0]


def _mount_point(folder: Path, mounts: Iterable[str]) -> str:
    known = set(mounts)
    return next((str(place) for place in (folder, *folder.parents) if str(place) in known), "")

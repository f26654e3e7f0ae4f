"""What the file system tells is heard at once; where it tells nothing, somebody looks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from llm_pool.engine import watching
from llm_pool.engine.watching import FolderEvents

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

MOUNTS = """\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 21 0:40 / /mnt/far rw - nfs4 server:/export rw
31 30 0:41 / /mnt/far/near rw - tmpfs tmpfs rw
32 21 0:42 / /with\\040blank rw - fuse.sshfs user@host: rw
"""


@pytest.fixture
async def events() -> AsyncIterator[FolderEvents]:
    listening = FolderEvents()
    yield listening
    await listening.aclose()


async def waited(events: FolderEvents, folders: frozenset[Path], interval: float) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await events.wait(folders, interval)
    return loop.time() - began


async def test_a_change_wakes_at_once_and_silence_lasts(
    events: FolderEvents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking twice a second is over where the file system tells."""
    monkeypatch.setattr(watching, "SUBSCRIBING", 0.0)
    monkeypatch.setattr(watching, "LOOK_ANYWAY", 20.0)
    waiting = asyncio.create_task(waited(events, frozenset({tmp_path}), 0.01))
    await asyncio.sleep(0.7)
    assert not waiting.done()

    (tmp_path / "new").touch()
    assert await asyncio.wait_for(waiting, 5) < 5


async def test_until_the_subscription_stands_looking_goes_on(events: FolderEvents, tmp_path: Path) -> None:
    assert await waited(events, frozenset({tmp_path}), 0.05) < 1.0


async def test_where_nobody_tells_it_is_looked_for(
    events: FolderEvents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network volume, and a folder that is gone before anybody listens to it."""
    monkeypatch.setattr(watching, "SUBSCRIBING", 0.0)
    gone = frozenset({tmp_path / "gone"})
    await waited(events, gone, 0.05)
    assert await waited(events, gone, 0.05) < 1.0

    monkeypatch.setattr(watching, "_all_tell", lambda _folders: False)
    assert await waited(events, frozenset({tmp_path}), 0.05) < 1.0


@pytest.mark.parametrize(
    ("place", "tells"),
    [
        ("/etc", True),
        ("/mnt/far", False),
        ("/mnt/far/prompts", False),
        ("/mnt/far/near", True),
        ("/with blank/x", False),
    ],
)
def test_file_systems_of_other_machines_do_not_tell(
    place: str, tells: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS, encoding="utf-8")
    monkeypatch.setattr(watching, "_MOUNTS", mounts)

    assert watching._all_tell([type(tmp_path)(place)]) is tells
    monkeypatch.setattr(watching, "_MOUNTS", tmp_path / "none")
    assert watching._all_tell([type(tmp_path)(place)])

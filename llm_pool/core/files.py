"""Files that a configuration names: a pipe, a device or a huge file among them shall not take the process along."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

MAX_BYTES = 4 << 20
"""Bytes of a configuration, a prompt, a key, a certificate."""


def read_bounded(path: Path, *, limit: int = MAX_BYTES) -> bytes:
    """
    The bytes of *path*.

    Raises:
        OSError: it cannot be read, is no regular file, or has more than *limit* bytes.
        ValueError: no such path can exist.
    """
    with open_regular(path) as file:
        return whole(file, limit=limit)


def whole(file: BinaryIO, *, limit: int = MAX_BYTES) -> bytes:
    """What *file* still holds; raises OSError where that is more than *limit* bytes."""
    data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"more than {limit} bytes")
    return data


def open_regular(path: Path) -> BinaryIO:
    """*path* to read, at once; raises as ``read_bounded`` does."""
    return open(path, "rb", opener=_open_at_once)  # Path.open takes no opener


def _open_at_once(name: str, flags: int) -> int:
    """A descriptor of a regular file; a pipe without a writer would be waited for."""
    descriptor = os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "a folder, no file" if stat.S_ISDIR(mode) else "no regular file")

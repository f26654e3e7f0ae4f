"""
Where trust is kept between runs: one JSON file in the user's state folder.

Every change is made under a lock on what the file holds at that moment, so processes that learn at the same time
lose nothing of each other; and the file is replaced, never written into, so a crash leaves the old or the new one.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from llm_pool.trust.model import Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


_log = logging.getLogger("llm_pool.trust.model")


class TrustStore:
    """
    The file.

    Args:
        path: e.g. ``trust.json`` in the user's state folder; it and its folder are made when first needed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Trust:
        """What the file holds; nothing learned, and a warning, if it cannot be read: answers matter more."""
        try:
            return self._read()
        except OSError as error:
            _log.warning("what was learned cannot be read, the pool starts without it: %s", error)
            return Trust()

    def change(self, change: Callable[[Trust], None]) -> Trust:
        """
        Apply *change* to what the file holds now, keep the result, and give it.

        Raises:
            OSError: the file cannot be read or replaced; one that cannot be read is not overwritten.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked():
            trust = self._read()
            change(trust)
            self._replace(trust.to_json())
        return trust

    def _read(self) -> Trust:
        """What the file holds; nothing learned if there is none. A damaged one is set aside as ``.damaged``."""
        try:
            return Trust.from_json(self.path.read_bytes())
        except FileNotFoundError:
            return Trust()
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            aside = self.path.replace(self.path.with_suffix(".damaged"))
            _log.warning("%s was damaged and is set aside as %s: the pool learns anew", self.path, aside.name)
            return Trust()

    def _replace(self, data: bytes) -> None:
        import tempfile  # brings shutil, bz2 and lzma; most runs learn nothing

        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.path)  # noqa: PTH105  mkstemp names a string
        except BaseException:
            os.unlink(name)  # noqa: PTH108  likewise
            raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self.path.with_suffix(".lock").open("wb") as file:
            if sys.platform != "win32":
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX)
            yield

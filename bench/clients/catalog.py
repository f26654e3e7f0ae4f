"""The clients: a folder each under ``drivers/``, with its name, what it can do and what its errors are called."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

DRIVERS = Path(__file__).parent / "drivers"
CELLS = ("plain", "stream", "structured", "tools", "error", "embeddings", "thinking", "images", "leave")
"""The columns of the table. A driver may tell further results (``responses``, ``regenerate``), which are judged too."""
CONFIGURED = re.compile(r"^(?:#|//) <configured(?: (\w+))?>\n(.*?)^(?:#|//) </configured>$", re.MULTILINE | re.DOTALL)
"""In a driver, the lines by which a user points the client at the pool, and their language where it is another."""
SHOWN = "http://127.0.0.1:7071"
"""The daemon's address as drivers and documents write it."""


class Errors(msgspec.Struct, frozen=True):
    """
    What a client raises, by the names of its classes; for a command, ``exit N``.

    Attributes:
        missing: for a model that is not there; None where the client itself refuses what is not in its list.
        broken: for a model whose backend fails.
    """

    broken: str
    missing: str | None = None


class Client(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    A client.

    Attributes:
        name: as people call it.
        package: whose version is told.
        speaks: which of the daemon's APIs it uses.
        ci: small and quick enough for every run of the tests.
        errors: None where it tells none.
        absent: cells that it does not offer, and why.
        fails: cells that it offers and that fail for reasons of its own, and those.
        further: results beyond the columns, with what each of them is.
        needs: programs that must be here beside the package index.
        timeout: seconds that a run of it may take.
    """

    name: str
    package: str
    speaks: str
    ci: bool = False
    errors: Errors | None = None
    absent: dict[str, str] = {}
    fails: dict[str, str] = {}
    further: dict[str, str] = {}
    needs: tuple[str, ...] = ()
    timeout: float = 120.0
    folder: Path = DRIVERS

    @property
    def key(self) -> str:
        """The folder's name, by which ``--only`` finds it."""
        return self.folder.name

    @property
    def cells(self) -> tuple[str, ...]:
        """What its driver must tell: the columns that it offers, then its further results."""
        return (*(cell for cell in CELLS if cell not in self.absent), *self.further)

    @property
    def driver(self) -> Path:
        """The script to run."""
        (path,) = self.folder.glob("driver.*")
        return path

    @property
    def is_node(self) -> bool:
        """Its packages come by npm; else by uv."""
        return (self.folder / "package.json").exists()

    @property
    def configuration(self) -> tuple[str, str]:
        """Language and text of the lines by which a user points it at the pool, as its driver has them."""
        text = self.driver.read_text(encoding="utf-8")
        found = CONFIGURED.search(text)
        if found is None:
            raise ValueError(f"{self.driver}: no lines between '# <configured>' and '# </configured>'")
        language = {".py": "python", ".mjs": "js"}[self.driver.suffix]
        return found[1] or language, found[2].strip()


def load(only: Iterable[str] = ()) -> list[Client]:
    """
    Every client, or those that are named, in the order of their names.

    Raises:
        ValueError: *only* names one that is not there.
    """
    known = {path.parent.name: path for path in sorted(DRIVERS.glob("*/client.toml"))}
    missing = set(only) - known.keys()
    if missing:
        raise ValueError(f"--only: expected {', '.join(known)}, got {', '.join(sorted(missing))}")
    read = [_read(known[name]) for name in sorted(only or known)]
    return sorted(read, key=lambda client: client.name.lower())


def _read(path: Path) -> Client:
    client = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Client)
    return msgspec.structs.replace(client, folder=path.parent)

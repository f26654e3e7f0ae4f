"""What was found is kept for a minute in the user's cache folder, so that a second question asks nobody again."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from llm_pool import __version__
from llm_pool.discovery.models import FoundModel  # noqa: TC001  # msgspec reads the annotation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from llm_pool.discovery.servers import ServerAddress

TTL: Final = 60.0
"""Seconds that a finding is good for."""
MAX_BYTES: Final = 256 * 1024
"""Of the file; more is neither written nor read."""


class _Finding(msgspec.Struct, frozen=True):
    """*at* in Unix seconds; *asked* the addresses, so that another ``OLLAMA_HOST`` is another question."""

    version: str
    at: float
    asked: list[str]
    models: list[FoundModel]


def default_path() -> Path:
    """The file in the user's cache folder, whether it is there or not."""
    from platformdirs import user_cache_path

    return user_cache_path("llm-pool", appauthor=False) / "found-models.json"


def load(path: Path, servers: Sequence[ServerAddress], now: float) -> tuple[FoundModel, ...] | None:
    """What was found at *servers* up to ``TTL`` seconds before *now*, in Unix seconds; None if that is not known."""
    try:
        with path.open("rb") as file:
            finding = msgspec.json.decode(file.read(MAX_BYTES), type=_Finding)
    except (OSError, ValueError):  # msgspec's errors are ValueErrors
        return None
    asked = [server.url for server in servers]
    fresh = finding.version == __version__ and finding.asked == asked and 0 <= now - finding.at < TTL
    return tuple(finding.models) if fresh and all(model.url in asked for model in finding.models) else None


def save(path: Path, servers: Sequence[ServerAddress], models: Sequence[FoundModel], now: float) -> None:
    """Keep what was found; where that cannot be, the next question looks again. The file is replaced, never half."""
    data = msgspec.json.encode(_Finding(__version__, now, [server.url for server in servers], list(models)))
    if len(data) > MAX_BYTES:
        return
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise

"""
Taking up a changed configuration.

::

    file or prompt changed, or SIGHUP ─▶ read ─▶ a mistake? refuse(error) : take(config)

The file system says when to look (``engine.watching``), and looking decides: that sees editors' renames, Kubernetes'
``..data`` links and network volumes alike, as llama-swap does it. What changes is read once it has been still for one
interval, so a file that is being written is not read half; one that is missing is waited for in peace.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeAlias

from llm_pool.core.errors import ConfigError
from llm_pool.engine.watching import FolderEvents

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from llm_pool.config import Config

POLL_INTERVAL = 0.5
"""Seconds between two looks at what is changing, and where the file system does not tell."""

FileSignature: TypeAlias = "tuple[tuple[str, int, int, int], ...]"
"""Of each file its path, inode, size and time of change (ns)."""

_log = logging.getLogger("llm_pool.engine")


class Reloader:
    """
    Reads a configuration again when it changed.

    Args:
        config: what serves now.
        read: reads the configuration; may raise ConfigError. Called off the event loop.
        apply: serves it; may raise ConfigError, and has then told of it.
        reject: told of a configuration that could not be read.
    """

    def __init__(
        self,
        config: Config,
        read: Callable[[], Config],
        apply: Callable[[Config], Awaitable[None]],
        reject: Callable[[ConfigError], None],
    ) -> None:
        self._config, self._read, self._apply, self._reject = config, read, apply, reject
        self._reloading = asyncio.Lock()

    async def reload(self) -> bool:
        """Read the configuration and serve it; whether that went well. Never raises."""
        async with self._reloading:
            try:
                config = await asyncio.to_thread(self._read)
            except ConfigError as error:
                self._reject(error)
                return False
            except Exception as error:  # noqa: BLE001  # whatever a file holds, the pool that serves goes on
                _log.exception("a bug in llm-pool: the configuration was not read")
                self._reject(ended_unexpectedly(self._config, "reading it", error))
                return False
            try:
                await self._apply(config)
            except ConfigError:
                return False
            except Exception:  # noqa: BLE001  # whatever it is, the pool that serves goes on
                _log.exception("a bug in llm-pool: the configuration was not taken")
                return False
            self._config = config
            return True

    async def watch(self, interval: float = POLL_INTERVAL) -> None:
        """Reload whenever the files change, until cancelled; they are still when they are so for *interval* seconds."""
        events = FolderEvents()
        loaded = before = await self._signature()
        try:
            while True:
                if before != loaded:
                    await asyncio.sleep(interval)
                else:
                    await events.wait(await asyncio.to_thread(folders, self._config), interval)
                now = await self._signature()
                if now == before == loaded:  # something else in the folder: a log that grows must not keep us looking
                    await asyncio.sleep(interval)
                if now and now != loaded and now == before:
                    await self.reload()
                    loaded = now
                before = now
        finally:
            await events.aclose()

    async def _signature(self) -> FileSignature:
        return await asyncio.to_thread(signature, self._config)


def ended_unexpectedly(config: Config, what: str, error: BaseException) -> ConfigError:
    """The ConfigError for a failure that no check foresaw: *what* was done when *error* came."""
    got = f"{type(error).__name__} while {what}: {error}"
    return ConfigError(path=config.path, key="", got=got, want="a configuration", hint="the log has the details")


def signature(config: Config) -> FileSignature:
    """
    What the files of *config* look like: the file itself and the prompts.

    Empty while the file is missing, or while something on the way to it cannot be read.
    """
    try:
        if not config.path.is_file():
            return ()
        folders = [path for folder in config.prompt_folders for path in sorted(folder.glob("**/*.md"))]
        return tuple(_file_stats([config.path, *config.prompt_files.values(), *folders]))
    except (OSError, ValueError):  # ValueError: a path with a NUL byte
        return ()


def folders(config: Config) -> frozenset[Path]:
    """The folders in which a change may be one of *config*: those of its file and, where links lead, of its prompts."""
    found = {config.path.parent, *(path.parent for path in config.prompt_files.values())}
    try:
        found.add(config.path.resolve().parent)
        for folder in config.prompt_folders:
            found |= {folder.parent, folder, *(path for path in folder.glob("**/") if path.is_dir())}
        return frozenset(folder for folder in found if folder.is_dir())
    except (OSError, ValueError, RuntimeError):  # as above; RuntimeError: links that lead in a circle
        return frozenset()


def _file_stats(paths: Iterable[Path]) -> Iterable[tuple[str, int, int, int]]:
    for path in paths:
        try:
            found = path.stat()
        except (OSError, ValueError):
            continue
        yield str(path), found.st_ino, found.st_size, found.st_mtime_ns

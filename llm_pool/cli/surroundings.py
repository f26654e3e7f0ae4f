"""What ``health --explain`` says of where the pool runs: the first questions of whoever helps."""

from __future__ import annotations

import os
import platform
from importlib.util import find_spec
from typing import TYPE_CHECKING

from llm_pool import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from llm_pool.cli.console import Console
    from llm_pool.config import Config, ProviderSettings

EXTRAS = {
    "embedded": "xllamacpp",
    "server": "fastapi",
    "client": "httpx2",
    "redis": "redis",
    "otel": "opentelemetry",
    "math": "math_verify",
    "plots": "matplotlib",
}
"""Each extra with a package that only it brings."""


def show_surroundings(config: Config, console: Console) -> None:
    """Print what the pool of *config* runs on, and where its files and providers are."""
    from llm_pool.cli.drawing import grid, text

    table = grid("left", "wrap")
    for name, value in surroundings(config).items():
        table.add_row(text(name, "bold"), text(value))
    console.show(table)
    console.out("")


def surroundings(config: Config) -> dict[str, str]:
    """What is worth saying, by its name."""
    from llm_pool.trust.learning import state_folder

    installed = [extra for extra, package in EXTRAS.items() if find_spec(package) is not None]
    missing = [extra for extra in EXTRAS if extra not in installed]
    return {
        "llm-pool": f"{__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        "extras": f"{', '.join(installed) or 'none'}; without {', '.join(missing) or 'none'}",
        "configuration": str(config.path),
        "state": _folder(state_folder()),
    } | {f"provider {one.name}": _provider(one) for one in config.active_providers}


def _folder(path: Path) -> str:
    """A folder, and whether it can be written, or made."""
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    return f"{path}, {'writable' if os.access(there, os.W_OK) else 'NOT writable'}"


def _provider(one: ProviderSettings) -> str:
    where = f" at {one.base_url}" if one.base_url else ""
    tasks = f", for {', '.join(one.tasks)}" if one.tasks else ""
    return f"{one.driver.value} {one.model}{where}{tasks}{', last resort' if one.last_resort else ''}"

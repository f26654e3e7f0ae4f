"""The files that come with the package: beside it in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent.parent
_SHIPPED = _PACKAGE / "_data"
_FOLDER = _SHIPPED if _SHIPPED.is_dir() else _PACKAGE.parent


def builtin_config() -> Path:
    """The configuration that counts where there is no other."""
    return _FOLDER / "llm-pool.toml"


def prompts_folder() -> Path:
    """The prompt files of the tasks that come with the package."""
    return _FOLDER / "prompts"

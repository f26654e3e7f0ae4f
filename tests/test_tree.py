"""The tree is the one that DESIGN and docs/architecture.md draw: nothing lies loose, and tests mirror the code."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "llm_pool"
FOLDERS = {
    "agreement",
    "cache",
    "cli",
    "client",
    "config",
    "core",
    "discovery",
    "engine",
    "ensemble",
    "evaluation",
    "facade",
    "models",
    "providers",
    "qos",
    "reading",
    "security",
    "server",
    "tasks",
    "telemetry",
    "testing",
    "trust",
    "wire",
}


def test_the_package_has_rooms_and_nothing_loose() -> None:
    entries = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}

    assert entries == FOLDERS | {"__init__.py", "__main__.py", "py.typed"}


def test_every_room_is_on_the_map() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

    assert {name for name in FOLDERS - {"models"} if f"{name}/" not in page} == set()


def test_every_path_on_the_map_exists() -> None:
    """A map that names a file which has moved is worse than none."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = {name for name in re.findall(r"`([\w./]+\.(?:py|md|toml|json)|[\w]+/)`", page) if "NAME" not in name}
    written = {"trust.json", "decisions.jsonl", "llm-pool.toml"}

    missing = {
        name
        for name in named - written
        if not any((base / name).exists() for base in (PACKAGE, ROOT, *(path for path in PACKAGE.iterdir())))
    }
    assert missing == set()


def test_the_glossary_is_short() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

    assert page.partition("## Glossary")[2].count("\n| ") - 1 <= 20


def test_tests_mirror_the_package() -> None:
    """A room's tests stand in the folder of its name."""
    own = {"deploy", "bench", "clients", "contract", "examples", "fuzz", "promises", "recordings", "sdk", "tools"}
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"}

    assert folders - own <= FOLDERS
    assert [path.name for path in (ROOT / "tests").glob("test_*.py")] == ["test_tree.py"]

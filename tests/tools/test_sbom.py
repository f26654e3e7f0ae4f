"""The bill of materials says what the lock says."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SBOM = runpy.run_path(str(ROOT / "tools" / "sbom.py"))


def written(lock: Path) -> dict[str, Any]:
    command = [sys.executable, str(ROOT / "tools" / "sbom.py"), str(lock)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_every_locked_distribution_is_there_with_all_its_hashes(name: str) -> None:
    """Counted in the lock itself; the same lock gives the same bill."""
    lock = ROOT / name
    text, bill = lock.read_text(), written(lock)

    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert len(bill["components"]) == sum("==" in line and not line.startswith(" ") for line in text.splitlines())
    assert sum(len(one["hashes"]) for one in bill["components"]) == text.count("--hash=sha256:")
    assert len({one["bom-ref"] for one in bill["components"]}) == len(bill["components"])
    assert bill == written(lock)


def test_names_are_normalised_and_markers_kept() -> None:
    """PEP 503 for the package URL; the name stays as it is written."""
    lock = f"Typing_Extensions==4.1 ; python_full_version < '3.13' \\\n    --hash=sha256:{'a' * 64}\n"

    assert SBOM["components"](lock) == [
        {
            "type": "library",
            "bom-ref": "pkg:pypi/typing-extensions@4.1",
            "name": "Typing_Extensions",
            "version": "4.1",
            "purl": "pkg:pypi/typing-extensions@4.1",
            "properties": [{"name": "python:marker", "value": "python_full_version < '3.13'"}],
            "hashes": [{"alg": "SHA-256", "content": "a" * 64}],
        }
    ]


@pytest.mark.parametrize(
    ("lock", "said"), [("a==1\n", "no hash for a"), ("a>=1\n", "line 1: expected NAME==VERSION"), ("-e .\n", "line 1")]
)
def test_what_is_not_locked_is_refused(lock: str, said: str) -> None:
    """A bill that leaves something out would be worse than none."""
    with pytest.raises(ValueError, match=said):
        SBOM["components"](lock)

"""Typed end to end: a program that uses the library passes mypy's and pyright's strictest, and mistakes are found."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

CONSUMER = Path(__file__).parent / "consumer"
MISTAKES = [
    number
    for number, line in enumerate((CONSUMER / "mistakes.py").read_text(encoding="utf-8").splitlines(), 1)
    if line.endswith("# ERROR")
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder elsewhere, with the program: the package is found as it is installed."""
    for path in CONSUMER.glob("*.py"):
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


def check(words: list[str], project: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *words], cwd=project, capture_output=True, text=True, check=False)


@pytest.mark.timeout(300)
def test_mypy(project: Path) -> None:
    words = ["mypy", "--strict", "--cache-dir", str(Path(__file__).parents[2] / ".mypy_cache" / "consumer")]

    good, bad = check([*words, "consumer.py"], project), check([*words, "mistakes.py"], project)

    assert (good.returncode, good.stdout.strip()) == (0, "Success: no issues found in 1 source file")
    assert sorted({int(line) for line in re.findall(r"mistakes\.py:(\d+): error", bad.stdout)}) == MISTAKES


@pytest.mark.timeout(300)
def test_pyright(project: Path) -> None:
    """As basedpyright, which brings everything it needs."""
    pytest.importorskip("basedpyright")
    settings = {"typeCheckingMode": "strict", "pythonVersion": "3.11"}
    (project / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")

    good = check(["basedpyright", "--pythonpath", sys.executable, "--outputjson", "consumer.py"], project)
    bad = check(["basedpyright", "--pythonpath", sys.executable, "--outputjson", "mistakes.py"], project)

    assert json.loads(good.stdout)["generalDiagnostics"] == []
    found = json.loads(bad.stdout)["generalDiagnostics"]
    assert sorted({each["range"]["start"]["line"] + 1 for each in found}) == MISTAKES

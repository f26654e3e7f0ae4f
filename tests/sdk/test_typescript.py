"""The TypeScript SDK passes its own tests: types, the vectors, live daemons, Chromium, the pages, its size."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "sdk" / "typescript"
NPM = shutil.which("npm")


def npm(*words: str) -> subprocess.CompletedProcess[str]:
    assert NPM is not None
    environ = {**os.environ, "LLM_POOL_PYTHON": sys.executable}
    return subprocess.run([NPM, *words], cwd=PACKAGE, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.skipif(NPM is None, reason="npm is not here")
@pytest.mark.timeout(900)
def test_its_tests_pass() -> None:
    """``npm ci && npm test``; skipped where the packages cannot be had."""
    fetched = npm("ci", "--no-audit", "--no-fund", "--ignore-scripts")
    if fetched.returncode:
        pytest.skip(f"npm ci: {fetched.stderr[-300:]}")

    done = npm("test")

    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


def test_its_version_is_ours() -> None:
    ours = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

    for name in ("package.json", "package-lock.json"):
        assert json.loads((PACKAGE / name).read_text(encoding="utf-8"))["version"] == ours


def test_no_file_names_a_registry() -> None:
    """Where packages come from is a matter of the machine."""
    lock = (PACKAGE / "package-lock.json").read_text(encoding="utf-8")

    assert '"resolved"' not in lock
    assert lock.count('"integrity"') > 50

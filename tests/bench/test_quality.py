"""bench/quality runs on the sample that comes with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_whole_pool_decides_as_the_rules_alone() -> None:
    """It exits with 1 if a verdict that came over sockets is not the one of the rules."""
    command = [sys.executable, "-m", "bench.quality", "--seeds", "1", "--upstream", "6"]

    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)

    assert ran.returncode == 0, ran.stderr
    assert "of 6: FASTEST 6, VOTING 6, WEIGHTED 6, CONSENSUS 6." in ran.stdout
    assert "| FASTEST, all at once |" in ran.stdout
    assert "0 verdicts change" in ran.stdout
    assert all(f"| {model} | 32 | 32 | 0 | 100.0 % |" in ran.stdout for model in ("phi", "llama", "gemma"))

"""bench/eval runs on the sample that comes with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_intervals_hold_on_the_sample() -> None:
    """It exits with 1 if an interval holds too seldom, or a recommendation is worse than promised."""
    command = [sys.executable, "-m", "bench.eval", "--draws", "2"]

    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)

    assert ran.returncode == 0, ran.stderr
    assert "| WEIGHTED: difference |" in ran.stdout

"""bench/repair.py runs on the sample that comes with it."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "repair.py"


def test_the_sample_is_read_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It exits with 1 if a right answer is lost."""
    monkeypatch.setattr(sys, "argv", [str(BENCH)])

    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(BENCH), run_name="__main__")

    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "with a key 15: read 15, right ones lost 0" in said
    assert "equal to the key: 15; of the 14 right ones, 14" in said
    assert "of these different from the whole 0" in said
    assert all(
        f"| {repair} | · | · | · | · | · |" not in said for repair in ("newlines", "backslashes", "tolerant", "stated")
    )

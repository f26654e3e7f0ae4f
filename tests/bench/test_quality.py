"""bench/quality runs on the sample that comes with it."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_whole_pool_decides_as_the_rules_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It exits with 1 if a verdict that came over sockets is not the one of the rules."""
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.setattr(sys, "argv", ["bench.quality", "--seeds", "1", "--upstream", "6"])

    with pytest.raises(SystemExit) as ended:
        runpy.run_module("bench.quality", run_name="__main__")

    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "of 6: FASTEST 6, VOTING 6, WEIGHTED 6, CONSENSUS 6." in said
    assert "| FASTEST, all at once |" in said
    assert "0 verdicts change" in said
    assert all(f"| {model} | 32 | 32 | 0 | 100.0 % |" in said for model in ("phi", "llama", "gemma"))

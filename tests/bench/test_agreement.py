"""bench/agreement keeps its promise on its own pairs, and notices where it is broken."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAIRS = [json.loads(line) for line in (ROOT / "bench/agreement/pairs.jsonl").read_text(encoding="utf-8").splitlines()]


def ran(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.agreement", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)


def test_there_are_enough_pairs_of_both_kinds() -> None:
    """At least a hundred texts that say the same, a hundred that do not; each pair once, and no pair of equals."""
    texts = [pair["same"] for pair in PAIRS if pair["kind"] == "text"]

    assert min(texts.count(True), texts.count(False)) >= 100
    assert len({(pair["kind"], pair["one"], pair["other"]) for pair in PAIRS}) == len(PAIRS)
    assert all(pair["one"] != pair["other"] for pair in PAIRS)


def test_what_is_called_the_same_is_the_same() -> None:
    """In at least 99 of 100 cases, or it exits with 1."""
    done = ran()

    assert done.returncode == 0, done.stdout
    assert "| text |" in done.stdout


def test_a_broken_promise_is_told(tmp_path: Path) -> None:
    """One pair that the rule takes for the same, and that is said not to be."""
    pairs = tmp_path / "pairs.jsonl"
    wrong = {"kind": "text", "what": "trifle", "same": False, "one": "Yes.", "other": "yes"}
    right = {"kind": "text", "what": "trifle", "same": True, "one": "No.", "other": "no"}
    pairs.write_text("\n".join(json.dumps(pair) for pair in (wrong, right)), encoding="utf-8")

    done = ran(str(pairs), "--errors")

    assert done.returncode == 1
    assert "same, but same is False: 'Yes.' / 'yes'" in done.stdout

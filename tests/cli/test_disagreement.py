"""Answers that contradict each other, as a person meets them: no agreement, the judge asked, three clusters shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from llm_pool.cli.exit_codes import ExitCode
from llm_pool.testing.processes import running_upstream

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[str]]
    Configure = Callable[..., Path]

MODELS = ("phi3:mini", "llama3.1:8b", "gemma2:9b")
SAYING = {
    "How long?": [f"Refunds are accepted within {days} days of purchase." for days in (60, 30, 90)],
    "Is 17 prime?": ["17 is not a prime number.", "17 is a prime number.", "17 is a **prime** number"],
}
SETTINGS = """\
providers = ["phi3", "llama31", "gemma2"]
[judge]
model_provider = "judge"
deadline_ms = 5000
[ensemble.consensus]
strict = {strict}
"""


@pytest.fixture
def saying(tmp_path: Path, configure: Configure) -> Iterator[Callable[..., None]]:
    """Three models that say what SAYING has, and a fourth that judges: it likes what it is shown first."""
    answers = tmp_path / "answers.jsonl"
    rows = [
        {"prompt": prompt, "models": {model: {"raw": raw} for model, raw in zip(MODELS, said, strict=True)}}
        for prompt, said in SAYING.items()
    ]
    answers.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    words = [word for model in (*MODELS, "judge:1b") for word in ("--model", model)]
    with running_upstream(*words, "--answers", str(answers)) as url:

        def write(*, strict: bool = False) -> None:
            configure(url, *MODELS, "judge:1b", more=SETTINGS.format(strict=str(strict).lower()))

        write()
        yield write


def test_a_strict_consensus_refuses_contradictions_and_shows_them(saying: Callable[..., None], llm_pool: Run) -> None:
    """Nearly the same letters, three different answers: exit 76, nothing on stdout, and each answer on its line."""
    saying(strict=True)

    done = llm_pool("infer", "-s", "consensus", "--explain", "How long?")

    assert (done.returncode, done.stdout) == (ExitCode.PROTOCOL, "")
    assert "no consensus: agreement 0.33, 1.00 asked for" in done.stderr
    assert all(f"1.000 {name}  “{said[:20]}" in done.stderr for name, said in _said("How long?"))
    assert "★" not in done.stderr


@pytest.mark.parametrize("strategy", ["consensus", "judge"])
def test_the_judge_is_asked_about_contradictions(strategy: str, saying: Callable[..., None], llm_pool: Run) -> None:
    """By JUDGE, and by CONSENSUS that falls back on it."""
    done = llm_pool("infer", "-s", strategy, "--explain", "--no-stream", "How long?")

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in SAYING["How long?"]
    assert "agreement 0.33" in done.stderr
    assert "judge judge" in done.stderr
    assert all(said[:20] in done.stderr for _, said in _said("How long?"))


@pytest.mark.parametrize("strategy", ["voting", "weighted"])
def test_two_win_against_one_with_a_negation(strategy: str, saying: Callable[..., None], llm_pool: Run) -> None:
    """And the text is one of theirs."""
    done = llm_pool("infer", "-s", strategy, "--json", "Is 17 prime?")

    answer = json.loads(done.stdout)
    assert answer["content"] in SAYING["Is 17 prime?"][1:]
    assert answer["decision"]["agreement"] == pytest.approx(2 / 3, abs=1e-3)


def _said(prompt: str) -> list[tuple[str, str]]:
    return list(zip(("phi3", "llama31", "gemma2"), SAYING[prompt], strict=True))

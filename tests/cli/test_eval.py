"""``llm-pool eval`` as typed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import NOBODY, Configure, Run

PAGE = Path(__file__).parents[2] / "docs" / "eval.md"


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Twelve questions; the upstream's models say their own name before what they heard."""
    path = tmp_path / "questions.jsonl"
    lines = [{"prompt": f"question {number}", "expected": "gemma2" if number < 9 else "heard"} for number in range(12)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.usefixtures("config")
def test_it_asks_once_and_decides_by_every_strategy(llm_pool: Run, questions: Path, tmp_path: Path) -> None:
    done = llm_pool("eval", str(questions), "--score", "contains", "--json", "--report", "r.html", "--report", "r.md")

    found = json.loads(done.stdout)
    rows = {row["name"]: row for row in found["sections"][0]["rows"]}
    assert done.returncode == 0, done.stderr
    assert list(rows) == ["phi3", "llama31", "gemma2", "FASTEST", "VOTING", "WEIGHTED", "CONSENSUS", "JUDGE"]
    assert (rows["gemma2"]["right"]["value"], rows["phi3"]["right"]["value"]) == (1.0, 0.25)
    assert (tmp_path / "r.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "| gemma2 | 100.0 " in (tmp_path / "r.md").read_text(encoding="utf-8")
    assert (tmp_path / "questions.answers.jsonl").exists()


@pytest.mark.usefixtures("config")
def test_a_replay_says_the_same_and_asks_nobody(
    llm_pool: Run, questions: Path, configure: Configure, tmp_path: Path
) -> None:
    first = llm_pool("eval", str(questions), "--score", "contains")
    configure(NOBODY)

    again = llm_pool("eval", "--replay", "questions.answers.jsonl", "--score", "contains")

    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout
    assert max(len(line) for line in first.stdout.splitlines() if line.startswith(("phi3", "FASTEST"))) <= 80


def test_it_applies_what_it_shows(llm_pool: Run, questions: Path, config: Path, tmp_path: Path) -> None:
    before = config.read_text(encoding="utf-8")
    asked = llm_pool("eval", str(questions), "--score", "contains", "--apply")
    unchanged = config.read_text(encoding="utf-8")

    done = llm_pool("eval", str(questions), "--score", "contains", "--apply", "--yes")

    assert (asked.returncode, unchanged) == (2, before)
    assert "there is nobody to ask" in asked.stderr
    assert done.returncode == 0, done.stderr
    assert "+ask = " in done.stdout
    assert config.read_text(encoding="utf-8") != before
    assert llm_pool("config", "check").returncode == 0
    assert not (tmp_path / "state" / "trust.json").exists()  # this configuration has trust switched off


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("eval",), 2, "QUESTIONS: there is no file"),
        (("eval", "none.jsonl"), 2, "cannot read none.jsonl: no such file"),
        (("eval", "--replay", "none.jsonl"), 2, "there is no none.jsonl"),
        (("eval", "q", "--provider", "phi4"), 2, "--provider: there is no provider 'phi4'"),
        (("eval", "q", "--score", "best"), 2, "expected task, exact, contains, regex or choice, got 'best'"),
        (("eval", "q", "--report", "r.pdf"), 2, "expected a name that ends in .md, .html, .json"),
        (("eval", "q", "--yes"), 2, "it says yes to --apply"),
    ],
)
@pytest.mark.usefixtures("config")
def test_mistakes_are_told(llm_pool: Run, words: tuple[str, ...], code: int, said: str) -> None:
    done = llm_pool(*words)

    assert done.returncode == code
    assert said in done.stderr


def test_where_nobody_listens_it_exits_as_infer_does(llm_pool: Run, questions: Path, configure: Configure) -> None:
    configure(NOBODY)

    done = llm_pool("eval", str(questions))

    assert done.returncode == 69
    assert "nobody listens" in done.stderr


def test_ctrl_c_keeps_what_is_there(command: list[str], upstream: str, configure: Configure, tmp_path: Path) -> None:
    configure(upstream)
    path = tmp_path / "many.jsonl"
    path.write_text("".join(f'{{"prompt": "question {number}"}}\n' for number in range(3000)), encoding="utf-8")
    kept = tmp_path / "many.answers.jsonl"
    process = subprocess.Popen([*command, "eval", str(path)], stderr=subprocess.PIPE, text=True, env=os.environ)
    until = time.monotonic() + 20
    while time.monotonic() < until and (not kept.exists() or kept.read_bytes().count(b'"answer"') < 5):
        time.sleep(0.05)

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "the same command goes on from there" in said
    assert all(json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines())


@pytest.mark.usefixtures("config")
def test_the_examples_of_the_page_do_what_it_says(tmp_path: Path) -> None:
    """One shell session, from top to bottom."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "llm-pool"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m llm_pool "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    env = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        for example in block.split("$ ")[1:]:
            line, _, shown = example.partition("\n")
            done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=env, check=False)

            assert (done.stdout, done.returncode) == (shown, 0), done.stderr

"""``llm-pool compare`` and ``llm-pool why``: who said what, and how it came about."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.cli import recent
from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.recent import MAX_BYTES, decisions_path, keep, kept
from llm_pool.testing import an_answer
from llm_pool.testing.processes import running_upstream

if TYPE_CHECKING:
    import subprocess

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Configure = Callable[..., Path]
QUESTION = "Is 17 prime?"


@pytest.fixture
def divided(configure: Configure, tmp_path: Path) -> Iterator[str]:
    """Two of three say the same."""
    said = {"phi3:mini": {"raw": "Yes."}, "llama3.1:8b": {"raw": "No."}, "gemma2:9b": {"raw": "Yes."}}
    answers = tmp_path / "answers.jsonl"
    answers.write_text(json.dumps({"prompt": QUESTION, "models": said}), encoding="utf-8")
    models = [word for model in said for word in ("--model", model)]
    with running_upstream(*models, "--answers", str(answers)) as url:
        configure(url)
        yield url


@pytest.mark.usefixtures("divided")
def test_everybody_answers_and_those_who_say_the_same_share_a_cluster(llm_pool: Run) -> None:
    """With time, tokens and speed of each; nobody's answer comes from a cache."""
    done = llm_pool("compare", QUESTION, "--json")

    told = json.loads(done.stdout)
    assert done.returncode == 0
    assert {one["provider"]: one["content"] for one in told["answers"]} == {
        "phi3": "Yes.",
        "llama31": "No.",
        "gemma2": "Yes.",
    }
    assert told["clusters"] == [["phi3", "gemma2"], ["llama31"]]
    assert all(one["duration_ms"] > 0 and one["completion_tokens"] == 1 for one in told["answers"])


@pytest.mark.usefixtures("divided")
@pytest.mark.parametrize(("columns", "rows"), [(80, 2), (120, 1)])
def test_answers_stand_beside_each_other_as_far_as_there_is_room(columns: int, rows: int, llm_pool: Run) -> None:
    lines = llm_pool("compare", QUESTION, COLUMNS=str(columns)).stdout.splitlines()

    assert max(map(len, lines)) <= columns
    assert sum(line.startswith("╭") for line in lines) == rows
    assert "A  phi3, gemma2  say the same" in lines
    assert "B  llama31" in lines


@pytest.mark.usefixtures("divided")
def test_one_who_cannot_answer_says_why_and_the_others_answer(tmp_path: Path, llm_pool: Run) -> None:
    dead = '[[providers]]\nname = "dead"\ndriver = "ollama"\nbase_url = "http://127.0.0.1:1"\nmodel = "m"\n'
    with (tmp_path / "llm-pool.toml").open("a", encoding="utf-8") as config:
        config.write(dead)

    some = json.loads(llm_pool("compare", QUESTION, "--json", "--provider", "dead", "--provider", "phi3").stdout)
    none = llm_pool("compare", QUESTION, "--provider", "dead")

    assert {(one["provider"], one["content"], one["error"]) for one in some["answers"]} == {
        ("phi3", "Yes.", None),
        ("dead", None, "nobody listens at 127.0.0.1:1"),
    }
    assert (none.returncode, "nobody listens at" in none.stdout) == (ExitCode.UNAVAILABLE, True)
    assert llm_pool("compare", QUESTION, "--provider", "phi").returncode == ExitCode.USAGE


@pytest.mark.usefixtures("divided")
def test_why_draws_what_explain_drew_and_keeps_neither_question_nor_answer(llm_pool: Run) -> None:
    explained = llm_pool("infer", QUESTION, "-s", "voting", "--explain", "--request-id", "q7")
    llm_pool("infer", "something else")

    last, named = llm_pool("why"), llm_pool("why", "q7")
    drawn = [line for line in explained.stderr.splitlines() if " vote " in line]
    assert "ask · FASTEST" in last.stdout
    assert [line for line in named.stdout.splitlines() if " vote " in line] == drawn
    assert named.stdout.splitlines()[0].endswith("  q7")
    assert json.loads(llm_pool("why", "-n", "9", "--json").stdout)[0]["request_id"] == "q7"

    text = decisions_path().read_text(encoding="utf-8")
    assert not {"17", "prime", "Yes.", "something", "heard"} & set(text.replace('"', " ").split())
    assert decisions_path().stat().st_mode & 0o777 == 0o600

    missing = llm_pool("why", "q8")
    assert (missing.returncode, "no decision of 'q8' is kept here" in missing.stderr) == (ExitCode.USAGE, True)


def test_with_capture_the_answers_are_kept_too(divided: str, configure: Configure, llm_pool: Run) -> None:
    configure(divided, more="[telemetry]\ncapture = true\n")
    llm_pool("infer", QUESTION, "-s", "voting")

    assert "“Yes.”" in llm_pool("why").stdout


def test_nothing_asked_is_no_error(llm_pool: Run) -> None:
    done = llm_pool("why")
    assert (done.returncode, done.stdout) == (0, "")
    assert "nothing was asked yet" in done.stderr
    assert json.loads(llm_pool("why", "--json").stdout) == []


def test_what_is_kept_is_bounded_and_the_newest_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "MAX_BYTES", 20_000)
    for number in range(100):
        keep(_named(f"r{number}"), wall=float(number), text=False)

    assert decisions_path().stat().st_size <= 20_000 < MAX_BYTES
    found = [answer.request_id for _, answer in kept()]
    assert found[0] == "r99"
    assert found == [f"r{99 - index}" for index in range(len(found))]
    assert len(found) > 5


def test_a_damaged_line_and_a_folder_that_cannot_be_written_hurt_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(_named("good"), wall=1.0, text=False)
    with decisions_path().open("ab") as log:
        log.write(b'{"at": 2, "answer": {}}\nnonsense\n{"at"')
    assert [answer.request_id for _, answer in kept()] == ["good"]

    (tmp_path / "file").touch()
    monkeypatch.setenv("LLM_POOL_STATE", str(tmp_path / "file" / "below"))
    keep(_named("lost"), wall=3.0, text=False)


def _named(request_id: str) -> Any:
    import msgspec

    return msgspec.structs.replace(an_answer("secret"), request_id=request_id)

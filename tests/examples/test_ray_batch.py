"""The recipe for Ray, on a real Ray of two cores and a real daemon: ``poe ray``, with the extra `ray`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.testing.processes import running_daemon, running_upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("ray", reason="the extra `ray` is not here")
pytestmark = pytest.mark.timeout(900)

SCRIPT = Path(__file__).parents[2] / "examples" / "ray_batch.py"
CONFIG = """
[server]
http_addr = "127.0.0.1:0"
grpc_addr = "127.0.0.1:0"
[[providers]]
name = "small"
driver = "ollama"
base_url = "{url}"
model = "{model}"
"""


@pytest.fixture
def upstream() -> Iterator[str]:
    with running_upstream("--model", "phi3:mini", "--model", "llama3.1:8b", "--ttft", "const:0.02") as url:
        yield url


def config(folder: Path, upstream: str, model: str = "phi3:mini") -> Path:
    path = folder / f"{model.partition(':')[0]}.toml"
    path.write_text(CONFIG.format(url=upstream, model=model), encoding="utf-8")
    return path


@pytest.fixture
def url(upstream: str, tmp_path: Path) -> Iterator[str]:
    """The address of a daemon."""
    with running_daemon(config(tmp_path, upstream)) as urls:
        yield urls["http"]


def command(questions: Path, answers: Path, url: str, *more: str) -> list[str]:
    return [sys.executable, str(SCRIPT), str(questions), str(answers), "--url", url, *more]


def run(*words: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), capture_output=True, text=True, check=False, timeout=600)


def questions(path: Path, count: int) -> Path:
    path.write_text("".join(json.dumps({"id": f"q{n}", "prompt": f"number {n}?"}) + "\n" for n in range(count)))
    return path


def rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [json.loads(line) for path in folder.glob(f"{kind}-*.jsonl") for line in path.read_text().splitlines()]


def test_bad_rows_fail_alone_and_are_asked_again(tmp_path: Path, url: str) -> None:
    file, folder = questions(tmp_path / "q.jsonl", 100), tmp_path / "answers"
    with file.open("ab") as more:
        more.write(
            b'not json\n[1]\n{"id":"empty","prompt":""}\n{"id":"odd","prompt":"\xff"}\n\n{"id":"none","nope":1}\n'
        )
        more.write(b"[" * 5000 + b"\n")

    done = run(file, folder, url)

    assert done.returncode == 1, done.stderr
    assert sorted(row["id"] for row in rows(folder, "answers")) == sorted(f"q{n}" for n in range(100))
    assert {row["content"] for row in rows(folder, "answers")} == {f"phi3:mini heard: number {n}?" for n in range(100)}
    assert len(rows(folder, "failures")) == 6

    file.write_bytes(file.read_bytes().replace(b'{"id":"empty","prompt":""}', b'{"id":"empty","prompt":"now"}'))
    again = run(file, folder, url)

    assert "1 answered, 5 failed" in again.stderr
    assert len(rows(folder, "answers")) == 101


def test_a_job_that_was_killed_goes_on(tmp_path: Path, url: str) -> None:
    """Nothing is lost and nothing is there twice, whenever it is killed."""
    file, folder = questions(tmp_path / "q.jsonl", 2000), tmp_path / "answers"
    with subprocess.Popen(command(file, folder, url, "--at-once", "2"), start_new_session=True) as job:
        while len(list(folder.glob("answers-*.jsonl"))) < 3:
            time.sleep(0.05)
            assert job.poll() is None
        os.killpg(job.pid, signal.SIGKILL)
    subprocess.run([Path(sys.executable).with_name("ray"), "stop", "--force"], capture_output=True, check=False)
    before = len(rows(folder, "answers"))

    done = run(file, folder, url)

    assert done.returncode == 0, done.stderr
    assert 0 < before < 2000
    assert f"{2000 - before} answered" in done.stderr
    assert sorted(row["id"] for row in rows(folder, "answers")) == sorted(f"q{n}" for n in range(2000))


def test_answers_of_another_configuration_are_not_gone_on_with(tmp_path: Path, url: str, upstream: str) -> None:
    file, folder = questions(tmp_path / "q.jsonl", 10), tmp_path / "answers"
    assert run(file, folder, url).returncode == 0

    with running_daemon(config(tmp_path, upstream, "llama3.1:8b")) as other:
        refused = [run(file, folder, other["http"]), run(file, folder, url, "--deadline", "9")]

    assert all("other models or options" in one.stderr and one.returncode == 1 for one in refused)
    assert len(rows(folder, "answers")) == 10

"""
Many questions on a Ray cluster, answered by daemons: JSON lines in, JSON lines out.

    pip install 'llm-pool[client]' 'ray[data]'
    python ray_batch.py questions.jsonl answers/ --url http://llm-pool:80 --task expand_queries

A line is ``{"id": "q1", "prompt": "..."}``, and may have what ``Pool.infer`` takes: ``task``, ``strategy``,
``max_tokens`` and so on. Without an ``id`` it is the number of its line; such a file must stay as it is between runs.

The folder is one that all nodes share, if there are several. It gets ``answers-*.jsonl``, each file written whole or
not at all, and ``failures-*.jsonl`` for what had no answer. The same command again goes on: what is answered is not
asked again, what failed is. If other models or options would answer by then, it is refused, as the answers would be of
two kinds. docs/batch.md has the rest.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from array import array
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_pool import Pool
from llm_pool.core.errors import AllProvidersUnavailable, LlmPoolError, Overloaded, RateLimited, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

LINES = 64  # of a part: what one call answers, and what a crash may cost
BLOCKS = 1000  # that the parts are dealt out in


@dataclass(frozen=True)
class Job:
    """
    What is asked, and of whom.

    Attributes:
        options: what a line that says nothing else asks for, as ``Pool.infer`` takes it.
        at_once: questions under way in each asker.
        patience: seconds that a busy or absent daemon is waited for before a question counts as failed.
    """

    questions: str
    answers: str
    url: str
    options: dict[str, Any]
    at_once: int
    patience: float

    def fingerprint(self) -> str:
        """Of everything that an answer depends on: the options, the daemon's version and its models."""
        with Pool(url=self.url) as pool:
            health = pool.health()
        models = sorted((state.name, state.model) for state in health.states)
        said = json.dumps([self.options, health.version, models], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()


class Asker:
    """Answers parts of the file: an actor that lives as long as the job, with one client."""

    def __init__(self, job: Job, answered: np.ndarray) -> None:
        self._job, self._answered = job, answered
        self._pool = Pool(url=job.url)
        self._threads = ThreadPoolExecutor(job.at_once)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[int]]:
        """One part; how many of its lines were answered, had been, and failed."""
        [start], [first] = batch["start"], batch["line"]
        path = Path(self._job.answers, f"answers-{start:014}.jsonl")
        written = set(ids_in(path))  # by an asker that died before it could say so
        lines = [
            (row_id, line)
            for number, line in read_part(self._job.questions, int(start), int(first))
            if (row_id := id_of(line, number)) not in written and not self._has(row_id)
        ]
        results = list(self._threads.map(self._answer, lines))
        answers = [result for result in results if "error" not in result]
        failures = [result for result in results if "error" in result]
        add(path, answers)
        add(path.with_name(f"failures-{start:014}.jsonl"), failures)
        return {"answered": [len(answers)], "failed": [len(failures)]}

    def _has(self, row_id: str | int) -> bool:
        place = np.searchsorted(self._answered, digest(row_id))
        return bool(place < len(self._answered) and self._answered[place] == digest(row_id))

    def _answer(self, row: tuple[str | int, bytes]) -> dict[str, Any]:
        """A row's answer or its error: nothing that is in a row ends the job."""
        row_id, line = row
        try:
            question = json.loads(line)
            options = self._job.options | {key: value for key, value in question.items() if key not in {"id", "prompt"}}
            answer = self._patiently(question["prompt"], options)
        except LlmPoolError as error:
            return {"id": row_id, "error": {"type": type(error).__name__, "message": str(error)}}
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
            said = f"expected an object with a prompt: {type(error).__name__}: {error}"
            return {"id": row_id, "error": {"type": "InvalidRequest", "message": said}}
        value = answer.value if isinstance(answer.value, dict | list) else None
        return {
            "id": row_id,
            "content": answer.content,
            "json": value,
            "winner": answer.winner,
            "degraded": answer.degraded,
        }

    def _patiently(self, prompt: Any, options: dict[str, Any]) -> Any:
        until = time.monotonic() + self._job.patience
        while True:
            try:
                return self._pool.infer(prompt, **options)
            except (AllProvidersUnavailable, Overloaded, RateLimited, Unreachable) as error:
                wait = max(getattr(error, "retry_after", None) or 0.0, 0.5)
                if time.monotonic() + wait > until:
                    raise
                time.sleep(wait)


def parts(path: str) -> Iterator[dict[str, int]]:
    """Where each part of the file begins: the bytes before it, and the number of its first line."""
    with open(path, "rb") as file:  # noqa: PTH123  # read once, from front to back
        start = 0
        for number, line in enumerate(file):
            if number % LINES == 0:
                yield {"start": start, "line": number + 1}
            start += len(line)


def read_part(path: str, start: int, first: int) -> Iterator[tuple[int, bytes]]:
    """The lines of a part with their numbers, without blank ones."""
    with open(path, "rb") as file:  # noqa: PTH123
        file.seek(start)
        for number in range(first, first + LINES):
            line = file.readline()
            if line.strip():
                yield number, line


def id_of(line: bytes, number: int) -> str | int:
    """The row's own id, or its number."""
    try:
        row_id = json.loads(line)["id"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return number
    return row_id if isinstance(row_id, str | int) else number


def digest(row_id: str | int) -> np.uint64:
    """
    Eight bytes for an id of any length, so that a hundred million rows take 800 MB.

    The chance that any two of so many share one, and the later is not asked, is n^2 / 2^65: 1 in 3,700.
    """
    return np.uint64(int.from_bytes(hashlib.blake2b(json.dumps(row_id).encode(), digest_size=8).digest()))


def ids_in(path: Path) -> Iterator[str | int]:
    """The ids of the rows in a file of answers; none where there is no file."""
    if path.exists():
        with path.open("rb") as file:
            yield from (json.loads(line)["id"] for line in file)


def add(path: Path, rows: list[dict[str, Any]]) -> None:
    """Add *rows* to the file at *path*: all of them or none, and those that were there stay."""
    if not rows:
        return
    before = path.read_bytes() if path.exists() else b""
    half = path.with_suffix(f".{time.time_ns()}")
    half.write_bytes(before + b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    half.replace(path)


def take_up(job: Job) -> np.ndarray:
    """
    Go on with the folder, or begin it; digests of the ids that are answered, sorted.

    Raises:
        SystemExit: what is in it was asked in another way.
    """
    folder, fingerprint = Path(job.answers), job.fingerprint()
    folder.mkdir(parents=True, exist_ok=True)
    known = folder / "fingerprint"
    if known.exists() and known.read_text() != fingerprint:
        sys.exit(f"{folder} has answers of other models or options: take another folder, or ask as then")
    known.write_text(fingerprint)
    for failures in folder.glob("failures-*.jsonl"):
        failures.unlink()  # they are asked again
    answered = array("Q")
    for path in folder.glob("answers-*.jsonl"):
        answered.extend(int(digest(row_id)) for row_id in ids_in(path))
    return np.sort(np.frombuffer(answered, np.uint64)) if answered else np.empty(0, np.uint64)


def run(job: Job, *, askers: int) -> tuple[int, int]:
    """Ask what is left; how many rows were answered, and how many failed."""
    import ray

    answered = take_up(job)
    ray.init(ignore_reinit_error=True, log_to_driver=False)
    begin = list(parts(job.questions))
    if not begin:
        return 0, 0
    counts = ray.data.from_items(begin, override_num_blocks=min(len(begin), BLOCKS)).map_batches(
        Asker,
        fn_constructor_args=(job, answered),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=askers),
        num_cpus=0.1,  # an asker waits for the daemon nearly all the time
    )
    done = failed = 0
    for row in counts.iter_rows():
        done, failed = done + row["answered"], failed + row["failed"]
    return done, failed


def main() -> int:
    """0: every row is answered; 1: some are not, and the same command asks them again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", help="a file of JSON lines")
    parser.add_argument("answers", help="a folder")
    parser.add_argument("--url", default="http://127.0.0.1:7071", help="the daemon, or the Service before several")
    parser.add_argument("--task")
    parser.add_argument("--strategy")
    parser.add_argument("--deadline", type=float, default=60.0, metavar="S", help="seconds of each question")
    parser.add_argument("--askers", type=int, default=2, help="actors; each has --at-once questions under way")
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--patience", type=float, default=300.0, metavar="S", help="seconds to wait for a busy daemon")
    said = parser.parse_args()
    options = {key: value for key in ("task", "strategy", "deadline") if (value := getattr(said, key)) is not None}
    questions, answers = str(Path(said.questions).resolve()), str(Path(said.answers).resolve())
    job = Job(questions, answers, said.url, options, said.at_once, said.patience)
    done, failed = run(job, askers=said.askers)
    print(f"{done} answered, {failed} failed; {job.answers}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

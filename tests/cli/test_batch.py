"""``infer --input``: from files and into files, in parts, gone on with, and however long."""

from __future__ import annotations

import io
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.cli.batch import BatchOptions, answer_lines
from llm_pool.cli.batch_input import BatchLine, Shard, batch_lines, count_lines
from llm_pool.cli.batch_output import DoneLines
from llm_pool.cli.console import Console
from llm_pool.cli.exit_codes import ExitCode
from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Query
from llm_pool.testing import an_answer

ROOT = Path(__file__).parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = pytest.mark.usefixtures("config")


def written(path: str = "out.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def questions() -> Path:
    """Five lines, the fourth of which asks nothing."""
    path = Path("in.jsonl")
    path.write_text('"a"\n"b"\n"c"\n{"prompt": 7}\n"e"\n', encoding="utf-8")
    return path


BATCH = ("infer", "--input", "in.jsonl", "--output", "out.jsonl")


@pytest.mark.usefixtures("questions")
def test_answers_go_to_a_file_and_what_it_has_is_not_asked_again(llm_pool: Run) -> None:
    first = llm_pool(*BATCH)
    assert (first.returncode, first.stdout) == (ExitCode.PARTIAL, "")
    assert [line["line"] for line in written()] == [1, 2, 3, 4, 5]

    refused = llm_pool(*BATCH)
    assert refused.returncode == ExitCode.USAGE
    assert "out.jsonl is there already\nhint: --resume goes on with it" in refused.stderr

    again = llm_pool(*BATCH, "--resume")
    assert (again.returncode, again.stderr.splitlines()[-1]) == (0, "0 answered, 0 failed, 5 were there")
    assert len(written()) == 5


def test_an_interrupted_run_goes_on_and_failed_lines_are_asked_again_on_request(questions: Path, llm_pool: Run) -> None:
    """A line that was not written whole is asked again; the failed one only where somebody says so."""
    llm_pool(*BATCH)
    lines = Path("out.jsonl").read_bytes().splitlines(keepends=True)
    Path("out.jsonl").write_bytes(b"".join([*lines[:1], lines[3], lines[1][:20]]))
    questions.write_text('"a"\n"b"\n"c"\n"d"\n"e"\n', encoding="utf-8")

    done = llm_pool(*BATCH, "--resume")
    assert done.stderr.splitlines()[-1] == "3 answered, 0 failed, 2 were there"
    assert [(line["line"], "error" in line) for line in written()] == [
        (1, False),
        (4, True),
        (2, False),
        (3, False),
        (5, False),
    ]

    done = llm_pool(*BATCH, "--resume", "--retry-failed")
    assert done.stderr.splitlines()[-1] == "1 answered, 0 failed, 4 were there"
    assert sorted(line["line"] for line in written()) == [1, 2, 3, 4, 5]
    assert not any("error" in line for line in written())


@pytest.mark.usefixtures("questions")
def test_a_file_that_is_something_else_is_left_as_it_is(llm_pool: Run) -> None:
    Path("out.jsonl").write_text('{"line": 1}\nmy notes\n', encoding="utf-8")
    done = llm_pool(*BATCH, "--resume")

    assert done.returncode == ExitCode.USAGE
    assert "--resume: out.jsonl:2 is no line of such a run" in done.stderr
    assert Path("out.jsonl").read_text(encoding="utf-8") == '{"line": 1}\nmy notes\n'
    assert sorted(path.name for path in Path().glob("*out*")) == ["out.jsonl"]


@pytest.mark.usefixtures("questions")
def test_parts_are_all_of_it_and_no_line_twice(llm_pool: Run) -> None:
    found = [
        json.loads(line)["line"]
        for part in ("1/2", "2/2")
        for line in llm_pool("infer", "--input", "in.jsonl", "--shard", part).stdout.splitlines()
    ]
    assert found == [1, 3, 5, 2, 4]


@given(st.integers(1, 20), st.integers(1, 1000))
def test_every_line_is_in_one_part(count: int, number: int) -> None:
    assert sum(Shard(index, count).has(number) for index in range(1, count + 1)) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--shard", "3/2"], "--shard: expected a part such as 2/8, got '3/2'"),
        (["--resume"], "--resume: it goes with --output"),
        (["--output", "x"], "--output: it goes with --input"),
        (["--retry-failed"], "--retry-failed: it goes with --resume"),
        (["--input", "in.jsonl", "--template", "x"], "--template: it is filled from the columns of a CSV file"),
        (["--input", "in.csv", "--template", "{{nme}}"], "--template: there is no column 'nme', but name, task"),
        (["--input", "in.csv"], "--input: there is no column 'prompt', but name, task"),
    ],
)
@pytest.mark.usefixtures("questions")
def test_an_option_that_makes_no_sense_alone_says_what_is_missing(words: list[str], said: str, llm_pool: Run) -> None:
    Path("in.csv").write_text("name,task\nAda,ask\n", encoding="utf-8")
    done = llm_pool("infer", *words, "--no-stdin")
    assert done.returncode == ExitCode.USAGE
    assert f"error: {said}" in done.stderr


def test_a_template_is_filled_from_the_columns_of_a_csv_file(llm_pool: Run) -> None:
    """Quoted commas and line ends are text; columns named as fields of a line are those fields."""
    Path("in.csv").write_text(
        '\ufeffname,note,max_tokens\n"Lovelace, Ada","two\nlines",\nBob,{{name}},many\n', encoding="utf-8"
    )
    done = llm_pool("infer", "--input", "in.csv", "--template", "Greet {{ name }}: {{note}}")

    one, two = map(json.loads, done.stdout.splitlines())
    assert one["content"] == "phi3:mini heard: Greet Lovelace, Ada: two lines"
    assert two["error"]["field"] == "line 2"
    assert "max_tokens" in two["error"]["message"]
    assert done.returncode == ExitCode.PARTIAL


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'prompt\n"a\n', "record 1: not CSV: unexpected end of data"),
        (b"prompt\na\n\xff\n", "invalid UTF-8 (0xff)"),
        (b"prompt\na,b\n", "line 1: it has other columns than the header"),
    ],
)
def test_what_is_no_csv_is_told_by_its_record(text: bytes, said: str, llm_pool: Run) -> None:
    Path("in.csv").write_bytes(text)
    done = llm_pool("infer", "--input", "in.csv")
    assert done.returncode in {ExitCode.DATA, ExitCode.USAGE}
    assert said in done.stdout + done.stderr


@given(st.sets(st.integers(0, 5000)), st.integers(0, 6000))
def test_what_is_done_is_remembered_by_its_number(numbers: set[int], other: int) -> None:
    done = DoneLines()
    for number in [*numbers, *numbers]:
        done.add(number)
    assert done.count == len(numbers)
    assert all(number in done for number in numbers)
    assert (other in done) is (other in numbers)


class _Sink:
    """Keeps the order and throws the rest away."""

    def __init__(self) -> None:
        self.done = DoneLines()
        self.numbers: list[int] = []

    def line(self, result: Any) -> None:
        self.numbers.append(result["line"])


class _Pool:
    """Answers every other line late."""

    async def infer(self, query: Query, emit: object = None) -> Any:
        await anyio.sleep(0.001 * (len(query.prompt) % 2))
        return an_answer(query.prompt)


def test_a_hundred_thousand_lines_take_no_more_memory_than_a_few() -> None:
    """In a process of its own: what it grows by, from a tenth of them on, is less than a megabyte."""
    program = "from tests.cli.test_batch import long_run; long_run()"
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=55, check=False)
    assert done.returncode == 0, done.stderr
    early, late = map(int, done.stdout.split())
    assert late - early < 1024


def long_run(count: int = 100_000) -> None:
    """Print the most memory used, in kilobytes, after a tenth of *count* lines and after all."""
    early = 0

    def lines() -> Iterator[tuple[int, BatchLine | InvalidRequest]]:
        nonlocal early
        for number in range(1, count + 1):
            if number == count // 10:
                early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            yield number, InvalidRequest("line", "it asks nothing") if number % 100 else BatchLine("x" * 1000)

    class Forgetful(_Sink):
        def line(self, result: Any) -> None:
            assert result["line"] == (self.numbers or [0])[0] + 1
            self.numbers = [result["line"]]

    options = BatchOptions(template=Query(prompt=""), concurrency=8, shard=Shard(), at_once=64)
    console = Console(quiet=True, stderr=io.StringIO())
    anyio.run(answer_lines, options, lines(), Forgetful(), _Pool(), console)
    print(early, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # noqa: T201


def test_a_file_is_counted_before_and_a_pipe_is_not(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('"a"\n\n"b"', encoding="utf-8")
    assert count_lines(str(path)) == 2
    assert count_lines("-") is None
    assert [line for _, line in batch_lines(str(path), None)] == [BatchLine("a"), BatchLine("b")]


def test_ctrl_c_does_not_wait_for_a_pipe_that_says_nothing(command: list[str]) -> None:
    """Exit 130, and the line that came is answered."""
    with subprocess.Popen(
        [*command, "infer", "--input", "-", "-q"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b'"a"\n')
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["line"] == 1
        process.send_signal(2)
        assert process.wait(5) == ExitCode.INTERRUPTED

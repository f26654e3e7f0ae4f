"""The person's questions: a JSONL or CSV file, each line checked where it stands."""

from __future__ import annotations

import csv
import hashlib
import io
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias, get_args

import msgspec

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Json  # noqa: TC001  # msgspec reads it when it decodes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


MAX_QUESTIONS: Final = 20_000
"""Questions of one evaluation; with five providers their answers are some hundred megabytes."""
MAX_FILE: Final = 256 << 20
"""Bytes of a file of questions."""

ScoreName: TypeAlias = Literal["task", "exact", "contains", "regex", "choice"]
"""How an answer is compared with what was expected; ``scores`` says what each means."""
SCORES: Final[tuple[str, ...]] = get_args(ScoreName)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """
    One question.

    Attributes:
        id: what its answers are kept under.
        prompt: as ``Query.prompt``.
        expected: the right answer; None where nobody said.
        score: how it is compared; None: as the whole evaluation does.
    """

    id: str
    prompt: str
    task: str = "ask"
    expected: Json = None
    score: ScoreName | None = None


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """A line of the file."""

    prompt: str | dict[str, Any] | list[Any]
    task: str = "ask"
    expected: Any = None
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | int | None = None
    score: ScoreName | None = None


def read_questions(path: Path, *, task: str = "ask", limit: int | None = None) -> list[Question]:
    """
    The questions of *path*, CSV where its name says so and JSON lines elsewhere.

    Args:
        path: of CSV the first row names the columns: prompt, and perhaps task, expected, id and score.
        task: of the lines that name none.
        limit: how many at most, from the top; None: all.

    Raises:
        InvalidRequest: the file or a line of it cannot be used; the field is ``FILE`` or ``line N``.
    """
    data = _bytes(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise InvalidRequest(
            f"line {number}", "invalid UTF-8", hint="convert it first, e.g. with  iconv -t UTF-8"
        ) from None
    rows = _csv_rows(text) if path.suffix.lower() == ".csv" else _json_rows(text)
    questions: dict[str, Question] = {}
    for number, line in rows:
        if limit is not None and len(questions) == limit:
            break
        question = _question(line, task)
        if question.id in questions:
            reason = (
                f"id '{question.id}' is there already" if line.id is not None else "the same question is there already"
            )
            raise InvalidRequest(f"line {number}", reason, hint="each question once; ids must differ")
        if not question.prompt.strip():
            raise InvalidRequest(f"line {number}", "prompt is empty")
        questions[question.id] = question
        if len(questions) > MAX_QUESTIONS:
            raise InvalidRequest("FILE", f"more than {MAX_QUESTIONS} questions", hint="--limit takes the first ones")
    if not questions:
        raise InvalidRequest("FILE", f"there is no question in {path}", hint='a line is {"prompt": …, "expected": …}')
    return list(questions.values())


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InvalidRequest("FILE", f"cannot read {path}: {reason}") from None
    if len(data) > MAX_FILE:
        raise InvalidRequest("FILE", f"{path} has more than {MAX_FILE >> 20} MiB", hint="split it")
    return data


def _json_rows(text: str) -> Iterator[tuple[int, _Line]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, _decoded(number, line)


def _decoded(number: int, line: str) -> _Line:
    try:
        return msgspec.json.decode(line, type=_Line)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"line {number}", str(error), hint='a line is {"prompt": …, "expected": …}') from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(f"line {number}", f"not JSON: {error}", hint='a line is {"prompt": …}') from None


def _csv_rows(text: str) -> Iterator[tuple[int, _Line]]:
    """Rows as lines; an empty cell says nothing. Numbers are those of the row's last line in the file."""
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="", restval="")
    known = msgspec.structs.fields(_Line)
    names = {field.name for field in known}
    columns = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = columns
    unknown = [name for name in columns if name not in names]
    if "prompt" not in columns or unknown:
        reason = f"there is no column '{unknown[0]}'" if unknown else "there is no column 'prompt'"
        raise InvalidRequest("line 1", reason, hint=f"columns are {', '.join(field.name for field in known)}")
    try:
        for row in reader:
            if "" in row:
                raise InvalidRequest(
                    f"line {reader.line_num}", "more cells than there are columns", hint="quote commas"
                )
            yield reader.line_num, _from_cells(reader.line_num, {name: cell for name, cell in row.items() if cell})
    except csv.Error as error:
        raise InvalidRequest(f"line {reader.line_num}", f"not CSV: {error}") from None


def _from_cells(number: int, cells: dict[str, str]) -> _Line:
    try:
        return msgspec.convert(cells, _Line)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"line {number}", str(error)) from None


def _question(line: _Line, task: str) -> Question:
    prompt = line.prompt if isinstance(line.prompt, str) else msgspec.json.encode(line.prompt).decode()
    own = line.task if line.task != "ask" else task
    name = str(line.id) if line.id is not None else _named(own, prompt)
    return Question(id=name, prompt=prompt, task=own, expected=line.expected, score=line.score)


def _named(task: str, prompt: str) -> str:
    """A name that stays while the question does, wherever it stands in the file."""
    return hashlib.blake2b(f"{task}\0{prompt}".encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def tasks_of(questions: Iterable[Question]) -> tuple[str, ...]:
    """The tasks asked for, in the order they first appear."""
    return tuple(dict.fromkeys(question.task for question in questions))

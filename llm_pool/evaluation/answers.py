"""
The file of answers: what was asked, and what each provider and judge said, a JSON object a line.

A line is written when it is known and never changed; a later one of the same key takes an earlier one's place. So an
interrupted evaluation goes on where it stopped, and one file decides anew without any model.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Self, TypeAlias

import msgspec

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import TokenLogprob  # noqa: TC001  # msgspec reads it when it decodes
from llm_pool.evaluation.questions import Question  # noqa: TC001  # likewise

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import BinaryIO

MAX_LINE: Final = 8 << 20
"""Bytes of a line; an answer is cut off long before (``ensemble.attempts``)."""
MAX_BYTES: Final = 4 << 30
"""Bytes of a file."""


class AskedQuestion(msgspec.Struct, frozen=True, kw_only=True, tag="question", tag_field="kind"):
    """A question as it was asked."""

    question: Question


class Failure(msgspec.Struct, frozen=True):
    """Why there is no answer: the ProviderError's kind, and its sentence."""

    kind: str
    reason: str


class RecordedAnswer(msgspec.Struct, frozen=True, kw_only=True, tag="answer", tag_field="kind", omit_defaults=True):
    """
    What one provider's backend said to one question, as it came, before anything was read into it.

    Attributes:
        question: its id.
        asked: fingerprint of model, prompt and options; another one is another question.
        ttft: seconds to the first token, thought or said; None if none came.
        duration: seconds to the end, without the wait in our own queue.
        reasoning: the beginning of what the model thought.
        failure: present where there is no whole answer.
    """

    question: str
    provider: str
    model: str
    asked: str
    text: str = ""
    reasoning: str = ""
    ttft: float | None = None
    duration: float = 0.0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish: str = "stop"
    failure: Failure | None = None


class RecordedVerdict(msgspec.Struct, frozen=True, kw_only=True, tag="verdict", tag_field="kind", omit_defaults=True):
    """
    What a judge said to one prompt.

    Attributes:
        asked: fingerprint of all answers it was about.
        candidates: the answers it was shown, in the order of their letters.
        logprobs: of the first token.
        in_schema: whether it was asked for JSON.
    """

    question: str
    judge: str
    asked: str
    candidates: tuple[str, ...]
    text: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    in_schema: bool = False
    duration: float = 0.0
    completion_tokens: int | None = None
    failure: Failure | None = None


class Grade(msgspec.Struct, frozen=True, kw_only=True, tag="grade", tag_field="kind"):
    """Whether *judge* took *provider*'s answer for right; None where it did not say."""

    question: str
    provider: str
    judge: str
    asked: str
    right: bool | None


Line: TypeAlias = AskedQuestion | RecordedAnswer | RecordedVerdict | Grade


class Answers:
    """
    What a file of answers holds.

    Attributes:
        questions: by id.
        answers: by question, then by provider.
        verdicts: by question, in the order they were given.
        grades: by question, provider and judge.
    """

    def __init__(self) -> None:
        self.questions: dict[str, Question] = {}
        self.answers: dict[str, dict[str, RecordedAnswer]] = {}
        self.verdicts: dict[str, list[RecordedVerdict]] = {}
        self.grades: dict[tuple[str, str, str], Grade] = {}

    def add(self, line: Line) -> None:
        """Take in a line; verdicts on other answers than the latest are forgotten."""
        match line:
            case AskedQuestion():
                self.questions[line.question.id] = line.question
            case RecordedAnswer():
                self.answers.setdefault(line.question, {})[line.provider] = line
            case Grade():
                self.grades[line.question, line.provider, line.judge] = line
            case RecordedVerdict():
                given = self.verdicts.setdefault(line.question, [])
                if given and given[0].asked != line.asked:
                    given.clear()
                given.append(line)

    def of(self, question: str) -> dict[str, RecordedAnswer]:
        """What is on record for *question*, by provider."""
        return self.answers.get(question, {})

    def judges(self, question: str) -> tuple[str, ...]:
        """Who judged the answers to *question*."""
        return tuple(dict.fromkeys(verdict.judge for verdict in self.verdicts.get(question, ())))


def read_answers(path: Path, *, must_exist: bool = True) -> Answers:
    """
    What *path* holds; a last line that a crash cut short is passed over.

    Raises:
        InvalidRequest: it cannot be read, or is no file of answers.
    """
    answers = Answers()
    decoder = msgspec.json.Decoder(Line)
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise InvalidRequest("FILE", f"{path} has more than {MAX_BYTES >> 30} GiB")
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE + 1), b""), start=1):
                if line.endswith(b"\n") and line.strip():
                    answers.add(_decoded(decoder, path, number, line))
                elif len(line) > MAX_LINE:
                    raise InvalidRequest("FILE", f"{path}:{number}: a line of more than {MAX_LINE >> 20} MiB")
    except FileNotFoundError:
        if must_exist:
            raise InvalidRequest("FILE", f"there is no {path}", hint="llm-pool eval QUESTIONS  makes one") from None
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InvalidRequest("FILE", f"cannot read {path}: {reason}") from None
    return answers


def _decoded(decoder: msgspec.json.Decoder[Line], path: Path, number: int, line: bytes) -> Line:
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(
            "FILE", f"{path}:{number}: {error}", hint="is it a file that llm-pool eval wrote?"
        ) from None


class AnswersWriter:
    """
    Adds lines to a file of answers; each is in the file when ``write`` returns.

    Use it as a context manager. A last line that was cut short is ended first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._encoder = msgspec.json.Encoder()

    def __enter__(self) -> Self:
        try:
            self._file: BinaryIO = self._path.open("a+b", buffering=0)
            if self._file.seek(0, os.SEEK_END):
                self._file.seek(-1, os.SEEK_END)
                if self._file.read(1) != b"\n":
                    _cut_to_last_line(self._file)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise InvalidRequest("--answers", f"{self._path} cannot be written: {reason}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, lines: Iterable[Line]) -> None:
        """Add *lines*; raises OSError."""
        data = self._encoder.encode_lines(list(lines))
        while data:  # a pipe or a full disk may take a part
            data = data[self._file.write(data) :]


def _cut_to_last_line(file: BinaryIO) -> None:
    """Drop a last line that a crash cut short: half an answer is none."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        begin = max(0, end - 65536)
        file.seek(begin)
        place = file.read(end - begin).rfind(b"\n")
        if place >= 0:
            file.truncate(begin + place + 1)
            return
        end = begin
    file.truncate(0)

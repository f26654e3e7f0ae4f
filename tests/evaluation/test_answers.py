from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llm_pool.core.errors import InvalidRequest
from llm_pool.evaluation.answers import (
    AnswersWriter,
    AskedQuestion,
    Failure,
    Grade,
    RecordedAnswer,
    RecordedVerdict,
    read_answers,
)
from llm_pool.evaluation.questions import Question

if TYPE_CHECKING:
    from pathlib import Path


def an_answer(text: str = "yes", **more: object) -> RecordedAnswer:
    return RecordedAnswer(question="q", provider="phi3", model="phi3:mini", asked="1", text=text, **more)  # type: ignore[arg-type]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = [
        AskedQuestion(question=Question(id="q", prompt="p", expected={"a": [1]})),
        an_answer(failure=Failure("failed", "broke")),
        RecordedVerdict(question="q", judge="g", asked="2", candidates=("a", "b"), text="A"),
        Grade(question="q", provider="phi3", judge="g", asked="3", right=True),
    ]
    with AnswersWriter(path) as writer:
        writer.write(lines[:2])
        writer.write(lines[2:])

    found = read_answers(path)

    assert found.questions == {"q": lines[0].question}  # type: ignore[union-attr]
    assert found.of("q") == {"phi3": lines[1]}
    assert found.verdicts == {"q": [lines[2]]}
    assert found.grades == {("q", "phi3", "g"): lines[3]}


def test_a_later_answer_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    with AnswersWriter(tmp_path / "a.jsonl") as writer:
        writer.write([an_answer("old"), an_answer("new")])

    assert read_answers(tmp_path / "a.jsonl").of("q")["phi3"].text == "new"


def test_a_line_that_a_crash_cut_short_is_dropped_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with AnswersWriter(path) as writer:
        writer.write([an_answer("whole")])
    with path.open("ab") as file:
        file.write(b'{"kind":"answer","question":"q","provi')
    before = read_answers(path)

    with AnswersWriter(path) as writer:
        writer.write([RecordedAnswer(question="r", provider="phi3", model="m", asked="1")])

    assert before.of("q")["phi3"].text == "whole"
    assert set(read_answers(path).answers) == {"q", "r"}


def test_verdicts_on_other_answers_are_forgotten(tmp_path: Path) -> None:
    old = RecordedVerdict(question="q", judge="g", asked="1", candidates=("a", "b"))
    new = RecordedVerdict(question="q", judge="g", asked="2", candidates=("a", "c"))
    with AnswersWriter(tmp_path / "a.jsonl") as writer:
        writer.write([old, new])

    assert read_answers(tmp_path / "a.jsonl").verdicts["q"] == [new]


def test_another_file_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"prompt": "p"}\n', encoding="utf-8")

    with pytest.raises(InvalidRequest, match=r"q\.jsonl:1"):
        read_answers(path)

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llm_pool.core.errors import InvalidRequest
from llm_pool.evaluation.questions import read_questions

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, text: str | bytes, name: str = "q.jsonl") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_line_may_say_task_expected_id_and_score(tmp_path: Path) -> None:
    path = write(tmp_path, '{"prompt": "p", "task": "judge", "expected": {"a": 1}, "id": 7, "score": "exact"}\n\n')

    [question] = read_questions(path)

    assert (question.id, question.task, question.expected, question.score) == ("7", "judge", {"a": 1}, "exact")


def test_a_question_without_an_id_keeps_its_name_wherever_it_stands(tmp_path: Path) -> None:
    one, two = '{"prompt": "one"}\n', '{"prompt": "two"}\n'
    first = read_questions(write(tmp_path, one + two))
    second = read_questions(write(tmp_path, two + one))

    assert {q.prompt: q.id for q in first} == {q.prompt: q.id for q in second}


def test_csv_has_the_same_columns_in_any_order(tmp_path: Path) -> None:
    path = write(tmp_path, 'expected,prompt\n3,"one, two"\n,"three\nlines"\n', "q.csv")

    first, second = read_questions(path, task="mine")

    assert (first.prompt, first.expected, first.task) == ("one, two", "3", "mine")
    assert (second.prompt, second.expected) == ("three\nlines", None)


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ('{"prompt": "a"}\nnonsense\n', "q.jsonl", "line 2: not JSON"),
        ('{"prompt": "a", "expcted": 1}\n', "q.jsonl", "line 1: Object contains unknown field `expcted`"),
        ('{"prompt": "a", "score": "best"}\n', "q.jsonl", "line 1: Invalid enum value 'best'"),
        ('{"prompt": " "}\n', "q.jsonl", "line 1: prompt is empty"),
        ('{"prompt": "a"}\n{"prompt": "a"}\n', "q.jsonl", "line 2: the same question is there already"),
        ('{"prompt": "a", "id": "x"}\n{"prompt": "b", "id": "x"}\n', "q.jsonl", "line 2: id 'x' is there already"),
        ("", "q.jsonl", "FILE: there is no question"),
        (b'{"prompt": "a"}\n\xff\n', "q.jsonl", "line 2: invalid UTF-8"),
        ("question\na\n", "q.csv", "line 1: there is no column 'question'"),
        ("expected\na\n", "q.csv", "line 1: there is no column 'prompt'"),
        ("prompt,expected\na,b,c\n", "q.csv", "line 2: more cells than there are columns"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str | bytes, name: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as told:
        read_questions(write(tmp_path, text, name))

    assert str(told.value).startswith(said)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no such file"):
        read_questions(tmp_path / "none.jsonl")

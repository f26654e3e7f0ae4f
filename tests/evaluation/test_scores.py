from __future__ import annotations

import pytest

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Json, Reading, Task
from llm_pool.evaluation.questions import Question, ScoreName
from llm_pool.evaluation.scores import check, is_right

TEXT = Task(name="ask", template="")
VALUE = Task(name="sum", template="", output_schema={"type": "object"}, kind="value", field="answer")
RANKING = Task(name="rank", template="", output_schema={"type": "object"}, kind="ranking", field="order")
OBJECT = Task(name="thing", template="", output_schema={"type": "object"}, kind="object")
OPTIONS = "Which city?\nA) Rome\nB) Paris\nC) Oslo"


def asked(expected: Json, score: ScoreName | None = None, prompt: str = "p") -> Question:
    return Question(id="q", prompt=prompt, expected=expected, score=score)


def said(content: str, value: Json = None) -> Reading:
    return Reading(content, value)


@pytest.mark.parametrize(
    ("task", "expected", "reading", "right"),
    [
        (TEXT, "Yes", said("yes."), True),
        (TEXT, "Yes", said("No."), False),
        (VALUE, 1000, said("", {"answer": "1,000"}), True),
        (VALUE, "1000", said("", {"answer": 1001}), False),
        (VALUE, {"answer": 3}, said("", {"answer": 3.0}), True),
        (RANKING, ["b", "a"], said("", {"order": ["b", "a"]}), True),
        (RANKING, "b, a", said("", {"order": ["a", "b"]}), False),
        (RANKING, "b, a", said("", {"order": ["b", "a"]}), True),
        (OBJECT, {"tags": ["x", "y"]}, said("", {"tags": ["y", "x"]}), True),
        (OBJECT, '{"tags": ["x"]}', said("", {"tags": ["z"]}), False),
    ],
)
def test_a_task_compares_as_its_strategies_do(task: Task, expected: Json, reading: Reading, right: bool) -> None:
    assert is_right(task, asked(expected), reading) is right


@pytest.mark.parametrize(
    ("score", "expected", "content", "right"),
    [
        ("exact", "Paris", " Paris\n", True),
        ("exact", "Paris", "paris", False),
        ("contains", "paris", "It is Paris, of course.", True),
        ("contains", ["Paris", "France"], "Paris, the capital", False),
        ("contains", 17, "17 is prime", True),
        ("regex", r"\b42\b", "so it is 42.", True),
        ("regex", r"^42", "so it is 42.", False),
        ("choice", "B", "B", True),
        ("choice", "B", "(B) Paris", True),
        ("choice", "b", "Rome is south of it.\nSo the answer is **B**.", True),
        ("choice", "B", "The answer is C", False),
        ("choice", "B", "A lovely question, but I cannot say.", False),
    ],
)
def test_scores_on_text(score: ScoreName, expected: Json, content: str, right: bool) -> None:
    assert is_right(TEXT, asked(expected, score, OPTIONS), said(content)) is right


def test_the_questions_own_score_comes_first() -> None:
    assert is_right(TEXT, asked("a", "contains"), said("banana"), "exact")


@pytest.mark.parametrize(
    ("task", "expected", "score", "reason"),
    [
        (TEXT, "(", "regex", "no pattern"),
        (TEXT, "", "contains", "empty text"),
        (TEXT, "maybe", "choice", "letter from A to J"),
        (RANKING, 3, "task", "list of ids"),
        (OBJECT, "red", "task", "an object"),
    ],
)
def test_what_cannot_be_compared_is_told_before_anybody_is_asked(
    task: Task, expected: Json, score: ScoreName, reason: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"question q: expected: .*{reason}"):
        check(task, asked(expected), score)

"""
Whether an answer is right.

========  ==========================================================================================================
task      by the task's own comparison: value, object, ranking or text, as strategies compare answers (``agreement``)
exact     the same text, spaces at the ends apart; of a ``value`` or a ``ranking`` the deciding field's
contains  the expected text, or each of a list of texts, stands in the answer, whatever the letter case
regex     the expected pattern, of Python's ``re``, is found in the answer
choice    the answer chooses the expected one of the options A to J that the question offers
========  ==========================================================================================================
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from llm_pool import agreement
from llm_pool.agreement.options import chosen, offered
from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_pool.core.messages import Json, Task
    from llm_pool.evaluation.questions import Question, ScoreName

MAX_SEARCHED: Final = 64 * 1024
"""Characters of an answer in which a person's pattern is looked for; of a longer one its end."""


def is_right(task: Task, question: Question, reading: Reading, default: ScoreName = "task") -> bool:
    """
    Whether *reading* answers *question* as expected.

    Args:
        task: the question's.
        question: with an expected answer.
        reading: what was answered.
        default: how to compare where the question does not say.
    """
    return _RULES[question.score or default](task, question, reading)


def check(task: Task, question: Question, default: ScoreName = "task") -> None:
    """
    Look at what is expected before anybody is asked.

    Raises:
        InvalidRequest: nothing can be compared with it as the score would; the field names the question.
    """
    score = question.score or default
    field = f"question {question.id}: expected"
    if question.expected is None:
        return
    if score == "task":
        _expected_reading(task, question, field)
    elif score == "contains":
        if not all(_texts(question.expected)):
            raise InvalidRequest(field, "an empty text is in every answer")
    elif score == "regex":
        try:
            _pattern(_text(question.expected))
        except re.error as error:
            raise InvalidRequest(field, f"no pattern: {error}") from None
    elif score == "choice" and _letter(_text(question.expected), frozenset("ABCDEFGHIJ")) is None:
        raise InvalidRequest(field, f"expected a letter from A to J, got '{_text(question.expected)[:40]}'")


def _by_task(task: Task, question: Question, reading: Reading) -> bool:
    expected = _expected_reading(task, question, "expected")
    return agreement.same(agreement.key(task, reading, question.prompt), agreement.key(task, expected, question.prompt))


def _by_text(task: Task, question: Question, reading: Reading) -> bool:
    return _deciding(task, reading).strip() == _text(question.expected).strip()


def _by_content(_task: Task, question: Question, reading: Reading) -> bool:
    said = reading.content.casefold()
    return all(text.casefold() in said for text in _texts(question.expected))


def _by_pattern(_task: Task, question: Question, reading: Reading) -> bool:
    return _pattern(_text(question.expected)).search(reading.content[-MAX_SEARCHED:]) is not None


def _by_choice(task: Task, question: Question, reading: Reading) -> bool:
    letters = offered(question.prompt) or frozenset("ABCDEFGHIJ")
    expected = _letter(_text(question.expected), letters)
    return expected is not None and _chosen(_deciding(task, reading), letters) == expected


_RULES: Final[dict[str, Callable[[Task, Question, Reading], bool]]] = {
    "task": _by_task,
    "exact": _by_text,
    "contains": _by_content,
    "regex": _by_pattern,
    "choice": _by_choice,
}


def _expected_reading(task: Task, question: Question, field: str) -> Reading:
    """What was expected, as if a model had said it."""
    expected = question.expected
    if task.output_schema is None:
        return Reading(_text(expected), None)
    if isinstance(expected, str) and task.kind in {"object", "ranking"}:
        expected = _from_cell(expected, task.kind)
    if task.kind in {"value", "ranking"} and not (isinstance(expected, dict) and task.field in expected):
        expected = {task.field: expected}
    if task.kind == "ranking" and not isinstance(expected[task.field], list):
        raise InvalidRequest(field, f"task '{task.name}' answers with a list of ids")
    if task.kind == "object" and not isinstance(expected, dict):
        raise InvalidRequest(field, f"task '{task.name}' answers with an object")
    return Reading(json.dumps(expected, ensure_ascii=False), expected)


def _from_cell(text: str, kind: str) -> Json:
    """JSON in a cell of CSV; of a ranking also ids with commas between."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return [one.strip() for one in text.split(",")] if kind == "ranking" else text


def _deciding(task: Task, reading: Reading) -> str:
    if task.kind in {"value", "ranking"} and isinstance(reading.value, dict):
        return _text(reading.value.get(task.field))
    return reading.content


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _texts(value: Json) -> list[str]:
    return [_text(one) for one in (value if isinstance(value, list) else [value])]


def _letter(text: str, letters: frozenset[str]) -> str | None:
    choice = chosen(text.strip(), letters)
    return None if choice is None or choice.clause else choice.letter.upper()


def _chosen(text: str, letters: frozenset[str]) -> str | None:
    """The option that *text* ends up with: its whole, else the last line that chooses one."""
    for line in (text, *reversed(text.strip().splitlines())):
        bare = line.strip().strip("*_`$ ")
        if (letter := _letter(bare, letters)) is not None or (letter := _stated(bare)) is not None:
            return letter
    return None


def _stated(line: str) -> str | None:
    said = _STATED.findall(line)
    return said[-1].upper() if said else None


_STATED: Final = re.compile(
    r"\b(?:answer|option|choice)\b(?:\s{1,3}is)?\s{0,3}:?\s{0,3}[*_`(\[]{0,3}([A-J])\b(?!')", re.IGNORECASE
)


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)

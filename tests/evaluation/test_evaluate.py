"""The strategies of the pool on answers that are on record, in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llm_pool.core.errors import InvalidRequest
from llm_pool.evaluation.answers import Answers, AskedQuestion, Failure, Grade, RecordedVerdict
from llm_pool.evaluation.evaluate import Evaluation, Judging, Section
from llm_pool.evaluation.questions import Question
from tests.evaluation.conftest import Configure, an_answer, evaluated, made_up, questions_of

if TYPE_CHECKING:
    from llm_pool.evaluation.figures import Figures

NO_JUDGE = '[ensemble]\ndisabled = ["JUDGE"]\n[tasks.ask]\ndeadline_ms = 20000\n'


def row(section: Section, name: str) -> Figures:
    return next(one for one in section.rows if one.name == name)


def decided(configure: Configure, answers: Answers, more: str = NO_JUDGE, **options: object) -> Evaluation:
    return evaluated(configure(more), answers, **options)


def test_models_are_counted_as_they_answered(configure: Configure) -> None:
    answers = made_up(60)
    right = sum(answers.of(q.id)["large"].text == q.expected for q in questions_of(answers))

    [section] = (decided(configure, answers)).sections

    found = row(section, "large")
    assert found.right is not None
    assert found.right.value == pytest.approx(right / 60)
    assert (found.calls, found.median, found.tokens_per_second) == (1.0, pytest.approx(1.0), pytest.approx(10.0))


def test_voting_is_what_a_majority_by_hand_is(configure: Configure) -> None:
    answers = made_up(60)
    by_hand = 0
    for question in questions_of(answers):
        texts = [one.text for one in answers.of(question.id).values()]
        by_hand += texts.count(str(question.expected)) >= 2 or (len(set(texts)) == 3 and texts[0] == question.expected)

    found = row((decided(configure, answers)).sections[0], "VOTING")

    assert found.right is not None
    assert found.right.value == pytest.approx(by_hand / 60, abs=0.1)  # trust breaks some ties otherwise
    assert 2 <= found.calls <= 3


def test_hedges_and_deadlines_are_the_configurations_own(configure: Configure) -> None:
    """The first is silent for longer than the hedge waits, and the others are too slow for the deadline."""
    answers = made_up(12)
    for question in questions_of(answers):
        answers.add(an_answer(question.id, "small", "7", ttft=4.0, duration=5.0))
        answers.add(an_answer(question.id, "large", "8", ttft=30.0, duration=31.0))
    more = f'{NO_JUDGE}[qos]\nhedge = "fixed"\nhedge_after_ms = 300\n'

    [section] = (decided(configure, answers, more)).sections

    assert row(section, "small").median == pytest.approx(5.0)
    assert row(section, "large").answered == 0
    assert row(section, "large").median <= 20.0


def test_what_a_backend_failed_at_is_wrong_and_others_stand_in(configure: Configure) -> None:
    answers = made_up(20, skills={"small": 1.0, "middle": 1.0, "large": 1.0})
    for question in questions_of(answers):
        answers.add(an_answer(question.id, "small", "", failure=Failure("failed", "HTTP 500")))

    [section] = (decided(configure, answers)).sections

    assert row(section, "small").answered == 0
    assert row(section, "FASTEST").answered == 20


def test_a_failing_provider_is_asked_to_the_end(configure: Configure) -> None:
    """No breaker opens: what happened to one question says nothing of the next one's figures."""
    answers = made_up(40)
    for question in questions_of(answers)[:20]:
        answers.add(an_answer(question.id, "large", "", failure=Failure("failed", "HTTP 500")))

    [section] = (decided(configure, answers)).sections

    assert row(section, "large").answered == 20


def test_consensus_says_how_much_it_covers(configure: Configure) -> None:
    answers = made_up(40)
    agreed = sum(len({one.text for one in answers.of(q.id).values()}) == 1 for q in questions_of(answers))

    found = row((decided(configure, answers)).sections[0], "CONSENSUS")

    assert found.coverage == pytest.approx(agreed / 40)
    assert found.precision is not None
    assert found.precision.value == 1.0


def test_a_recorded_verdict_decides_again(configure: Configure) -> None:
    """The judge names the answer of the lightest, whatever its letter."""
    answers = made_up(24, skills={"small": 1.0, "middle": 0.0, "large": 0.0})
    for question in questions_of(answers):
        texts = [one.text for one in answers.of(question.id).values()]
        for letter, order in (("A", texts), ("C", [texts[1], texts[2], texts[0]])):
            answers.add(
                RecordedVerdict(question=question.id, judge="large", asked="1", candidates=tuple(order), text=letter)
            )

    [section] = (decided(configure, answers, "[tasks.ask]\ndeadline_ms = 20000\n")).sections

    found = row(section, "JUDGE")
    assert found.right is not None
    assert found.right.value > 0.9
    assert found.calls == 5.0  # three answers, and two looks, as a bare letter says nothing of how sure it is


def test_a_judge_grades_what_has_no_expected_answer(configure: Configure) -> None:
    answers = made_up(30, expected=False)
    for number, question in enumerate(questions_of(answers)):
        for name, one in answers.of(question.id).items():
            right = one.text == str(number + 1)
            answers.add(Grade(question=question.id, provider=name, judge="large", asked="1", right=right))

    evaluation = decided(configure, answers, judging=Judging(judge="large"))

    assert evaluation.sections[0].labelled == 30
    assert evaluation.grader is None


def test_without_right_answers_there_is_no_recommendation(configure: Configure) -> None:
    [section] = (decided(configure, made_up(12, expected=False))).sections

    assert (section.labelled, section.recommendation) == (0, None)
    assert row(section, "VOTING").right is None
    assert row(section, "VOTING").calls > 1


def test_tasks_are_told_apart_and_together(configure: Configure) -> None:
    answers = made_up(20)
    task = configure(NO_JUDGE).path.parent / "prompts"
    task.mkdir()
    (task / "other.md").write_text("+++\n+++\nAgain: {{input}}\n", encoding="utf-8")
    for question in list(questions_of(answers))[:10]:
        answers.add(AskedQuestion(question=Question(id=question.id, prompt="x", task="other", expected="x")))

    evaluation = decided(configure, answers)

    assert [(one.task, one.questions) for one in evaluation.sections] == [("other", 10), ("ask", 10)]
    assert evaluation.overall is not None
    assert evaluation.overall.questions == 20


def test_questions_that_somebody_has_not_answered_are_left_out(configure: Configure) -> None:
    answers = made_up(20)
    del answers.answers["q3"]["large"]

    [section] = (decided(configure, answers)).sections

    assert (section.questions, section.left_out) == (19, 1)


def test_nothing_answered_is_an_error(configure: Configure) -> None:
    answers = made_up(3)
    answers.answers.clear()

    with pytest.raises(InvalidRequest, match="no question was answered"):
        decided(configure, answers)

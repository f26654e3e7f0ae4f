"""From answers on record to figures and a recommendation, task by task and over all."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import StrategyName
from llm_pool.evaluation.figures import Figures, Result, best_elsewhere, figures
from llm_pool.evaluation.graders import GraderAgreement, grader_agreement
from llm_pool.evaluation.learning import Labelled, folds, taught
from llm_pool.evaluation.questions import tasks_of
from llm_pool.evaluation.recommendation import Recommendation, recommend
from llm_pool.evaluation.replay import Replayer
from llm_pool.evaluation.scores import is_right

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from llm_pool.config import Config
    from llm_pool.core.messages import Task
    from llm_pool.evaluation.answers import Answers
    from llm_pool.evaluation.questions import Question, ScoreName
    from llm_pool.evaluation.replay import Outcome, Read
    from llm_pool.trust.model import Trust


class Judging(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is right.

    Attributes:
        score: how answers are compared where a question does not say.
        judge: the provider whose grades count where nothing is expected; empty: nobody's.
    """

    score: ScoreName = "task"
    judge: str = ""


BY_EXPECTED = Judging()
"""By what was expected alone, in the task's own way."""


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """
    The figures of one task, or of all together (*task* is empty).

    Attributes:
        questions, labelled: how many; labelled ones are those of which right and wrong is known.
        left_out: questions that some provider has not answered yet.
        best_models: which single model was best on the other folds, with how many of them chose it.
        rows: models first, then strategies.
        lessons: labelled questions, for ``applying``.
    """

    task: str
    questions: int
    labelled: int
    left_out: int
    best_models: dict[str, int]
    rows: tuple[Figures, ...]
    recommendation: Recommendation | None
    lessons: tuple[Labelled, ...] = ()


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """
    All of it.

    Attributes:
        providers: names of the models, in the file's order.
        grader: how far the judge's grades agree with what was expected; None where there is nothing to compare.
    """

    sections: tuple[Section, ...]
    overall: Section | None
    providers: tuple[str, ...]
    judging: Judging
    grader: GraderAgreement | None = None


class _TaskResults(msgspec.Struct, kw_only=True):
    """The results of one task's questions, and the folds they were cross-fitted by."""

    task: str
    left_out: int
    results: list[Result]
    labelled: list[int]
    folds: list[list[int]]
    lessons: list[Labelled]


async def evaluate(
    config: Config,
    answers: Answers,
    questions: Sequence[Question],
    *,
    providers: Sequence[str] = (),
    judging: Judging = BY_EXPECTED,
    deadline: float | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Evaluation:
    """
    Decide *questions* by every strategy on *answers*, and measure. Run it on ``VirtualLoop``.

    Args:
        config: the person's; strategies that it switches off are left out.
        answers: on record.
        questions: those to count.
        providers: names of the only models to count; empty: all that the configuration has and that answered.
        judging: what is right.
        deadline: seconds; None: each task's own.
        progress: told of strategies done, and of how many.

    Raises:
        InvalidRequest: no question was answered by all of a task's models.
    """
    tasks = tasks_of(questions)
    strategies = [name for name in StrategyName if name not in config.ensemble.disabled]
    done, total = 0, len(tasks) * (len(strategies) + 1)
    progress(done, total)
    found: list[_TaskResults] = []
    for task in tasks:
        mine = [question for question in questions if question.task == task]
        names = _panel(config, answers, mine, providers)
        complete = [q for q in mine if names and all(name in answers.of(q.id) for name in names)]
        if not complete:
            done += len(strategies) + 1
            progress(done, total)
            continue
        replayer = Replayer(config, answers, complete, names, deadline=deadline)
        singles, read = await replayer.read()
        done += 1
        progress(done, total)
        results = [_result(name, "model", singles[name], read, answers, judging) for name in names]
        lessons = [_lesson(one, results, place, answers) for place, one in enumerate(read)]
        labelled = [place for place in range(len(read)) if results[0].right[place] is not None]
        parts = folds(len(read))
        trusts = [_taught_elsewhere(lessons, parts, number, labelled) for number in range(len(parts))]
        for strategy in strategies:
            outcomes: dict[int, Outcome] = {}
            for trust, part in zip(trusts, parts, strict=True):
                outcomes |= await replayer.decide(strategy, trust, part)
            ordered = [outcomes[place] for place in range(len(read))]
            results.append(_result(strategy.value, "strategy", ordered, read, answers, judging))
            done += 1
            progress(done, total)
        found.append(
            _TaskResults(
                task=task,
                left_out=len(mine) - len(complete),
                results=results,
                labelled=labelled,
                folds=parts,
                lessons=[lessons[place] for place in labelled],
            )
        )
    if not found:
        raise InvalidRequest(
            "answers", "no question was answered by all of its models", hint="run llm-pool eval again: it goes on"
        )
    return Evaluation(
        sections=tuple(_section(one) for one in found),
        overall=_section(_together(found)) if len(found) > 1 and _same_subjects(found) else None,
        providers=tuple(dict.fromkeys(r.name for one in found for r in one.results if r.kind == "model")),
        judging=judging,
        grader=_grader(found, answers, judging),
    )


def _panel(config: Config, answers: Answers, questions: Iterable[Question], wanted: Sequence[str]) -> list[str]:
    """Who counts on a task: who answered any of its *questions* and is configured, in the file's order."""
    answered = {name for question in questions for name in answers.of(question.id)}
    names = [provider.name for provider in config.active_providers]
    return [name for name in names if name in answered and (not wanted or name in wanted)]


def _result(
    name: str,
    kind: str,
    outcomes: Sequence[Outcome],
    read: Sequence[Read],
    answers: Answers,
    judging: Judging,
) -> Result:
    right = tuple(
        _is_right(outcome, one.question, one.call.task, answers, judging)
        for outcome, one in zip(outcomes, read, strict=True)
    )
    return Result(name, "model" if kind == "model" else "strategy", tuple(outcomes), right)


def _is_right(outcome: Outcome, question: Question, task: Task, answers: Answers, judging: Judging) -> bool | None:
    """By what was expected; else as the judge graded the winner's answer; None where neither is known."""
    if question.expected is not None:
        return outcome.reading is not None and is_right(task, question, outcome.reading, judging.score)
    graded = [answers.grades.get((question.id, name, judging.judge)) for name in answers.of(question.id)]
    if not judging.judge or not any(grade is not None and grade.right is not None for grade in graded):
        return None
    grade = answers.grades.get((question.id, outcome.winner, judging.judge))
    return grade is not None and grade.right is True and outcome.reading is not None


def _lesson(read: Read, models: Sequence[Result], place: int, answers: Answers) -> Labelled:
    right = {model.name: bool(model.right[place]) for model in models if model.outcomes[place].reading is not None}
    return Labelled(read, right, answers.verdicts.get(read.question.id, ()))


def _taught_elsewhere(
    lessons: Sequence[Labelled], parts: Sequence[Sequence[int]], number: int, labelled: Sequence[int]
) -> Trust:
    own, known = set(parts[number]), set(labelled)
    return taught([lesson for place, lesson in enumerate(lessons) if place in known and place not in own])


def _section(found: _TaskResults) -> Section:
    models = [result for result in found.results if result.kind == "model"]
    known = set(found.labelled)
    parts = [[place for place in part if place in known] for part in found.folds]
    chosen = best_elsewhere(models, parts)
    by_name = {model.name: model for model in models}
    fold_of = {place: number for number, part in enumerate(parts) for place in part}
    baseline = [bool(by_name[chosen[fold_of[place]]].right[place]) for place in found.labelled]
    rows = tuple(figures(result, baseline, found.labelled) for result in found.results)
    return Section(
        task=found.task,
        questions=len(found.results[0].outcomes),
        labelled=len(found.labelled),
        left_out=found.left_out,
        best_models={name: chosen.count(name) for name in dict.fromkeys(chosen)} if found.labelled else {},
        rows=rows,
        recommendation=recommend(found.results, rows, baseline, found.labelled),
        lessons=tuple(found.lessons),
    )


def _same_subjects(found: Sequence[_TaskResults]) -> bool:
    return len({tuple(result.name for result in one.results) for one in found}) == 1


def _together(found: Sequence[_TaskResults]) -> _TaskResults:
    """All tasks as one: a question each, wherever it came from."""
    results: list[Result] = []
    for column in zip(*(one.results for one in found), strict=True):
        outcomes = tuple(outcome for result in column for outcome in result.outcomes)
        right = tuple(mark for result in column for mark in result.right)
        results.append(Result(column[0].name, column[0].kind, outcomes, right))
    labelled, parts, start = [], defaultdict[int, list[int]](list), 0
    for one in found:
        labelled += [start + place for place in one.labelled]
        for number, part in enumerate(one.folds):
            parts[number] += [start + place for place in part]
        start += len(one.results[0].outcomes)
    return _TaskResults(
        task="",
        left_out=sum(one.left_out for one in found),
        results=results,
        labelled=labelled,
        folds=list(parts.values()),
        lessons=[],
    )


def _grader(found: Sequence[_TaskResults], answers: Answers, judging: Judging) -> GraderAgreement | None:
    """How far the judge agrees with what was expected, over the answers of single models."""
    first, second = [], []
    for one in found:
        for lesson in one.lessons:
            question = lesson.read.question
            for name, right in lesson.right.items():
                grade = answers.grades.get((question.id, name, judging.judge))
                if question.expected is not None and grade is not None and grade.right is not None:
                    first.append(grade.right)
                    second.append(right)
    return grader_agreement(first, second)

"""One draw: evaluate some questions, and look at the others with what was learned."""

from __future__ import annotations

import random
import statistics
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from llm_pool.core.messages import StrategyName
from llm_pool.evaluation.evaluate import evaluate
from llm_pool.evaluation.learning import taught
from llm_pool.evaluation.replay import Replayer
from llm_pool.evaluation.scores import is_right

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_pool.config import Config
    from llm_pool.evaluation.answers import Answers
    from llm_pool.evaluation.evaluate import Evaluation, Section
    from llm_pool.evaluation.intervals import Interval
    from llm_pool.evaluation.questions import Question
    from llm_pool.evaluation.replay import Outcome, Read

LEARNING = (StrategyName.VOTING, StrategyName.WEIGHTED, StrategyName.CONSENSUS)
"""Strategies whose decisions change with what was learned."""


class TaskDraw(NamedTuple):
    """What was recommended for a task, and the shares right on its other questions, by model and strategy."""

    task: str
    recommended: str
    others: dict[str, float]

    @property
    def regret(self) -> float:
        """By how much the best one in hindsight is better than the recommended one, as a share."""
        return max(self.others.values()) - self.others[self.recommended]


class Held(NamedTuple):
    """An interval over all tasks, and what the same figure is on the other questions, and on all of them."""

    figure: str
    interval: Interval
    others: float
    everything: float


class Draw(NamedTuple):
    """One draw."""

    tasks: tuple[TaskDraw, ...]
    held: tuple[Held, ...]


class _Task:
    """All questions of one task: what does not change from draw to draw is decided once."""

    def __init__(self, config: Config, answers: Answers, questions: Sequence[Question], names: Sequence[str]) -> None:
        self.questions = list(questions)
        self.replayer = Replayer(config, answers, questions, names)
        self.marks: dict[str, list[bool]] = {}

    async def prepare(self, untaught: Sequence[StrategyName]) -> None:
        singles, self.read = await self.replayer.read()
        everywhere = range(len(self.questions))
        for strategy in untaught:
            found = await self.replayer.decide(strategy, taught([]), everywhere)
            singles[strategy.value] = [found[place] for place in everywhere]
        for name, outcomes in singles.items():
            self.marks[name] = [_right(one, read) for one, read in zip(outcomes, self.read, strict=True)]


async def measured(config: Config, answers: Answers, count: int, labels: int) -> list[Draw]:
    """*count* draws of *labels* questions each."""
    names = [provider.name for provider in config.active_providers]
    questions = [q for q in answers.questions.values() if all(name in answers.of(q.id) for name in names)]
    by_task: dict[str, list[Question]] = defaultdict(list)
    for question in questions:
        by_task[question.task].append(question)
    untaught = [s for s in StrategyName if s not in config.ensemble.disabled and s not in LEARNING]
    tasks = {name: _Task(config, answers, mine, names) for name, mine in sorted(by_task.items())}
    for task in tasks.values():
        await task.prepare(untaught)
    draws = []
    for seed in range(count):
        drawn = random.Random(seed).sample(questions, min(labels, len(questions) // 2))
        print(f"draw {seed + 1} of {count}", file=sys.stderr)
        draws.append(await _draw(tasks, await evaluate(config, answers, drawn), {one.id for one in drawn}))
    return draws


async def _draw(tasks: Mapping[str, _Task], evaluation: Evaluation, drawn: set[str]) -> Draw:
    found, right, total = [], defaultdict[str, float](float), 0
    for section in evaluation.sections:
        task = tasks[section.task]
        places = [place for place, question in enumerate(task.questions) if question.id not in drawn]
        marks = {name: [all_of[place] for place in places] for name, all_of in task.marks.items()}
        trust = taught(section.lessons)
        for strategy in LEARNING:
            outcomes = await task.replayer.decide(strategy, trust, places)
            marks[strategy.value] = [_right(outcomes[place], task.read[place]) for place in places]
        total += len(places)
        for name, mine in marks.items():
            right[name] += sum(mine)
        if section.recommendation is not None:
            shares = {name: statistics.fmean(mine) for name, mine in marks.items()}
            found.append(TaskDraw(section.task, section.recommendation.subject, shares))
    assert evaluation.overall is not None
    return Draw(tuple(found), tuple(_held(evaluation.overall, {name: n / total for name, n in right.items()}, total)))


def _held(section: Section, others: Mapping[str, float], count: int) -> list[Held]:
    """Every interval of the table over all tasks."""
    folds = sum(section.best_models.values())
    best = sum(others[name] * chosen / folds for name, chosen in section.best_models.items())
    held = []
    for row in section.rows:
        for figure, interval, other in (
            ("right", row.right, others[row.name]),
            ("difference", row.difference, others[row.name] - best),
        ):
            if interval is not None:
                everything = (interval.value * section.labelled + other * count) / (section.labelled + count)
                held.append(Held(f"{row.name}: {figure}", interval, other, everything))
    return held


def _right(outcome: Outcome, read: Read) -> bool:
    return outcome.reading is not None and is_right(read.call.task, read.question, outcome.reading)

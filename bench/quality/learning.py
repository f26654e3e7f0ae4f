"""Trust learned on some rows and judged on others."""

from __future__ import annotations

import random
import statistics
from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias

from bench.quality.rules import CLOCK, averaged, is_right
from llm_pool import agreement
from llm_pool.core.errors import LlmPoolError
from llm_pool.ensemble.weighted import Weighted
from llm_pool.trust.learning import panel_outcome
from llm_pool.trust.model import PanelAnswer, Trust

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bench.quality.recorded import Question
    from bench.quality.rules import Rule
    from llm_pool.trust.model import Source

Teach: TypeAlias = "Callable[[Trust, Question], Awaitable[None]]"
"""What a question tells a Trust."""


async def by_labels(trust: Trust, question: Question) -> None:
    """Every answer is marked right or wrong: what a labelled calibration run knows."""
    for attempt in question.attempts if is_divided(question) else ():
        if attempt.reading is not None:
            traits = agreement.evidence(question.call.task, attempt.reading)
            right = question.right(attempt.provider, attempt.reading)
            trust.observe(question.bench, PanelAnswer(attempt.provider, 0, traits), "feedback", right=right)


async def by_feedback(trust: Trust, question: Question) -> None:
    """A person says of each answer given whether it was good: what daily use knows."""
    _teach(trust, question, "feedback")


async def by_decisions(trust: Trust, question: Question) -> None:
    """Nobody says anything; whoever agrees with the decision wins."""
    _teach(trust, question, "decision")


def is_divided(question: Question) -> bool:
    """Whether the models say different things: only then there is something to learn."""
    return len(agreement.alike(question.call.task, [a.reading for a in question.attempts if a.reading])) > 1


def _teach(trust: Trust, question: Question, source: Source) -> None:
    try:
        decision = Weighted(CLOCK, trust).decide(question.call, question.panel, question.attempts)
    except LlmPoolError:
        return
    good = source == "decision" or question.is_right(decision)
    trust.learn(panel_outcome(question.call.task, decision), source, good=good)


async def cross_fitted(
    questions: Sequence[Question], teach: Teach, rule_of: Callable[[Trust], Rule], seeds: int
) -> dict[str, float]:
    """A rule on rows its trust was not learned on: mean over *seeds* random halvings, both ways round."""
    found: dict[str, list[float]] = defaultdict(list)
    for seed in range(seeds):
        shuffled = random.Random(seed).sample(questions, len(questions))
        middle = len(shuffled) // 2
        halves = shuffled[:middle], shuffled[middle:]
        marks = []
        for learned, judged in (halves, halves[::-1]):
            rule = rule_of(await taught(learned, teach))
            marks += [(question.bench, await is_right(rule, question)) for question in judged]
        for bench, share in averaged(marks).items():
            found[bench].append(share)
    return {bench: statistics.fmean(values) for bench, values in found.items()}


async def taught(questions: Sequence[Question], teach: Teach) -> Trust:
    """A new Trust that has seen *questions*."""
    trust = Trust()
    for question in questions:
        await teach(trust, question)
    return trust

"""Trust learned on some rows and judged on others."""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter, defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

from bench.quality.rules import CLOCK, averaged, decided, is_right, shares
from llm_pool import agreement
from llm_pool.core.errors import LlmPoolError
from llm_pool.ensemble.consensus import Consensus, ConsensusRule
from llm_pool.ensemble.voting import Voting
from llm_pool.ensemble.weighted import Weighted, margin_of
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


async def by_labels_and_margins(trust: Trust, question: Question) -> None:
    """As ``by_labels``; before that, how far WEIGHTED's votes led tells what such a lead is worth."""
    if any(attempt.reading is not None for attempt in question.attempts):
        decision = Weighted(CLOCK, trust).decide(question.call, question.panel, question.attempts)
        trust.learn_margin(question.bench, margin_of(decision), right=question.is_right(decision))
    await by_labels(trust, question)


async def sure(questions: Sequence[Question], least: float, seeds: int) -> dict[str, tuple[float, float]]:
    """Coverage and precision in percent, by bench and over all, of CONSENSUS by confidence, cross-fitted."""
    answered: dict[str, list[bool]] = defaultdict(list)
    asked: Counter[str] = Counter()
    for seed in range(seeds):
        shuffled = random.Random(seed).sample(questions, len(questions))
        middle = len(shuffled) // 2
        for learned, judged in ((shuffled[:middle], shuffled[middle:]), (shuffled[middle:], shuffled[:middle])):
            trust = await taught(learned, by_labels_and_margins)
            strategy = Consensus(CLOCK, ConsensusRule(min_confidence=least), trust=trust)
            for question in judged:
                asked.update((question.bench, "all"))
                with suppress(LlmPoolError):
                    right = question.is_right(strategy.decide(question.call, question.panel, question.attempts))
                    answered[question.bench].append(right)
                    answered["all"].append(right)
    return {
        bench: (100 * len(answered[bench]) / count, 100 * statistics.fmean(answered[bench] or [math.nan]))
        for bench, count in sorted(asked.items(), key=lambda item: (item[0] == "all", item[0]))
    }


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


LABELS = (0, 10, 30, 100, 300, None)
"""Labelled questions of all tasks together; None: all that are there."""


async def curve(questions: Sequence[Question], seeds: int) -> list[tuple[str, float, float]]:
    """
    WEIGHTED minus VOTING with configured weights, in points, on rows that neither learned on, by labels learned from.

    Returns:
        Per number of labels: its name, the difference with labels alone, and that with the pool's own decisions on
        the rest of the half; the plain average of the benches, mean over *seeds* random halvings, both ways round.
    """
    found: dict[int | None, tuple[list[float], list[float]]] = {count: ([], []) for count in LABELS}
    for seed in range(seeds):
        shuffled = random.Random(seed).sample(questions, len(questions))
        middle = len(shuffled) // 2
        for learned, judged in ((shuffled[:middle], shuffled[middle:]), (shuffled[middle:], shuffled[:middle])):
            plain = (await shares(judged, decided(Voting(CLOCK))))["average"]
            for count, (alone, with_decisions) in found.items():
                trust = await taught(learned[:count], by_labels)
                alone.append((await _weighted(judged, trust)) - plain)
                for question in learned[count:] if count is not None else ():
                    await by_decisions(trust, question)
                with_decisions.append((await _weighted(judged, trust)) - plain)
    return [
        ("all" if count is None else str(count), statistics.fmean(alone), statistics.fmean(with_decisions))
        for count, (alone, with_decisions) in found.items()
    ]


async def _weighted(questions: Sequence[Question], trust: Trust) -> float:
    return (await shares(questions, decided(Weighted(CLOCK, trust))))["average"]


async def taught(questions: Sequence[Question], teach: Teach) -> Trust:
    """A new Trust that has seen *questions*."""
    trust = Trust()
    for question in questions:
        await teach(trust, question)
    return trust

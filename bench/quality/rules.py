"""Rules that answer a question, and how often they are right."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import TYPE_CHECKING, Protocol, TypeAlias

from bench.quality.recorded import ignore
from llm_pool import agreement
from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import LlmPoolError
from llm_pool.ensemble.consensus import Consensus, ConsensusRule
from llm_pool.ensemble.fastest import Fastest
from llm_pool.ensemble.voting import Voting
from llm_pool.qos.budget import Budget

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from bench.quality.recorded import Question
    from llm_pool.core.interfaces import Member
    from llm_pool.core.messages import Attempt, Call, Decision

Rule: TypeAlias = "Callable[[Question], Awaitable[Decision]]"
"""Answers a question; raises LlmPoolError where it has no answer, which counts as wrong."""

CLOCK = SystemClock()


class Decider(Protocol):
    """A strategy that decides on attempts that are there."""

    def decide(self, call: Call, panel: Sequence[Member], attempts: Sequence[Attempt], /) -> Decision:
        """The decision."""


def decided(strategy: Decider) -> Rule:
    """What *strategy* decides on all the answers."""

    async def rule(question: Question) -> Decision:
        return strategy.decide(question.call, question.panel, question.attempts)

    return rule


def raced(*, hedge_after: float | None) -> Rule:
    """FASTEST itself on virtual time, every model on its own machine; None waits for a failure, 0 races them all."""
    budget = Budget(ratio=1.0, floor=10.0)
    strategy = Fastest(CLOCK, budget, hedge_after=lambda _m, _c: hedge_after, has_room=lambda _: True)

    async def rule(question: Question) -> Decision:
        for _ in question.models:
            budget.note_request(CLOCK.now())  # what a hedge costs is not what is measured here
        return await strategy.run(question.asked_now(), question.panel_on(), ignore)

    return rule


def single(name: str) -> Rule:
    """One model alone."""
    strategy = Fastest(CLOCK, Budget(), hedge_after=lambda _m, _c: None, has_room=lambda _: True)

    async def rule(question: Question) -> Decision:
        return strategy.decide(question.call, question.panel, [a for a in question.attempts if a.provider == name])

    return rule


async def is_right(rule: Rule, question: Question) -> bool:
    """Whether *rule* answers *question* right."""
    try:
        return question.is_right(await rule(question))
    except LlmPoolError:
        return False


async def shares(questions: Iterable[Question], rule: Rule) -> dict[str, float]:
    """Percent right by bench, and their plain average."""
    return averaged([(question.bench, await is_right(rule, question)) for question in questions])


def oracle(questions: Iterable[Question]) -> dict[str, float]:
    """Percent of questions on which any model is right."""
    return averaged((question.bench, any_right(question)) for question in questions)


def any_right(question: Question) -> bool:
    """Whether one of the models is right."""
    return any(question.right(a.provider, a.reading) for a in question.attempts if a.reading is not None)


def averaged(marks: Iterable[tuple[str, bool]]) -> dict[str, float]:
    """Percent by bench, and the plain average of the benches."""
    by_bench: dict[str, list[bool]] = defaultdict(list)
    for bench, mark in marks:
        by_bench[bench].append(mark)
    found = {bench: 100 * statistics.fmean(mine) for bench, mine in sorted(by_bench.items())}
    return {**found, "average": statistics.fmean(found.values())}


async def early_stopping(questions: Sequence[Question]) -> tuple[float, int]:
    """Calls a question when all models share one machine, and verdicts that differ from asking all: 0 is lossless."""
    calls, differing = 0, 0
    voting = Voting(CLOCK)
    for question in questions:
        panel = question.panel_on("one machine")
        try:
            stopped = await voting.run(question.asked_now(), panel, ignore)
        except LlmPoolError:
            calls += len(panel)
            continue
        whole = voting.decide(question.call, question.panel, question.attempts)
        calls += len(stopped.attempts)
        task = question.call.task
        differing += not agreement.same(agreement.key(task, stopped.reading), agreement.key(task, whole.reading))
    return calls / len(questions), differing


def trade(questions: Sequence[Question], agreement_asked: float) -> dict[str, tuple[float, float]]:
    """Coverage and precision of CONSENSUS, in percent, by bench."""
    strategy = Consensus(CLOCK, ConsensusRule(min_agreement=agreement_asked))
    marks: dict[str, list[bool | None]] = defaultdict(list)
    for question in questions:
        try:
            decision = strategy.decide(question.call, question.panel, question.attempts)
            marks[question.bench].append(question.is_right(decision))
        except LlmPoolError:
            marks[question.bench].append(None)
    return {bench: _trade(found) for bench, found in sorted(marks.items())}


def _trade(marks: Sequence[bool | None]) -> tuple[float, float]:
    answered = [mark for mark in marks if mark is not None]
    return 100 * len(answered) / len(marks), 100 * statistics.fmean(answered) if answered else float("nan")

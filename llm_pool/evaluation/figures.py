"""One row of the table: what a model or a strategy did on the questions of one task, or of all."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import msgspec

from llm_pool.evaluation.intervals import Interval, PairCounts, counted, paired_difference, wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.evaluation.replay import Outcome

SubjectKind: TypeAlias = Literal["model", "strategy"]


class Result(NamedTuple):
    """What a model or strategy did on each question, in their order; *right* is None where nobody knows."""

    name: str
    kind: SubjectKind
    outcomes: tuple[Outcome, ...]
    right: tuple[bool | None, ...]

    def labelled(self, places: Sequence[int]) -> list[bool]:
        """Right or wrong at *places*, all of them known."""
        return [bool(self.right[place]) for place in places]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """
    Figures of one row.

    Attributes:
        answered: questions with an answer.
        right: share of the labelled questions; None without any. No answer is a wrong one.
        difference: of that share to the best single model's, each question counted for both; None for models.
        pairs: what *difference* was counted from.
        calls: requests to backends for a question, on average.
        median, p95: seconds to the answer.
        tokens_per_second: of the answer, by the time it took, the median; None where backends do not count.
        agreement: mean of the decisions'; None where none was measured.
        coverage: of CONSENSUS: share of the questions on which the models agreed.
        precision: share right of those.
    """

    name: str
    kind: SubjectKind
    questions: int
    answered: int
    right: Interval | None
    difference: Interval | None
    pairs: PairCounts | None
    calls: float
    median: float
    p95: float
    tokens_per_second: float | None
    agreement: float | None
    coverage: float | None
    precision: Interval | None


def figures(result: Result, baseline: Sequence[bool], places: Sequence[int]) -> Figures:
    """
    The row of *result*.

    Args:
        result: one model's or strategy's.
        baseline: whether the best single model, chosen on other questions, is right on each of *places*.
        places: the labelled questions.
    """
    outcomes = result.outcomes
    marks = result.labelled(places)
    pairs = counted(marks, baseline) if marks and result.kind == "strategy" else None
    seconds = sorted(outcome.seconds for outcome in outcomes)
    speeds = [o.tokens / o.seconds for o in outcomes if o.tokens and o.seconds > 0]
    agreed = [outcome.agreement for outcome in outcomes if outcome.agreement is not None]
    is_consensus = result.name == "CONSENSUS"
    sure = [bool(result.right[place]) for place in places if outcomes[place].is_agreed]
    return Figures(
        name=result.name,
        kind=result.kind,
        questions=len(outcomes),
        answered=sum(outcome.reading is not None for outcome in outcomes),
        right=wilson(sum(marks), len(marks)) if marks else None,
        difference=None if pairs is None else paired_difference(pairs),
        pairs=pairs,
        calls=statistics.fmean(outcome.calls for outcome in outcomes),
        median=statistics.median(seconds),
        p95=quantile(seconds, 0.95),
        tokens_per_second=statistics.median(speeds) if speeds else None,
        agreement=statistics.fmean(agreed) if agreed else None,
        coverage=statistics.fmean(outcome.is_agreed for outcome in outcomes) if is_consensus else None,
        precision=wilson(sum(sure), len(sure)) if is_consensus and sure else None,
    )


def quantile(ascending: Sequence[float], share: float) -> float:
    """The least of *ascending*, at least one, that *share* of them do not exceed."""
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]


def best_elsewhere(models: Sequence[Result], folds: Sequence[Sequence[int]]) -> list[str]:
    """
    For each fold the model that was right most often in the others; the earlier of two that were as often.

    The best of several on the same questions is best by luck too: so it is chosen on other ones.
    """
    chosen = []
    for number in range(len(folds)):
        others = [place for other, places in enumerate(folds) if other != number for place in places]
        chosen.append(max(models, key=lambda model: sum(model.labelled(others))).name)
    return chosen

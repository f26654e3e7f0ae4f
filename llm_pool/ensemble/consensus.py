"""
CONSENSUS: an answer only where the panel agrees; else another strategy decides, or nobody does.

Agreement is the best sign of being right that costs nothing, for answers that can be compared: on recorded
questions all three models agree on 44 percent, and are right on 95 percent of those; where each says something
else, the best guess is right on 13 percent. The threshold chooses between coverage and precision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from llm_pool.core.errors import AllProvidersFailed, NoConsensus
from llm_pool.core.messages import StrategyName
from llm_pool.ensemble.attempts import DECISION_MARGIN
from llm_pool.ensemble.ballots import Poll, ballot_groups, is_settled, poll, quorum, valid_ballots
from llm_pool.ensemble.voting import CANNOT_TELL, EqualWeights, decide, with_formulas

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from llm_pool.core.interfaces import Clock, Emit, Member
    from llm_pool.core.messages import Attempt, Call, Decision, Task
    from llm_pool.ensemble.ballots import Ballot, VoteWeights
    from llm_pool.ensemble.entailment import Entailment, Heard
    from llm_pool.ensemble.formulas import Formulas

Fallback: TypeAlias = "Callable[[Call, Sequence[Member], Sequence[Attempt], Emit], Awaitable[Decision]]"
"""Decides on candidates that are already there, within the call's deadline; ``Judge.judge`` is one."""


class ConsensusRule(msgspec.Struct, frozen=True, kw_only=True):
    """
    When enough of a panel agrees.

    Attributes:
        min_agreement: share of all who were asked that must say the same, in (0, 1]; None asks for all of a panel
            of up to three, and for four fifths of a larger one.
        quorum: valid answers needed; None asks for more than half of the panel.
        share: part of the deadline for gathering where a fallback needs time of its own, as JUDGE does.
    """

    min_agreement: float | None = None
    quorum: int | None = None
    share: float = 1.0

    def agreement_of(self, size: int) -> float:
        """The agreement asked of a panel of *size*."""
        if self.min_agreement is not None:
            return self.min_agreement
        return 1.0 if size <= 3 else 0.8

    def quorum_of(self, size: int) -> int:
        """The valid answers asked of a panel of *size*."""
        return quorum(size) if self.quorum is None else min(self.quorum, size)


class Consensus:
    """
    The whole panel, and an answer if it agrees.

    Args:
        clock: the time.
        rule: when enough agree.
        fallbacks: tried in this order on the candidates that are there, where the panel disagrees; none is strict:
            then disagreement is an error.
        formulas: looks for equal ones where there is no majority; None: nobody does.
        entailment: asked about texts that no rule can tell apart; None: they differ.
    """

    def __init__(
        self,
        clock: Clock,
        rule: ConsensusRule,
        fallbacks: Sequence[Fallback] = (),
        formulas: Formulas | None = None,
        entailment: Entailment | None = None,
    ) -> None:
        self._clock, self._rule, self._fallbacks = clock, rule, tuple(fallbacks)
        self._formulas, self._entailment = formulas, entailment

    async def run(self, call: Call, panel: Sequence[Member], emit: Emit) -> Decision:
        """Ask *panel*; raises NoConsensus, AllProvidersFailed, DeadlineExceeded."""

        def stop_rule(
            task: Task, ballots: Sequence[Ballot], pending: Sequence[Member], vote_weights: VoteWeights
        ) -> bool:
            return is_decided(self._rule, len(panel), task, ballots, pending, vote_weights, strict=not self._fallbacks)

        share = self._rule.share if self._fallbacks else 1.0
        asked = await poll(self._clock, call, panel, emit, EqualWeights(), stop_rule=stop_rule, share=share)
        asked = await with_formulas(self._formulas, call, panel, asked, EqualWeights())
        heard = await self._heard(call, panel, asked, emit)
        asked = asked if heard is None else asked._replace(equal=heard.equal)
        decision = decide(StrategyName.CONSENSUS, call, panel, asked, EqualWeights())
        if not is_agreed(self._rule, decision, len(panel)):
            decision = await self._fall_back(call, panel, decision, emit)
        if heard is None:
            return decision
        attempts, notes = (*decision.attempts, *heard.attempts), (*decision.notes, *heard.notes)
        return msgspec.structs.replace(decision, attempts=attempts, notes=notes)

    def decide(self, call: Call, panel: Sequence[Member], attempts: Sequence[Attempt]) -> Decision:
        """The consensus among attempts made for another strategy; raises NoConsensus, AllProvidersFailed."""
        decision = decide(StrategyName.CONSENSUS, call, panel, Poll(tuple(attempts)), EqualWeights())
        if not is_agreed(self._rule, decision, len(panel)):
            raise NoConsensus(_disagreed(self._rule, decision, len(panel)))
        return decision

    async def _heard(self, call: Call, panel: Sequence[Member], asked: Poll, emit: Emit) -> Heard | None:
        """What a model says of texts that no rule can tell apart; a fallback keeps half of the time."""
        if self._entailment is None or call.task.kind != "text":
            return None
        votes = self._rule.agreement_of(len(panel)) * len(panel)
        left = call.deadline - DECISION_MARGIN - self._clock.now()
        until = self._clock.now() + (left / 2 if self._fallbacks else left)
        ballots = valid_ballots(call, panel, asked.attempts, EqualWeights())
        if ballot_groups(call.task, ballots)[0].count >= votes - 1e-9:
            return None
        return await self._entailment.equal(call, panel, ballots, emit, votes=votes, until=until)

    async def _fall_back(self, call: Call, panel: Sequence[Member], vote: Decision, emit: Emit) -> Decision:
        disagreed = _disagreed(self._rule, vote, len(panel))
        for fallback in self._fallbacks:
            try:
                decision = await fallback(call, panel, vote.attempts, emit)
            except (AllProvidersFailed, NoConsensus):
                continue
            return msgspec.structs.replace(
                decision,
                asked=StrategyName.CONSENSUS,
                agreement=vote.agreement,
                notes=(f"no consensus: {disagreed.reason}; {decision.used} decided", *decision.notes),
                degraded=vote.degraded or decision.degraded,
                degraded_reason=vote.degraded_reason or decision.degraded_reason,
                missing=vote.missing or decision.missing,
            )
        raise NoConsensus(disagreed)


def is_agreed(rule: ConsensusRule, decision: Decision, size: int) -> bool:
    """Whether *decision*, a vote of a panel of *size*, is a consensus."""
    assert decision.agreement is not None
    answered = sum(attempt.reading is not None for attempt in decision.attempts)
    return answered >= rule.quorum_of(size) and decision.agreement >= rule.agreement_of(size) - 1e-9


def is_decided(
    rule: ConsensusRule,
    size: int,
    task: Task,
    ballots: Sequence[Ballot],
    pending: Sequence[Member],
    vote_weights: VoteWeights,
    *,
    strict: bool,
) -> bool:
    """
    Whether *pending* can no longer change that there is a consensus, or, if *strict*, that there is none.

    Without a consensus a fallback decides, and it decides better the more candidates there are: so unless *strict*,
    everybody is heard.
    """
    if not pending or not ballots:
        return bool(ballots)
    most = ballot_groups(task, ballots)[0].count
    wanted = rule.agreement_of(size) * size - 1e-9
    if strict and task.kind == "value" and most + len(pending) < wanted:
        return True
    enough = len(ballots) >= rule.quorum_of(size) and most >= wanted
    return enough and is_settled(task, ballots, pending, vote_weights)


def _doubt(vote: Decision) -> str:
    """What *vote* could not tell, as the end of a sentence."""
    return "".join(f"; {note}" for note in vote.notes if note.startswith(CANNOT_TELL))


def _disagreed(rule: ConsensusRule, vote: Decision, size: int) -> Decision:
    """*vote* saying how far the panel was from a consensus."""
    answered = sum(attempt.reading is not None for attempt in vote.attempts)
    reason = (
        f"agreement {vote.agreement:.2f}, {rule.agreement_of(size):.2f} asked for{_doubt(vote)}"
        if answered >= rule.quorum_of(size)
        else f"{answered} of {size} gave a valid answer, {rule.quorum_of(size)} were asked for"
    )
    return msgspec.structs.replace(vote, reason=reason)

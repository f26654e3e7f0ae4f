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
from llm_pool.ensemble.ballots import Poll, ballot_groups, is_settled, poll, quorum
from llm_pool.ensemble.stragglers import endless, with_suspects
from llm_pool.ensemble.voting import EqualWeights, decide

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from llm_pool.core.interfaces import Clock, Emit, Member
    from llm_pool.core.messages import Attempt, Call, Decision, Task
    from llm_pool.ensemble.ballots import Ballot, VoteWeights
    from llm_pool.ensemble.stragglers import Patience

Fallback: TypeAlias = "Callable[[Call, Sequence[Member], Sequence[Attempt], Emit], Awaitable[Decision]]"
"""Decides on candidates that are already there, within the call's deadline; ``Judge.judge`` is one."""


class ConsensusRule(msgspec.Struct, frozen=True, kw_only=True):
    """
    What counts as a consensus.

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
        rule: what counts as a consensus.
        fallbacks: tried in this order on the candidates that are there, where the panel disagrees; none is strict:
            then disagreement is an error, and everybody is waited for.
        patience: how long a member's silence is borne.
    """

    def __init__(
        self, clock: Clock, rule: ConsensusRule, fallbacks: Sequence[Fallback] = (), patience: Patience = endless
    ) -> None:
        self._clock, self._rule, self._fallbacks, self._patience = clock, rule, tuple(fallbacks), patience

    async def run(self, call: Call, panel: Sequence[Member], emit: Emit) -> Decision:
        """Ask *panel*; raises NoConsensus, AllProvidersFailed, DeadlineExceeded."""

        def stop_rule(
            task: Task, ballots: Sequence[Ballot], pending: Sequence[Member], vote_weights: VoteWeights
        ) -> bool:
            return is_decided(self._rule, len(panel), task, ballots, pending, vote_weights, strict=not self._fallbacks)

        asked = await poll(
            self._clock,
            call,
            panel,
            emit,
            EqualWeights(),
            stop_rule=stop_rule,
            share=self._rule.share if self._fallbacks else 1.0,
            patience=self._patience if self._fallbacks else endless,
            enough=self._rule.quorum_of(len(panel)),
        )
        decision = decide(StrategyName.CONSENSUS, call, panel, asked, EqualWeights())
        if is_agreed(self._rule, decision, len(panel)):
            return decision
        return await self._fall_back(call, with_suspects(panel, asked.stragglers), decision, emit)

    def decide(self, call: Call, panel: Sequence[Member], attempts: Sequence[Attempt]) -> Decision:
        """
        The consensus among *attempts*, or the vote where a fallback may decide: there is no time to ask one.

        Raises:
            NoConsensus, AllProvidersFailed: as ``run``.
        """
        decision = decide(StrategyName.CONSENSUS, call, panel, Poll(tuple(attempts)), EqualWeights())
        if is_agreed(self._rule, decision, len(panel)):
            return decision
        disagreed = _disagreed(self._rule, decision, len(panel))
        if not self._fallbacks:
            raise NoConsensus(disagreed)
        note = f"no consensus: {disagreed.reason}; most votes decided"
        return msgspec.structs.replace(decision, used=StrategyName.VOTING, notes=(note, *decision.notes))

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


def _disagreed(rule: ConsensusRule, vote: Decision, size: int) -> Decision:
    """*vote* saying how far the panel was from a consensus."""
    answered = sum(attempt.reading is not None for attempt in vote.attempts)
    reason = (
        f"agreement {vote.agreement:.2f}, {rule.agreement_of(size):.2f} asked for"
        if answered >= rule.quorum_of(size)
        else f"{answered} of {size} gave a valid answer, {rule.quorum_of(size)} were asked for"
    )
    return msgspec.structs.replace(vote, reason=reason)

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
from llm_pool.ensemble.stragglers import endless, with_suspects
from llm_pool.ensemble.tally import NO_WEIGHTS_NOTE
from llm_pool.ensemble.voting import CANNOT_TELL, EqualWeights, decide, with_formulas
from llm_pool.ensemble.weighted import TrustWeights, margin_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from llm_pool.core.interfaces import Clock, Emit, Member
    from llm_pool.core.messages import Attempt, Call, Decision, Task
    from llm_pool.ensemble.ballots import Ballot, VoteWeights
    from llm_pool.ensemble.entailment import Entailment, Heard
    from llm_pool.ensemble.formulas import Formulas
    from llm_pool.ensemble.stragglers import Patience
    from llm_pool.trust.model import Trust

Fallback: TypeAlias = "Callable[[Call, Sequence[Member], Sequence[Attempt], Emit], Awaitable[Decision]]"
"""Decides on candidates that are already there, within the call's deadline; ``Judge.judge`` is one."""


class ConsensusRule(msgspec.Struct, frozen=True, kw_only=True):
    """
    When enough of a panel agrees.

    Attributes:
        min_agreement: share of all who were asked that must say the same, in (0, 1]; None asks for all of a panel
            of up to three, and for four fifths of a larger one.
        min_confidence: share of all its answers that must be right, in (0, 1), for ``value`` tasks with enough labels:
            then it decides in the place of agreement; None: agreement does.
        quorum: valid answers needed; None asks for more than half of the panel.
        share: part of the deadline for gathering where a fallback needs time of its own, as JUDGE does.
    """

    min_agreement: float | None = None
    min_confidence: float | None = None
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
        trust: what was learned, for *rule* with a confidence; None: nothing.
        fallbacks: tried in this order on the candidates that are there, where the panel disagrees; none is strict:
            then disagreement is an error, and everybody is waited for.
        formulas: looks for equal ones where there is no majority; None: nobody does.
        entailment: asked about texts that no rule can tell apart; None: they differ.
        patience: how long a member's silence is borne.
    """

    def __init__(
        self,
        clock: Clock,
        rule: ConsensusRule,
        fallbacks: Sequence[Fallback] = (),
        *,
        trust: Trust | None = None,
        formulas: Formulas | None = None,
        entailment: Entailment | None = None,
        patience: Patience = endless,
    ) -> None:
        self._clock, self._rule, self._fallbacks = clock, rule, tuple(fallbacks)
        self._trust = trust if rule.min_confidence is not None else None
        self._formulas, self._entailment = formulas, entailment
        self._patience = patience if self._fallbacks else endless

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
            stop_rule=_when_all_spoke if self._by_margin(call) else stop_rule,
            share=self._rule.share if self._fallbacks else 1.0,
            patience=self._patience,
            enough=self._rule.quorum_of(len(panel)),
        )
        asked = await with_formulas(self._formulas, call, panel, asked, EqualWeights())
        able = with_suspects(panel, asked.stragglers)
        heard = await self._heard(call, able, asked, emit)
        asked = asked if heard is None else asked._replace(equal=heard.equal)
        decision = self._decided(call, panel, asked)
        if not is_agreed(self._rule, decision, len(panel)):
            decision = await self._fall_back(call, able, decision, emit)
        if heard is None:
            return decision
        attempts, notes = (*decision.attempts, *heard.attempts), (*decision.notes, *heard.notes)
        return msgspec.structs.replace(decision, attempts=attempts, notes=notes)

    def decide(self, call: Call, panel: Sequence[Member], attempts: Sequence[Attempt]) -> Decision:
        """
        The consensus among *attempts*, or the vote where a fallback may decide: there is no time to ask one.

        Raises:
            NoConsensus, AllProvidersFailed: as ``run``.
        """
        asked = Poll(tuple(attempts))
        decision = self._decided(call, panel, asked)
        if is_agreed(self._rule, decision, len(panel)):
            return decision
        disagreed = _disagreed(self._rule, decision, len(panel))
        if not self._fallbacks:
            raise NoConsensus(disagreed)
        vote = decide(StrategyName.VOTING, call, panel, asked, EqualWeights())
        return msgspec.structs.replace(
            vote,
            asked=StrategyName.CONSENSUS,
            margin=_margin_after(decision, vote),
            notes=(f"no consensus: {disagreed.reason}; most votes decided", *vote.notes),
        )

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

    def _by_margin(self, call: Call) -> bool:
        return self._trust is not None and call.task.kind == "value"

    def _decided(self, call: Call, panel: Sequence[Member], asked: Poll) -> Decision:
        """The plain vote; or WEIGHTED's where its margin says how far it can be trusted."""
        plain = decide(StrategyName.CONSENSUS, call, panel, asked, EqualWeights())
        if self._trust is None or not self._by_margin(call):
            return plain
        trust = self._trust.of(call.tenant_id)
        weighed = decide(StrategyName.CONSENSUS, call, panel, asked, TrustWeights(trust))
        margin = margin_of(weighed)
        confidence = trust.confidence(call.task.name, margin)
        if confidence is None:
            note = f"too few labelled answers on {call.task.name} to know the confidence: agreement counts"
            return msgspec.structs.replace(plain, margin=margin, notes=(*plain.notes, note))
        reason = f"{weighed.reason}; confidence {confidence:.2f}"
        return msgspec.structs.replace(
            weighed, margin=margin, confidence=confidence, agreement=plain.agreement, reason=reason
        )

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
                margin=_margin_after(vote, decision),
                confidence=None,
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
    if answered >= rule.quorum_of(size) and decision.confidence is not None and rule.min_confidence is not None:
        return decision.confidence >= rule.min_confidence
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


def _when_all_spoke(_task: Task, ballots: Sequence[Ballot], pending: Sequence[Member], _scale: VoteWeights) -> bool:
    """A margin is known when everybody was heard."""
    return bool(ballots) and not pending


def _margin_after(vote: Decision, fallback: Decision) -> float | None:
    """The margin of the vote, as it stands for the answer of *fallback*."""
    if vote.margin is None:
        return None
    leaders = next((c.providers for c in vote.clusters if vote.winner in c.providers), ())
    return vote.margin if fallback.winner in leaders else -vote.margin


def _disagreed(rule: ConsensusRule, vote: Decision, size: int) -> Decision:
    """*vote* saying how far the panel was from a consensus; whose text it would be is beside the point."""
    vote = msgspec.structs.replace(vote, notes=tuple(note for note in vote.notes if note != NO_WEIGHTS_NOTE))
    answered = sum(attempt.reading is not None for attempt in vote.attempts)
    sure = rule.min_confidence
    if vote.confidence is not None and sure is not None and answered >= rule.quorum_of(size):
        reason = f"confidence {vote.confidence:.2f}, {sure:.2f} asked for"
        return msgspec.structs.replace(vote, reason=reason)
    reason = (
        f"agreement {vote.agreement:.2f}, {rule.agreement_of(size):.2f} asked for{_doubt(vote)}"
        if answered >= rule.quorum_of(size)
        else f"{answered} of {size} gave a valid answer, {rule.quorum_of(size)} were asked for"
    )
    return msgspec.structs.replace(vote, reason=reason)

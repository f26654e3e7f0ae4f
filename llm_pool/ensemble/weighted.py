"""
WEIGHTED: votes times trust, so that a strong minority can win where VOTING follows the crowd.

A vote counts the log odds that its author is right on this task, learned from what became of its answers
(``trust``), plus what the answer itself gives away (``agreement.evidence``). With nothing learned the configured
weights are the odds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from llm_pool.agreement import evidence
from llm_pool.core.messages import StrategyName
from llm_pool.ensemble.ballots import Poll, poll
from llm_pool.ensemble.stragglers import endless
from llm_pool.ensemble.voting import decide, with_formulas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.interfaces import Clock, Emit, Member
    from llm_pool.core.messages import Attempt, Call, Decision, Reading, Task
    from llm_pool.ensemble.formulas import Formulas
    from llm_pool.ensemble.stragglers import Patience
    from llm_pool.trust.model import Trust


class TrustWeights:
    """A vote counts what *trust* says of its author and its traits."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust

    def weigh(self, task: Task, member: Member, reading: Reading | None, /) -> tuple[float, float]:
        """Log odds, at least a little, as both."""
        if reading is None:
            vote = self._trust.max_vote(member, task.name)
        else:
            vote = self._trust.vote(member, task.name, evidence(task, reading))
        return vote, vote

    def odds(self, task: Task, member: Member, /) -> float:
        """Learned from the configured weight on."""
        return self._trust.odds(member, task.name)


class Weighted:
    """
    The whole panel, each vote by its trust.

    Args:
        clock: the time.
        trust: what was learned; read at every decision, so that it may go on learning.
        formulas: looks for equal ones where there is no majority; None: nobody does.
        patience: how long a member's silence is borne.
    """

    def __init__(
        self, clock: Clock, trust: Trust, formulas: Formulas | None = None, *, patience: Patience = endless
    ) -> None:
        self._clock, self._trust, self._formulas, self._patience = clock, trust, formulas, patience

    async def run(self, call: Call, panel: Sequence[Member], emit: Emit) -> Decision:
        """Ask as many of *panel* as can matter; raises AllProvidersFailed, DeadlineExceeded."""
        trust = self._trust.of(call.tenant_id)
        order = sorted(panel, key=lambda m: (m.suspect, not m.loaded, -trust.vote(m, call.task.name), m.rank))
        vote_weights = TrustWeights(trust)
        asked = await poll(self._clock, call, order, emit, vote_weights, patience=self._patience)
        return self._decide(call, panel, await with_formulas(self._formulas, call, panel, asked, vote_weights))

    def decide(self, call: Call, panel: Sequence[Member], attempts: Sequence[Attempt]) -> Decision:
        """The weighted vote on attempts made for another strategy; raises AllProvidersFailed."""
        return self._decide(call, panel, Poll(tuple(attempts)))

    def _decide(self, call: Call, panel: Sequence[Member], asked: Poll) -> Decision:
        trust = self._trust.of(call.tenant_id)
        decision = decide(StrategyName.WEIGHTED, call, panel, asked, TrustWeights(trust))
        margin = margin_of(decision)
        confidence = trust.confidence(call.task.name, margin)
        decision = msgspec.structs.replace(decision, margin=margin, confidence=confidence)
        if trust.has_learned(call.task.name):
            return decision
        note = f"nothing learned on {call.task.name} yet: the configured weights are the trust"
        return msgspec.structs.replace(decision, notes=(*decision.notes, note))


def margin_of(decision: Decision) -> float:
    """By how much the votes for the winner exceed those for its best rival, of a weighted *decision*; at least 0."""
    scores = sorted((cluster.score for cluster in decision.clusters), reverse=True)
    return round(scores[0] - (scores[1] if len(scores) > 1 else 0.0), 4)

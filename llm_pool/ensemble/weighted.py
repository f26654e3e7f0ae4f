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
from llm_pool.ensemble.voting import decide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.interfaces import Clock, Emit, Member
    from llm_pool.core.messages import Attempt, Call, Decision, Reading, Task
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


class Weighted:
    """
    The whole panel, each vote by its trust.

    Args:
        clock: the time.
        trust: what was learned; read at every decision, so that it may go on learning.
        patience: how long a member's silence is borne.
    """

    def __init__(self, clock: Clock, trust: Trust, patience: Patience = endless) -> None:
        self._clock, self._trust, self._patience = clock, trust, patience
        self._vote_weights = TrustWeights(trust)

    async def run(self, call: Call, panel: Sequence[Member], emit: Emit) -> Decision:
        """Ask as many of *panel* as can matter; raises AllProvidersFailed, DeadlineExceeded."""
        order = sorted(panel, key=lambda m: (m.suspect, not m.loaded, -self._trust.vote(m, call.task.name), m.rank))
        asked = await poll(self._clock, call, order, emit, self._vote_weights, patience=self._patience)
        return self._decide(call, panel, asked)

    def decide(self, call: Call, panel: Sequence[Member], attempts: Sequence[Attempt]) -> Decision:
        """The weighted vote on attempts made for another strategy; raises AllProvidersFailed."""
        return self._decide(call, panel, Poll(tuple(attempts)))

    def _decide(self, call: Call, panel: Sequence[Member], asked: Poll) -> Decision:
        decision = decide(StrategyName.WEIGHTED, call, panel, asked, self._vote_weights)
        if self._trust.has_learned(call.task.name):
            return decision
        note = f"nothing learned on {call.task.name} yet: the configured weights are the trust"
        return msgspec.structs.replace(decision, notes=(*decision.notes, note))

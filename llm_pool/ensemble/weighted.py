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
from llm_pool.ensemble.ballots import Poll, poll
from llm_pool.ensemble.voting import decide
from llm_pool.messages import StrategyName
from llm_pool.trust import Lesson, Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.interfaces import Clock, Emit
    from llm_pool.messages import Attempt, Call, Decision, Member, Reading, Task
    from llm_pool.trust import Trust


class Trusted:
    """A vote counts what *trust* says of its author and its traits."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust

    def of(self, task: Task, member: Member, reading: Reading | None, /) -> tuple[float, float]:
        """Log odds, at least a little, as both."""
        if reading is None:
            vote = self._trust.most(member, task.name)
        else:
            vote = self._trust.vote(member, task.name, evidence(task, reading))
        return vote, vote


class Weighted:
    """
    The whole panel, each vote by its trust.

    Args:
        clock: the time.
        trust: what was learned; read at every decision, so that it may go on learning.
    """

    def __init__(self, clock: Clock, trust: Trust) -> None:
        self._clock, self._trust, self._scale = clock, trust, Trusted(trust)

    async def run(self, call: Call, panel: Sequence[Member], emit: Emit) -> Decision:
        """Ask as many of *panel* as can matter; raises AllProvidersFailed, DeadlineExceeded."""
        order = sorted(panel, key=lambda m: (not m.loaded, -self._trust.vote(m, call.task.name), m.rank))
        return self._decide(call, panel, await poll(self._clock, call, order, emit, self._scale))

    def decide(self, call: Call, panel: Sequence[Member], attempts: Sequence[Attempt]) -> Decision:
        """The weighted vote on attempts made for another strategy; raises AllProvidersFailed."""
        return self._decide(call, panel, Poll(tuple(attempts)))

    def _decide(self, call: Call, panel: Sequence[Member], asked: Poll) -> Decision:
        decision = decide(StrategyName.WEIGHTED, call, panel, asked, self._scale)
        if self._trust.has_learned(call.task.name):
            return decision
        note = f"nothing learned on {call.task.name} yet: the configured weights are the trust"
        return msgspec.structs.replace(decision, notes=(*decision.notes, note))


def lesson(task: Task, decision: Decision) -> Lesson:
    """What *decision* can teach, now or when feedback comes: who said what, the winning cluster first."""
    readings = {a.provider: a.reading for a in decision.attempts if a.reading is not None}
    ordered = sorted(decision.clusters, key=lambda cluster: decision.winner not in cluster.providers)
    return Lesson(
        task.name,
        tuple(
            Statement(name, index, evidence(task, readings[name]))
            for index, cluster in enumerate(ordered)
            for name in cluster.providers
            if name in readings
        ),
    )

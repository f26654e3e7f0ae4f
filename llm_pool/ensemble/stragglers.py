"""
Whom a vote is still waited for: a rule, and who is silent by it.

Rules:

- Once there is an answer, a member that is being asked is a *straggler* when it has been silent for its patience, and
  for ``ENOUGH_TIMES`` as long as the slowest answer took: on one machine it is served when the one before has ended.
  Who writes is none.
- Nobody counts on a straggler: another is asked in its place, where there is one.
- When only stragglers are out, and a quorum has answered, the answers that are there decide. Without a quorum
  stragglers are waited for as well, unless each of them was silent the last few times and there is an answer.

Source: Dean & Barroso, The Tail at Scale, CACM 56(2), 2013 (good enough: answer without the slowest few).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from llm_pool.core.interfaces import Member
    from llm_pool.core.messages import Call
    from llm_pool.ensemble.attempts import AttemptGroup

ENOUGH_TIMES = 2.0

Patience: TypeAlias = "Callable[[Member, Call], float]"
"""Seconds of silence after which a decision that can be made is made without the member; infinite: none is too long."""


def endless(_member: Member, _call: Call) -> float:
    """Everybody is waited for to the deadline."""
    return math.inf


def is_enough(valid: int, quorum: int, stragglers: Sequence[Member]) -> bool:
    """
    Whether to decide without *stragglers*, who are all that are still out.

    Args:
        valid: valid answers that are in.
        quorum: valid answers that decide.
        stragglers: at least one.
    """
    return valid >= quorum or (valid > 0 and all(member.suspect for member in stragglers))


def with_suspects(panel: Sequence[Member], silent: Collection[str]) -> list[Member]:
    """*panel*, in which those that are named *silent* are suspects: nobody asks them next."""
    return [msgspec.structs.replace(m, suspect=m.suspect or m.name in silent) for m in panel]


class Stragglers:
    """
    Who of those that are being asked is silent for too long.

    Args:
        call: the question.
        panel: everybody who may be asked.
        attempt_group: the attempts.
        patience: by member and call.
    """

    def __init__(self, call: Call, panel: Sequence[Member], attempt_group: AttemptGroup, patience: Patience) -> None:
        self._call, self._panel, self._attempt_group, self._patience = call, panel, attempt_group, patience

    def at(self, now: float) -> list[Member]:
        """The stragglers at *now*."""
        return [member for member, late_at in self._late_at() if late_at <= now]

    def next_at(self, now: float) -> float:
        """The instant at which there may be another one; infinite: at none."""
        return min((late_at for _, late_at in self._late_at() if late_at > now), default=math.inf)

    def _late_at(self) -> list[tuple[Member, float]]:
        silences = self._attempt_group.silences
        answered = [a.duration for a in self._attempt_group.attempts if a.reading is not None]
        if not answered:
            return []
        least = ENOUGH_TIMES * max(answered)
        return [
            (member, silences[member.name].late_at(max(self._patience(member, self._call), least)))
            for member in self._panel
            if member.name in silences
        ]

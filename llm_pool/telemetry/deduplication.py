"""Counts a decision once: equal requests in flight share one run, and each reports the same decision."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_pool.core.messages import Answer, Decision

CAPACITY = 64


class DecisionDeduplicator:
    """Remembers the latest decisions by identity."""

    def __init__(self) -> None:
        self._seen = deque["Decision"](maxlen=CAPACITY)

    def is_first(self, answer: Answer) -> bool:
        """Whether *answer* was made for its asker, and is neither remembered nor another's; once for each decision."""
        decision = answer.decision
        if answer.from_cache or any(seen is decision for seen in self._seen):
            return False
        self._seen.append(decision)
        return True

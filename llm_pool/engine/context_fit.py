"""
Whether a question fits a model's context, and what is said where it fits none.

Only what is sure counts: a model is left out where the question has more words than its context has tokens. What is
closer than that its backend finds out, which counts tokens as the model does.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from llm_pool.core.errors import ContextLengthExceeded, PromptTooLong, UnsupportedTask
from llm_pool.providers.context_window import fewest_tokens, may_have_more_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_pool.core.interfaces import Member
    from llm_pool.core.messages import Abilities, Attempt, Prompt

CONTEXT = "context"
"""What a model lacks that a question is too long for, beside the words in ``Abilities``."""
SMALLEST = 1024
"""Tokens that every context has: for a shorter question nobody is asked how long his is."""


class PromptLength:
    """
    How long a question is.

    Attributes:
        matters: whether it may be too long for somebody.
    """

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt
        self.matters = may_have_more_tokens(prompt, SMALLEST) and self.tokens > SMALLEST

    @cached_property
    def tokens(self) -> int:
        """It has at least so many."""
        return fewest_tokens(self._prompt)

    def lacks(self, member: Member, abilities: Abilities) -> frozenset[str]:
        """``CONTEXT`` where *member*'s is known to be too short."""
        context = member.context or abilities.context
        return frozenset({CONTEXT}) if self.matters and context is not None and self.tokens > context else frozenset()

    def refusal(
        self, unable: Mapping[str, frozenset[str]], attempts: Sequence[Attempt]
    ) -> ContextLengthExceeded | None:
        """
        The error where nobody could hold it; None where that is not the reason.

        Args:
            unable: what those lack who were not asked.
            attempts: of those who were, none of which came to an answer.
        """
        refused = [attempt for attempt in attempts if attempt.error_kind == PromptTooLong.kind]
        left_out = [name for name, lacking in unable.items() if CONTEXT in lacking]
        others = {attempt.error_kind for attempt in attempts} - {PromptTooLong.kind, UnsupportedTask.kind}
        if others or not (refused or left_out):
            return None
        told = [f"{attempt.provider}: {attempt.error}" for attempt in refused]
        small = [f"too small for it: {', '.join(left_out)}"] if left_out else []
        return ContextLengthExceeded(
            "prompt",
            f"it has {self.tokens} tokens at least, more than the context of any model here holds "
            f"({'; '.join([*told, *small])})",
            hint="shorten it, or give a provider a longer context",
        )

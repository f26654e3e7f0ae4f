"""A provider that is asked with a prompt variant of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.qos.policy import Policy
from llm_pool.tasks import with_variant

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from llm_pool.core.interfaces import Provider
    from llm_pool.core.messages import Call, Delta


class PromptVariant(Policy):
    """
    Rephrases each call before it goes to *inner*.

    Args:
        inner: what is asked.
        variant: a folder under ``prompts/``.
    """

    def __init__(self, inner: Provider, variant: str) -> None:
        super().__init__(inner)
        self._variant = variant

    def stream(self, call: Call) -> AsyncGenerator[Delta]:
        """Ask in the variant's words; as it is where the task has no such variant."""
        return self.inner.stream(with_variant(call, self._variant))

"""The text of an answer while it is written: only what is the answer's own, since a reader cannot take text back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.core.errors import AllProvidersFailed
from llm_pool.core.events import TextArrived

if TYPE_CHECKING:
    from llm_pool.core.messages import Answer


class AnswerText:
    """
    The pieces of one answer, in their order.

    Attributes:
        owner: the provider whose text it is; empty until it is known.
    """

    def __init__(self) -> None:
        self.owner, self._told = "", ""

    def piece(self, event: object) -> str:
        """What *event* adds to the answer; empty where it adds nothing."""
        if not isinstance(event, TextArrived) or not event.committed or self.owner not in {"", event.provider}:
            return ""
        self.owner = event.provider
        text = event.text if self._told else event.text.lstrip()  # as answers that come in one piece
        self._told += text
        return text

    def rest_of(self, answer: Answer) -> str:
        """
        What was not told yet of *answer*, which is whole.

        Raises:
            AllProvidersFailed: what was told is not how it begins.
        """
        if not self._told:
            return answer.content
        if self._told.rstrip() != answer.content:
            raise AllProvidersFailed(answer.task, answer.decision.attempts)
        return ""

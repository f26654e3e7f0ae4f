"""
Reasoning in the text of a stream, split off as it comes, also where the text begins within it.

Some chat templates open the block of reasoning in the prompt. A server that does not know so streams the reasoning as
text, and a closing tag tells too late what it was. So the texts of such a model are held back as reasoning until the
tag comes, or until the end tells that there was none.
"""

from __future__ import annotations

import re
from typing import Final

from llm_pool.reading.reasoning import Piece, Splitter, split

_OPENED_IN_PROMPT: Final = re.compile(r"deepseek[-_]?r1|\br1\b|qwq|thinking|minimax[-_]?m", re.IGNORECASE)
"""Families whose templates open the block: DeepSeek-R1 and its distillates, QwQ, Qwen's Thinking, MiniMax."""


class ReasoningHabit:
    """
    Whether the texts of one model begin within its reasoning: a guess by its name, then what its last text showed.

    Args:
        model: as the server names it.

    Attributes:
        begins_inside: the next text is held back until its closing tag.
    """

    def __init__(self, model: str) -> None:
        self.begins_inside = _OPENED_IN_PROMPT.search(model) is not None

    def __repr__(self) -> str:
        return f"<ReasoningHabit begins_inside={self.begins_inside}>"


class InlineReasoning:
    """
    Splits one stream.

    Args:
        habit: says where the text begins; told where it did.
    """

    def __init__(self, habit: ReasoningHabit) -> None:
        self._habit, self._guessed = habit, habit.begins_inside
        self._splitter = Splitter(inside=habit.begins_inside)
        self._held: list[str] = []

    @property
    def is_outside(self) -> bool:
        """Whether what comes next may belong to the answer."""
        return self._splitter.complete

    def note_separate(self) -> None:
        """The server tells reasoning and text apart itself."""
        if self._guessed and not self._held:
            self._guessed = self._habit.begins_inside = False
            self._splitter = Splitter()

    def feed(self, text: str) -> Piece:
        """What the next piece of text adds."""
        if self._guessed and text:
            self._held.append(text)
        piece = self._splitter.feed(text)
        if piece.retracted:
            self._habit.begins_inside = True
        elif self._guessed and self._splitter.complete:
            self._guessed, self._held = False, []  # the tag has come
        return piece

    def close(self, *, is_whole: bool) -> Piece:
        """
        What was held back.

        Args:
            is_whole: the model has ended its text itself: without a closing tag it was an answer, and the guess wrong.
        """
        rest = self._splitter.close()
        if not self._guessed or not is_whole:
            return rest
        self._habit.begins_inside = False
        return Piece(answer=split("".join(self._held)).answer)

"""What of a stream is the answer's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from llm_pool.core.errors import AllProvidersFailed
from llm_pool.core.events import ReasoningArrived, TextArrived
from llm_pool.facade.answer_text import AnswerText
from llm_pool.testing import an_answer

if TYPE_CHECKING:
    from llm_pool.core.messages import Answer


def saying(content: str) -> Answer:
    return msgspec.structs.replace(an_answer(), content=content)


def test_only_the_committed_text_of_its_owner_is_told() -> None:
    """A candidate may yet lose."""
    text = AnswerText()
    events = [
        TextArrived("r", "a", "no"),
        TextArrived("r", "b", "\n ye", committed=True),
        ReasoningArrived("r", "b", "hm"),
        TextArrived("r", "c", "x", committed=True),
        TextArrived("r", "b", "s", committed=True),
    ]

    assert "".join(text.piece(event) for event in events) == "yes"
    assert text.owner == "b"
    assert text.rest_of(saying("yes")) == ""


def test_what_was_not_told_comes_at_the_end() -> None:
    assert AnswerText().rest_of(saying("yes")) == "yes"


def test_another_answer_than_the_one_told_is_an_error() -> None:
    """The reader cannot take it back."""
    text = AnswerText()
    text.piece(TextArrived("r", "a", "no", committed=True))

    with pytest.raises(AllProvidersFailed):
        text.rest_of(saying("yes"))

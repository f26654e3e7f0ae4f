"""Who has the last word in a conversation, and what a query makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llm_pool.core.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.messages import Image, Turn


class LastWord(NamedTuple):
    """The question, what it is about, and all that was said before; no question where tools have just answered."""

    prompt: str
    images: tuple[Image, ...]
    turns: tuple[Turn, ...]


def last_word(turns: Sequence[Turn], field: str) -> LastWord:
    """
    What the user asks last, or the results of tools that stand at the end, and all the other turns that say something.

    Raises:
        InvalidRequest: somebody else has the last word, apart from system texts; *field* is where they come from.
    """
    said = [turn for turn in turns if turn.text.strip() or turn.tool_calls or turn.tool_call_id or turn.images]
    last = next((at for at in reversed(range(len(said))) if said[at].role != "system"), None)
    role = None if last is None else said[last].role
    if last is not None and role == "user":
        return LastWord(said[last].text, said[last].images, tuple(said[:last] + said[last + 1 :]))
    if role == "tool":
        return LastWord("", (), tuple(said))
    raise InvalidRequest(field, "the user asks nothing at their end", hint="end with what the user says")

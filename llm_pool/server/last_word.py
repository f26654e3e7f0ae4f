"""Who has the last word in a conversation, and what a query makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llm_pool.core.errors import InvalidRequest
from llm_pool.server.result_pictures import with_pictures_shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.messages import Image, Turn


class LastWord(NamedTuple):
    """
    The question, what it is about, and all that was said before.

    No question where tools have just answered, or where the assistant has begun to: then the model goes on.
    """

    prompt: str
    images: tuple[Image, ...]
    turns: tuple[Turn, ...]


def last_word(turns: Sequence[Turn], field: str) -> LastWord:
    """
    What the user asks last, or what stands at the end in its place, and all the other turns that say something.

    Where there are system texts alone, the last of them is asked: many chat templates want a user. Pictures in results
    of tools are shown by the user.

    Raises:
        InvalidRequest: nobody says anything; *field* is where the turns come from.
    """
    said = [
        turn
        for turn in with_pictures_shown(turns)
        if turn.text.strip() or turn.tool_calls or turn.tool_call_id or turn.images
    ]
    last = next((at for at in reversed(range(len(said))) if said[at].role != "system"), None)
    if not said:
        raise InvalidRequest(field, "nobody says anything", hint="end with what the user says")
    if last is None:
        return LastWord(said[-1].text, (), tuple(said[:-1]))
    if said[last].role == "user":
        return LastWord(said[last].text, said[last].images, tuple(said[:last] + said[last + 1 :]))
    return LastWord("", (), tuple(said[:last] + said[last + 1 :] + said[last : last + 1]))

"""
What a completion says: from the text a model wrote to a value that fits the task's schema, whole or not at all.

::

    reasoning ─▶ strict ─▶ extracted ─▶ newlines ─▶ backslashes ─▶ tolerant ─▶ fields, stated
    split off    as is     prose and    raw ones    LaTeX and      commas,     by name, or as
                           fences cut   in strings  paths          quotes …    prose says it

At each place where JSON begins the first repair that reads it counts; what it yields is fitted to the schema
(``coerced``, ``ranked``) and validated. A later object corrects an earlier one, unless a new question begins between
them: models answer and then ramble. A later one that breaks off takes the earlier one back. So a cut text reads as
the whole one would, or not at all.

Everything takes time linear in the length of the text. What each repair is worth on recorded answers:
``bench/repair.py``, figures in ``docs/tasks.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from llm_pool.core.messages import Reading
from llm_pool.reading.blanks import is_blank
from llm_pool.reading.expectation import Expectation, Unreadable, beginning
from llm_pool.reading.reasoning import split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.messages import FinishReason, Json, OutputKind

__all__ = ["MAX_AT_ONCE", "MAX_LENGTH", "Unreadable", "read"]

MAX_LENGTH: Final = 1_000_000
"""Characters of an answer that are looked at; a longer one is refused."""
MAX_AT_ONCE: Final = 4_096
"""Characters that are read in less than 10 ms, whatever they are; an event loop has more of them read in a thread."""


def read(
    text: str,
    *,
    schema: dict[str, Json] | None,
    kind: OutputKind = "object",
    field: str = "",
    ids: Sequence[str] = (),
    finish: FinishReason = "stop",
) -> Reading:
    """
    Read *text* as an answer that fits *schema*.

    Args:
        text: what the model wrote.
        schema: JSON Schema of the answer; None takes any text that is not blank.
        kind: a ``ranking`` is mended into a permutation of *ids*.
        field: the deciding field of a ``value`` or a ``ranking``.
        ids: what a ranking permutes, in the order in which those left out are appended.
        finish: ``length`` says that the text was cut: then nothing is made of a field that is not complete.

    Raises:
        Unreadable: and nothing else, whatever *text* holds.
    """
    if len(text) > MAX_LENGTH:
        raise Unreadable(f"the answer is {len(text)} characters long, over the limit of {MAX_LENGTH}")
    text = text.strip()
    if schema is None:
        return Reading(_encodable(_answer(text)), None)
    from llm_pool.reading.valued import last_value, whole_value  # a tenth of a start that asks a plain question

    expectation = Expectation(schema, kind, field, tuple(ids))
    whole = whole_value(text, expectation)
    return last_value(_answer(text), expectation, finish) if whole is None else whole


def _answer(text: str) -> str:
    """*text* without the reasoning before it."""
    reasoning, answer, is_complete = split(text)
    if not is_complete:
        raise Unreadable("the answer ends in its reasoning, which is never closed")
    if not answer or answer.isspace():
        raise Unreadable("the answer is empty behind its reasoning" if reasoning else "the answer is empty")
    if is_blank(answer):
        raise Unreadable(f"the answer is blank: {beginning(answer)}")
    return answer.strip()


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Unreadable(f"half a character at position {error.start}") from error
    return text

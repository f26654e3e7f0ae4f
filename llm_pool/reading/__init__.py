"""
What a completion says: from the text a model wrote to a value that fits the task's schema.

::

    strict ─▶ extracted ─▶ newlines ─▶ backslashes ─▶ literals ─▶ repaired ─▶ fields
    as is     prose and    raw ones    LaTeX and      commas,     the json_   the required fields,
              fences cut   in strings  paths          quotes,     repair      wherever they stand
                                                      None        library
                                                               └▶ closed      instead of the last two,
                                                                              if the token limit cut the text

All rungs are tried on the first JSON in the text before any is on the next, and what a rung yields is fitted to the
schema (``coerced``, ``ranked``) and validated. The first value that passes is the answer: models answer and then
ramble. So a cut text reads as the whole one would, or not at all.

What each rung is worth on recorded answers: ``bench/repair.py``, figures in ``docs/tasks.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.core.messages import Reading
from llm_pool.reading.fitting import fit
from llm_pool.reading.rungs import candidates
from llm_pool.reading.wanted import Unreadable, Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.messages import FinishReason, Json, OutputKind

__all__ = ["MAX_LENGTH", "Unreadable", "read"]

MAX_LENGTH = 1_000_000
"""Characters of an answer that are looked at; a longer one is refused."""


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
        schema: JSON Schema of the answer; None takes any text that is not empty.
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
    if not text:
        raise Unreadable("the answer is empty")
    if schema is None:
        return Reading(_encodable(text), None)
    wanted = Wanted(schema, kind, field, tuple(ids))
    refusal = ""
    for candidate in candidates(text, wanted, finish):
        try:
            return fit(candidate, wanted)
        except Unreadable as error:
            refusal = refusal or error.reason
    raise Unreadable(refusal or _nothing_in(text, wanted, finish))


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Unreadable(f"half a character at position {error.start}") from error
    return text


def _nothing_in(text: str, wanted: Wanted, finish: FinishReason) -> str:
    if finish == "length":
        return "the token limit cut the answer before its JSON was complete"
    begin = text[:60].encode(errors="replace").decode()
    return f"there is no JSON {wanted.shape or 'value'} in the answer, which begins {begin!r}"

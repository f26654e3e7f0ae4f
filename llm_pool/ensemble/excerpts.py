"""
What of a question and its candidates fits into a judge's context.

The context window is the budget. Candidates are shortened before the question: a judge that does not know what was
asked can only guess. The longest are cut first, all to one length, and of each the head and the tail stay, since an
answer's point stands at its start or its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

CONTEXT: Final = 4096
"""Tokens of a context of which nothing is known: what Ollama gives a model unless told otherwise."""
RESERVE: Final = 300
"""Tokens for rules, letters, fences and the chat template."""
BYTES_PER_TOKEN: Final = 2.5
"""Bytes of UTF-8, on the safe side: English has over 4 to a token, code and LaTeX about 3, Chinese 3."""
LEAST: Final = 400
"""Bytes that each candidate keeps, before the question is cut as well."""
GAP: Final = "\n[…]\n"


class Shown(msgspec.Struct, frozen=True):
    """
    What a judge is shown.

    Attributes:
        candidates: in their own order.
        cut: what was cut, in one clause; empty if nothing was.
    """

    question: str
    candidates: tuple[str, ...]
    cut: str = ""


def room_for(context: int | None, max_tokens: int) -> int:
    """Bytes of question and candidates that fit into *context* tokens beside a verdict of *max_tokens*; at least 0."""
    return max(0, int(((context or CONTEXT) - RESERVE - max_tokens) * BYTES_PER_TOKEN))


def fitted(question: str, candidates: Sequence[str], room: int) -> Shown:
    """*question* and *candidates* in at most *room* bytes of UTF-8; at least one candidate."""
    asked, sizes = _size(question), [_size(text) for text in candidates]
    if asked + sum(sizes) <= room:
        return Shown(question, tuple(candidates))
    least = min(LEAST, room // (len(sizes) + 1))
    limit = _level(sizes, max(room - asked, least * len(sizes)))
    shorter = tuple(shorten(text, limit) for text in candidates)
    left = room - sum(_size(text) for text in shorter)
    cut = [f"{sum(size > limit for size in sizes)} of {len(sizes)} candidates to {limit} bytes"]
    if asked > left:
        cut.append(f"the question to {left} of its {asked} bytes")
    return Shown(shorten(question, left), shorter, " and ".join(cut))


def shorten(text: str, limit: int) -> str:
    """Head and tail of *text*, together at most *limit* bytes of UTF-8."""
    data = text.encode()
    if len(data) <= limit:
        return text
    left = limit - _size(GAP)
    if left <= 0:
        return data[: max(0, limit)].decode(errors="ignore")
    head = left * 2 // 3
    tail = data[len(data) - (left - head) :]
    return f"{data[:head].decode(errors='ignore')}{GAP}{tail.decode(errors='ignore')}"


def _level(sizes: Sequence[int], room: int) -> int:
    """The greatest length to which all can be cut so that together they fit into *room*."""
    for place, size in enumerate(sorted(sizes)):
        share = room // (len(sizes) - place)
        if size > share:
            return share
        room -= size
    return max(sizes)


def _size(text: str) -> int:
    return len(text.encode())

"""The option that an answer chooses, A to J."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_LONE: Final = re.compile(r"[(\[]?([A-Za-z])[)\].:]?")
_MARKED: Final = re.compile(
    r"(?:\(([A-J])\)|\[([A-J])\]|([A-J])[):]|(?:[Oo]ption|[Cc]hoice|[Aa]nswer)\s+\(?([A-J])\)?(?![\w'])[.:]?)"
    r"(?:\s*[,;:.\-\u2014]\s*|\s+)(?!(?:or|and)\b)(?=\S)"
)
_NAMED: Final = re.compile(r"(?:[Oo]ption|[Cc]hoice|[Aa]nswer)\s+\(?([A-J])\)?[.:]?")
_DOTTED: Final = re.compile(r"([A-J])\.\s+(?=\S)")
_CORRECT: Final = re.compile(r"\(?([A-J])\)? is (?:the )?(?:correct|right|best)\b")
_PICKED: Final = re.compile(
    r"(?:I(?:'d| would|'ll| will)? )?(?:choose|chose|pick|select|go with) (?:option |choice )?\(?([A-J])\)?\.?"
)
_OFFERED: Final = re.compile(r"(?:^|[\s(])\(?([A-J])[).:]\s*\S", re.MULTILINE)
LONGEST_INPUT: Final = 8000
"""Characters at the end of an input that are searched for its options."""


class Choice(NamedTuple):
    """A chosen letter; *clause* what follows it where it may be a name (``B. Franklin``), else empty."""

    letter: str
    clause: str = ""


def chosen(text: str, offered: frozenset[str] = frozenset()) -> Choice | None:
    """
    The option that *text* chooses, with the clause that explains it cut; None where it chooses none.

    Args:
        text: the value, undressed.
        offered: letters that the input marks as options; of these ``B. Paris`` is a choice. Of others it may be a
            name, and what follows the point stays part of it.
    """
    if match := _LONE.fullmatch(text) or _NAMED.fullmatch(text) or _PICKED.fullmatch(text):
        return Choice(match[1])
    if match := _MARKED.match(text) or _CORRECT.match(text):
        return Choice(next(letter for letter in match.groups() if letter))
    if match := _DOTTED.match(text):
        return Choice(match[1], "" if match[1] in offered else " ".join(text[match.end() :].split()).casefold())
    return None


def offered(question: str) -> frozenset[str]:
    """The letters under which *question* offers options: those from A on, if there are at least two."""
    found = set(_OFFERED.findall(question[-LONGEST_INPUT:]))
    run = frozenset("ABCDEFGHIJ"[: next((i for i, letter in enumerate("ABCDEFGHIJ") if letter not in found), 10)])
    return run if len(run) > 1 else frozenset()

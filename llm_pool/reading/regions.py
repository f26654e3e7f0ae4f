"""Where in a text JSON may stand: brackets outside strings, in one pass over the text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from llm_pool.reading.wanted import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_pool.reading.wanted import Wanted

MAX_DEPTH = 64
"""Levels of nesting; a deeper answer is refused, so that no recursion here or downstream can run away."""
MAX_REGIONS = 32
"""Places in one text where JSON may begin that are tried."""

# Possessive quantifiers: an unclosed string runs to the end of the text once, and is not tried again.
_STRING = r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)'
_BRACKET = re.compile(_STRING + r"|[{}\[\]]", re.DOTALL)
_TOKEN = re.compile(_STRING + r"|[{}\[\],:]", re.DOTALL)
_OBJECT = r"""\{(?=\s*+(?:["'}]|[A-Za-z_]\w*+\s*+:))"""
_BEGIN_OBJECT = re.compile(_OBJECT)  # not the brace of \frac{1}{2}
_BEGIN_ANY = re.compile(_OBJECT + r"|\[")
_FENCE = re.compile(r"\n[ \t]*+```")
_THINKING, _THOUGHT = "<think>", "</think>"  # reasoning models draft JSON there


class Region(NamedTuple):
    """Text from an opening bracket up to the one that closes it; *closed* is False where none does."""

    text: str
    closed: bool


def regions(text: str, wanted: Wanted, *, cut: bool) -> Iterator[Region]:
    """
    The outermost brackets that may be the answer, in the text's order.

    After one that is not closed, a *cut* text is over; another goes on behind the next fence.

    Raises:
        Unreadable: brackets are nested deeper than MAX_DEPTH.
    """
    if not wanted.shape:
        if not cut:
            yield Region(text, closed=True)
        return
    begin = _BEGIN_OBJECT if wanted.shape == "object" and wanted.kind != "ranking" else _BEGIN_ANY
    thought, position, tried = text.rfind(_THOUGHT), 0, 0
    if cut and thought < 0 and text.startswith(_THINKING):
        return
    while tried < MAX_REGIONS and (opening := begin.search(text, position)) is not None:
        start = opening.start()
        end = _closing(text, start)
        if end is not None and end <= thought:
            position = end  # a draft
        elif end is None and start < thought:
            position = thought
        elif end is None and cut:
            yield Region(text[start:], closed=False)
            return
        else:
            fence = _FENCE.search(text, start) if end is None else None
            stop = end or (fence.start() if fence else len(text))
            yield Region(text[start:stop], closed=end is not None)
            position, tried = fence.end() if fence else stop, tried + 1


def completed(tail: str) -> str:
    """The object that *tail* begins, with its last complete member, and closed."""
    depth, before, sure, maybe = 0, "", 1, 1
    for match in _TOKEN.finditer(tail):
        piece = match[0]
        depth += (piece in "{[") - (piece in "}]")
        if depth == 1 and piece == ",":
            sure = match.start()
        elif depth == 1 and (piece in "}]" or (before == ":" and _is_closed_string(piece))):
            maybe = match.end()
        before = piece
    return tail[: sure if tail[maybe:].strip() else max(sure, maybe)] + "}"


def _is_closed_string(piece: str) -> bool:
    return len(piece) > 1 and piece[0] == piece[-1] == '"' and not _ends_in_escape(piece[:-1])


def _ends_in_escape(text: str) -> bool:
    return (len(text) - len(text.rstrip("\\"))) % 2 == 1


def _closing(text: str, start: int) -> int | None:
    """Where the bracket at *start* is closed; None if it is not."""
    depth = 0
    for match in _BRACKET.finditer(text, start):
        bracket = match[0]
        if bracket in "{[":
            depth += 1
            if depth > MAX_DEPTH:
                raise Unreadable(f"brackets are nested deeper than {MAX_DEPTH} levels")
        elif bracket in "}]":
            depth -= 1
            if depth == 0:
                return match.end()
    return None

"""Where in a text JSON may stand: brackets outside strings, in time linear in the text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from llm_pool.reading.expectation import Unreadable
from llm_pool.reading.marks import COLONS, OPEN_LIST, OPEN_OBJECT, QUOTES
from llm_pool.reading.schemas import MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_pool.reading.expectation import Expectation

MAX_REGIONS = 32
"""Places in one text where JSON may begin that are tried."""
MAX_PASSES = 4
"""How often the text is gone through, at most, in search of closing brackets."""

# Possessive quantifiers: an unclosed string runs to the end of the text once, and is not tried again.
_STRING = r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)'
_BRACKET = re.compile(_STRING + r"|[{}\[\]]", re.DOTALL)
_OBJECT = rf"""[{OPEN_OBJECT}](?=\s{{0,200}}+(?:\\?[{QUOTES}}}]|//|/\*|[A-Za-z_]\w{{0,63}}+\s{{0,200}}+[{COLONS}]))"""
_BEGIN_OBJECT = re.compile(_OBJECT)  # not the brace of \frac{1}{2}
_BEGIN_ANY = re.compile(rf"{_OBJECT}|[\{OPEN_LIST}]")
_FENCE = re.compile(r"\n[ \t]*+```")


class Region(NamedTuple):
    """
    Where JSON may stand.

    Attributes:
        start: of its opening bracket.
        end: behind the bracket that closes it; where none does, *limit*.
        limit: where it ends at the latest: the text's end, or the next fence if it is not closed.
    """

    start: int
    end: int
    limit: int
    is_closed: bool


class Regions:
    """The outermost brackets that may be the answer, in the text's order; a reader may go on where it ended."""

    def __init__(self, text: str, expectation: Expectation) -> None:
        self._text = text
        only_objects = expectation.shape == "object" and expectation.kind != "ranking"
        self._begin = _BEGIN_OBJECT if only_objects else _BEGIN_ANY
        self._at = 0
        self._left = MAX_PASSES * len(text)

    def go_on_behind(self, end: int) -> None:
        """Look for the next one from *end* on, not behind the last one's bracket."""
        self._at = end

    def __iter__(self) -> Iterator[Region]:
        """
        Find one after the other.

        Raises:
            Unreadable: brackets are nested deeper than MAX_DEPTH.
        """
        text = self._text
        for _ in range(MAX_REGIONS):
            opening = self._begin.search(text, self._at)
            if opening is None or self._left <= 0:
                return
            start = opening.start()
            end = _closing(text, start)
            self._left -= (end or len(text)) - start
            fence = _FENCE.search(text, start) if end is None else None
            limit = fence.start() if fence else len(text)
            self._at = end or (fence.end() if fence else limit)
            yield Region(start, end or limit, limit, end is not None)


def _closing(text: str, start: int) -> int | None:
    """Behind the bracket that closes the one at *start*; None if none does."""
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

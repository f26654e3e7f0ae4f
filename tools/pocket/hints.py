"""
What a choice turns on, told where it can be known: labels for a small head that only training has.

Told nothing but the best of four, a model must find merit, comparing and copying all at once, and for a long time
finds none. So a second head has to name each candidate's merit at its last character, and of the words that may
overlap, whether they were asked for. The head is thrown away; what the layers learnt for it stays.
Source: Lee et al. 2015, Deeply-supervised nets, arXiv:1409.5185.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from tools.pocket.grammar import SIGNS, Choice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.pocket.grammar import Candidate
    from tools.pocket.oracle import Example

_FIRST = {sign: sum(levels for _, levels in list(SIGNS.values())[:place]) for place, sign in enumerate(SIGNS)}
_MERITS = sum(levels for _, levels in SIGNS.values())
LABELS = _MERITS + 2
"""How many there are: the merits by each sign, then not asked for, and asked for."""


class Hint(NamedTuple):
    """At the character *place* of a prompt, the label in [0, LABELS) that the model should see there."""

    place: int
    label: int


def hints(example: Example) -> Iterator[Hint]:
    """All that can be told of *example*; nothing unless it is a choice."""
    if not isinstance(example.case, Choice):
        return
    for candidate in example.case.candidates:
        start = example.prompt.index(candidate.shown)
        yield Hint(start + len(candidate.shown) - 1, _FIRST[example.case.sign] + candidate.merit)
        if example.case.sign == "overlap":
            yield from _of_words(candidate, start, example.case.asked)


def _of_words(candidate: Candidate, start: int, asked: tuple[str, ...]) -> Iterator[Hint]:
    (words,) = (value for key, value in json.loads(candidate.shown).items() if key != "id")
    last = start + candidate.shown.index(f'"{words}"')
    for word in words.split():
        yield Hint(last + len(word), _MERITS + (word in asked))
        last += len(word) + 1

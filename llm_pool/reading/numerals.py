"""Numbers as people and models write them: ``1,234``, ``3/4``, ``50%``, ``1.234,5``."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from llm_pool.reading.marks import DASHES, FULL_WIDTH, SPACES

MAX_LENGTH: Final = 400
"""Characters of a numeral."""


class Numeral(NamedTuple):
    """A number that a text spells, and whether a percent sign stands behind it."""

    value: int | float
    is_percent: bool


def numeral(text: str) -> Numeral | None:
    """
    The number that the whole of *text* spells; None where anything else stands beside it.

    ``1,234`` is read in the English way, as is ``1,234.5``; a comma that cannot be one between thousands is a decimal
    comma: ``3,14``, ``1.234,5``. Fractions are divided: ``3/4``, ``2 1/2``.
    """
    if len(text) > MAX_LENGTH:
        return None
    text = text.translate(_PLAIN).strip()
    is_percent = text.endswith("%")
    value = _value(text.removesuffix("%").rstrip())
    return None if value is None else Numeral(value, is_percent)


def _value(text: str) -> int | float | None:
    for pattern, separators in _GROUPED:
        if pattern.fullmatch(text):
            text = text.translate(separators)
            break
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    fraction = _FRACTION.fullmatch(text)
    return _quotient(*fraction.groups()) if fraction else None


def _quotient(sign: str, whole: str | None, above: str, below: str) -> int | float | None:
    numerator, denominator = int(above) + int(whole or 0) * int(below), int(below)
    if denominator == 0:
        return None
    exact = numerator % denominator == 0
    value = numerator // denominator if exact else numerator / denominator
    return -value if sign == "-" else value


_PLAIN = {**FULL_WIDTH, **dict.fromkeys(map(ord, DASHES), "-"), **dict.fromkeys(map(ord, SPACES), " ")}
_INTEGER = re.compile(r"[+-]?[0-9]{1,300}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,300}(?:\.[0-9]{0,300})?|\.[0-9]{1,300})(?:[eE][+-]?[0-9]{1,3})?")
_FRACTION = re.compile(r"([+-]?)(?:([0-9]{1,15})[ ])?([0-9]{1,15}) ?/ ?([0-9]{1,15})")
_GROUPED = (
    (re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]+)?"), str.maketrans("", "", ",")),
    (re.compile(r"[+-]?[1-9][0-9]{0,2}(?:[ '\u2019_][0-9]{3})+(?:[.,][0-9]+)?"), str.maketrans(",", ".", " '\u2019_")),
    (re.compile(r"[+-]?[1-9][0-9]{0,2}(?:\.[0-9]{3}){2,}"), str.maketrans("", "", ".")),
    (re.compile(r"[+-]?[1-9][0-9]{0,2}(?:\.[0-9]{3})+,[0-9]+"), str.maketrans(",", ".", ".")),
    (re.compile(r"[+-]?[0-9]+,[0-9]+"), str.maketrans(",", ".")),
)

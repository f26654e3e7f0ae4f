"""
Numbers as people and models write them, read exactly.

Separators: ``1,234.5``, ``1 234.5``, ``1'234.5``, ``1_234``, ``1.234,5``, ``12,34,567``. One comma with any other
number of digits behind it is no separator (``1,23`` may be two numbers), one point is always the decimal one. Also
quotients, mixed numbers, scale words, and numbers in words. ``007`` is a name written in digits.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Final

LONGEST: Final = 400
"""Characters of a number; Python refuses to print integers ten times as long."""

_GROUPED: Final = (
    r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?(?![\d,])"
    r"|[1-9]\d?(?:,\d{2})+,\d{3}(?:\.\d+)?(?![\d,])"
    r"|[1-9]\d{0,2}(?: \d{3})+(?:[.,]\d+)?(?! ?\d)"
    r"|[1-9]\d{0,2}(?:'\d{3})+(?:\.\d+)?(?![\d'])"
    r"|[1-9]\d{0,2}(?:_\d{3})+(?![\d_])"
    r"|[1-9]\d{0,2}(?:\.\d{3})+,\d+(?![\d,])"
    r"|[1-9]\d{0,2}(?:\.\d{3}){2,}(?![\d.,])"
)
NUMERAL: Final = re.compile(rf"(?:{_GROUPED}|\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d{{1,3}}(?![\d.]))?")
"""One number without a sign, of at most LONGEST characters."""
_MIXED: Final = re.compile(r"(\d{1,9})[ -](\d{1,9})/(\d{1,9})(?!\d)")
_QUOTIENT: Final = re.compile(r"\(?(-?[\d.,]+)\)?\s?/\s?\(?(-?[\d.,]+)\)?")
_NAME: Final = re.compile(r"0\d")
_SCALES: Final = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_SCALE: Final = re.compile(r"\s?(thousand|million|billion|trillion)\b", re.IGNORECASE)
_UNITS: Final = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS: Final = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
WORDS: Final = {word: value for value, word in enumerate(_UNITS)} | {
    word: 10 * (place + 2) for place, word in enumerate(_TENS)
}
"""The value of each word that is a number by itself, below a hundred."""


def leading(text: str) -> tuple[Fraction, int] | None:
    """The number without a sign that *text* begins with, and where it ends; None where it begins with none."""
    if len(text) > LONGEST or _NAME.match(text):
        return None
    try:
        if match := _MIXED.match(text):
            return Fraction(int(match[1])) + Fraction(int(match[2]), int(match[3])), match.end()
        if match := _QUOTIENT.match(text):
            over, under = exact(match[1]), exact(match[2])
            if over is not None and under is not None:
                return over / under, match.end()
    except ZeroDivisionError:
        return None
    match = NUMERAL.match(text)
    if match is None:
        return None
    number = exact(match[0])
    if number is None:
        return None
    scale = _SCALE.match(text, match.end())
    if scale:
        return number * _SCALES[scale[1].lower()], scale.end()
    return number, match.end()


def exact(digits: str) -> Fraction | None:
    """The number that *digits*, one ``NUMERAL`` with or without a sign, stand for; None where they are none."""
    sign, digits = (-1, digits[1:]) if digits.startswith("-") else (1, digits.removeprefix("+"))
    if len(digits) > LONGEST or not NUMERAL.fullmatch(digits):
        return None
    if re.fullmatch(r"[\d.]*\.\d{3},\d+|\d{1,3}(?:\.\d{3}){2,}|\d{1,3}(?: \d{3})+,\d+", digits):
        digits = digits.replace(".", "").replace(",", ".")
    try:
        return sign * Fraction(Decimal(re.sub("[,' _]", "", digits)))
    except InvalidOperation:
        return None


def in_words(text: str) -> int | None:
    """The whole number that *text* spells, as in ``two hundred and five``; None if it spells none."""
    words = text.lower().replace("-", " ").split()
    if not 0 < len(words) <= 16 or words[-1] == "and":
        return None
    total, part, before = 0, 0, "scale"
    for word in words:
        if word == "and" and before == "scale" and (total or part):
            continue
        if word in WORDS:
            is_digit = WORDS[word] < 10
            if before not in {"scale", "tens"} or (before == "tens" and not (is_digit and WORDS[word])):
                return None
            part += WORDS[word]
            before = "tens" if WORDS[word] >= 20 else "units"
        elif word in _SCALES and part:
            part *= _SCALES[word]
            if word != "hundred":
                total, part = total + part, 0
            before = "scale"
        else:
            return None
    return total + part


def spelled(number: Fraction) -> str:
    """
    One spelling for each number, for a key.

    A decimal of six places or more may be rounded: where a fraction with a denominator up to a hundred lies within
    half a unit of the last place, that is meant (``0.333333`` is 1/3). Twelve digits are kept, so that a sum of binary
    floats is what it should be.
    """
    if number.denominator == 1:
        return str(number.numerator)
    simple = number.limit_denominator(100)
    if simple == number:
        return str(number)
    places = _places(number)
    if places is None or places > 5:
        if abs(simple - number) * 2 * 10 ** min(places or 12, 12) <= 1:
            return str(simple)
        try:
            return str(Fraction(Decimal(f"{float(number):.12g}")))
        except OverflowError:
            return str(round(number))
    return str(number)


def _places(number: Fraction) -> int | None:
    """Decimal places that *number* needs; None for more than twenty, or infinitely many."""
    scaled = number
    for places in range(21):
        if scaled.denominator == 1:
            return places
        scaled *= 10
    return None

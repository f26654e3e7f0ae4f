"""
Closed expressions: what ``2sqrt(3)``, ``10^6`` or ``11+7sqrt(3)`` are worth, and one spelling for open ones.

A recursive descent over at most LONGEST characters::

    sum     = product (("+" | "-") product)*
    product = power (("*" | "/")? power)*          a missing operator multiplies: 2sqrt(3), 3pi
    power   = ("-" | "+")? atom ("^" power)?
    atom    = number | "pi" | "sqrt" atom | "(" sum ")"
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Final, TypeAlias

from llm_pool.agreement import numerals

LONGEST: Final = 120
"""Characters of an expression that is worked out."""
DEEPEST: Final = 20
"""Brackets inside brackets."""
LARGEST: Final = 1000
"""Bits of a power's value."""

Number: TypeAlias = "Fraction | float"

_WORTH_IT: Final = re.compile(r"sqrt|pi|\^|\*|\)|\d/")
_TOKEN: Final = re.compile(r"\d[\d,]*(?:\.\d+)?|\.\d+|sqrt|pi|[-+*/^()]")
_WORD: Final = re.compile(r"[A-Za-z]{3,}|\b(?:an|as|at|by|if|in|is|it|no|of|on|or|to|up)\b", re.IGNORECASE)
_FUNCTIONS: Final = frozenset({"sqrt", "pi", "inf", "sin", "cos", "tan", "ln", "log", "exp", "theta", "alpha", "beta"})
_OPEN: Final = re.compile(r"[-+*/^=<>()\[\]|!_]|\d")
_NO_FORMULA: Final = re.compile(r"[\d\s.,:;!?*#_'\"]*")
"""Digits and marks alone: ``007``, ``3:2``, ``***``."""
_APART: Final = re.compile(r"\d\s+\d")
_DROPPED_TIMES: Final = re.compile(r"(?<=[\w)])\*(?=[A-Za-z(])")
_LONE: Final = re.compile(r"(?<=[\^_])\((-?\w+)\)|(?<![\w)])\((\w+)\)(?![\w(])")
_ROOTED: Final = re.compile(r"sqrt\s*(\d+|[A-Za-z])(?![\w.(])")


def value(text: str) -> Number | None:
    """
    The number that *text* comes to; None where it holds a variable, or is a sum or a difference of plain numbers.

    ``3-1`` may be a score or a range: it is left as it is.
    """
    squeezed = re.sub(r"\s+", "", text)
    if len(squeezed) > LONGEST or not _WORTH_IT.search(squeezed):
        return None
    tokens = _TOKEN.findall(squeezed)
    if not tokens or "".join(tokens) != squeezed:
        return None
    try:
        return _Reader(tokens).all()
    except (_NoExpression, ZeroDivisionError, OverflowError, ValueError):
        return None


def spelled(number: Number) -> str:
    """One spelling for each number, for a key: exact for rational ones, ten digits for others."""
    return numerals.spelled(number) if isinstance(number, Fraction) else f"{number:.10g}"


def spelling(text: str) -> str | None:
    """*text* without what formulas leave to taste, spaces and dots of multiplication; None where it is no formula."""
    if not _OPEN.search(text) or _NO_FORMULA.fullmatch(text) or _APART.search(text):
        return None
    text = _ROOTED.sub(r"sqrt(\1)", text)
    if any(word not in _FUNCTIONS for word in _WORD.findall(text)):
        return None
    squeezed = re.sub(r"\s+", "", text).rstrip(".").replace("{", "(").replace("}", ")")
    return _DROPPED_TIMES.sub("", _LONE.sub(lambda match: match[1] or match[2], squeezed))


class _NoExpression(Exception):  # a way out, not a fault
    pass


class _Reader:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens, self._at, self._depth = tokens, 0, 0

    def all(self) -> Number:
        found = self._sum()
        if self._at < len(self._tokens):
            raise _NoExpression
        return found

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, *wanted: str) -> str:
        token = self._next()
        if token in wanted:
            self._at += 1
            return token
        return ""

    def _sum(self) -> Number:
        found = self._product()
        while sign := self._take("+", "-"):
            other = self._product()
            found = found + other if sign == "+" else found - other
        return found

    def _product(self) -> Number:
        found = self._power()
        while True:
            sign = self._take("*", "/")
            if not sign and (not self._next() or self._next() in "+-)^" or self._next()[0].isdigit()):
                return found
            other = self._power()
            found = found / other if sign == "/" else found * other

    def _power(self) -> Number:
        if self._take("-"):
            return -self._power()
        self._take("+")
        base = self._atom()
        return _raised(base, self._power()) if self._take("^") else base

    def _atom(self) -> Number:
        self._depth += 1
        if self._depth > DEEPEST:
            raise _NoExpression
        found = self._bare_atom()
        self._depth -= 1
        return found

    def _bare_atom(self) -> Number:
        if self._take("("):
            found = self._sum()
            if not self._take(")"):
                raise _NoExpression
            return found
        if self._take("sqrt"):
            return _root(self._atom())
        if self._take("pi"):
            return math.pi
        number = numerals.exact(self._next())
        if number is None:
            raise _NoExpression
        self._at += 1
        return number


def _root(number: Number) -> Number:
    if isinstance(number, Fraction) and number >= 0:
        over, under = math.isqrt(number.numerator), math.isqrt(number.denominator)
        if over * over == number.numerator and under * under == number.denominator:
            return Fraction(over, under)
    return math.sqrt(number)


def _raised(base: Number, exponent: Number) -> Number:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        size = max(base.numerator.bit_length(), base.denominator.bit_length())
        if size * abs(exponent) > LARGEST:
            raise _NoExpression
        power: Fraction = base ** int(exponent)
        return power
    if base < 0:
        raise _NoExpression
    return math.pow(base, exponent)

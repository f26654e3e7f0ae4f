r"""
When two values are the same: one canonical key each, equal exactly when the values count as equal.

What is folded away, in this order: LaTeX dressing (``\boxed{}``, ``\text{}``, ``$...$``, ``\frac``, ``^\circ``),
``x =`` in front, the option letter's brackets, Python or JSON literal syntax (so ``(1, 2)``, ``[1,2]`` and
``"[1, 2]"`` are one list), booleans, currency, percent, thousands separators and units around a number, case,
and spaces. A *strict* key keeps what a careful grader would look at: list or tuple, case, spaces inside.

Keys are built of strings and tuples only, and sets and mappings are sorted, so a key is the same in every
process: neither hash seed nor order of arrival has a say.
"""

from __future__ import annotations

import ast
import json
import re
import unicodedata
import warnings
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llm_pool.core.messages import Json

Key: TypeAlias = "tuple[str | Key, ...]"
"""A tag and what it holds, e.g. ``("number", "3")``; hashable, and comparable within one tag."""

LONGEST_LITERAL: Final = 4000
"""Characters; a longer string is prose, and is not read as a literal."""

LONGEST_NUMBER: Final = 400
"""Characters; Python refuses to print integers ten times as long."""

_NUMBER: Final = r"[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(?:\.\d+)?(?<=\d)\.?"
_PLAIN_NUMBER: Final = re.compile(rf"({_NUMBER})(?:[eE]([-+]?\d{{1,3}}))?")
_QUOTIENT: Final = re.compile(rf"([-+]?)\(?({_NUMBER})\)?\s*/\s*\(?({_NUMBER})\)?")
_POWER: Final = re.compile(rf"({_NUMBER})\s*[*x]\s*10\s*\^\s*[({{]?([-+]?\d{{1,3}})[)}}]?")
_UNIT: Final = re.compile(
    r"([-+]?[\d.,/]*\d)(?:(?:mm|cm|km|mg|kg|ml|ms|hrs?|min|am|pm|mph|in|ft|lbs?|m|g|s|h)\b|\s+)"
    r"(?!(?:pi|sqrt|mod|or|and|to)\b)((?:[^\W\d_]{2,}(?:\^?[23²³])?(?:/[^\W\d_]+)?[.,]?(?: |$)){0,4}|m(?:\^?[23²³])?)"
)
_SCALES: Final = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_CURRENCY: Final = re.compile(r"(?:[$€£¥]|USD|EUR|GBP)\s*(?=[-\d.])|\s*(?:[$€£¥]|USD|EUR|GBP)$")
_SIGNS: Final = {ord("\N{MINUS SIGN}"): "-", ord("\N{MULTIPLICATION SIGN}"): "*"}
_FULL_HOUR: Final = re.compile(r":00(?=\s*[ap]\.?m\b)", re.IGNORECASE)
_CODE: Final = re.compile(r"[-+]?0\d")
_OPTION: Final = re.compile(
    r"(?:(?:the )?(?:correct )?(?:answer|option|choice)(?: is)?:?\s*)?[(\[]?([A-Za-z])[)\].:]?", re.IGNORECASE
)
_LEADING_OPTION: Final = re.compile(r"\(?([A-H])[).:]\s+\S")
_ASSIGNED: Final = re.compile(r"[A-Za-z](?:_\w+|\([A-Za-z]\))?\s*=\s*(?=[^=])")
_WORDS: Final = {
    "true": ("bool", "true"),
    "yes": ("bool", "true"),
    "false": ("bool", "false"),
    "no": ("bool", "false"),
    "none": ("null",),
    "null": ("null",),
}


def canonical(value: Json, *, strict: bool = False) -> Key:
    """
    The key under which *value* is compared.

    Args:
        value: any JSON value; strings may hold LaTeX, Python literals, numbers with units.
        strict: keep case, inner spaces, and the difference of list and tuple.
    """
    if isinstance(value, str):
        return _text(value, strict=strict)
    if value is None:
        return ("null",)
    if isinstance(value, bool):
        return ("bool", "true" if value else "false")
    if isinstance(value, int | float | Decimal):
        return _quantity(value)
    return _container(value, strict=strict)


def form(value: Json) -> str:
    """What kind of thing *value* is: integer, decimal, bool, null, list, set, map, word or prose."""
    key = canonical(value)
    tag = str(key[0])
    if tag == "number":
        return "decimal" if re.search(r"[./e]", str(key[1])) else "integer"
    if tag == "text":
        return "prose" if " " in str(key[1]) else "word"
    return tag


def _container(value: Json, *, strict: bool) -> Key:
    if isinstance(value, dict):
        pairs = sorted((canonical(k, strict=strict), canonical(v, strict=strict)) for k, v in value.items())
        return ("map", *pairs)
    items: Iterable[Key] = (canonical(item, strict=strict) for item in value)
    if isinstance(value, set | frozenset):
        return ("set", *sorted(items))
    return ("tuple" if strict and isinstance(value, tuple) else "list", *items)


def _quantity(number: float | Decimal) -> Key:
    try:
        return _rational(Fraction(number))
    except (ValueError, OverflowError):  # nan and infinities are no fractions
        return ("number", str(number).lower())


def _rational(number: Fraction) -> Key:
    """Exact for integers, six significant digits otherwise: 1/3 and 0.3333333 are one number."""
    if number.denominator == 1:
        return ("number", str(number.numerator))
    try:
        return ("number", f"{float(number):.6g}")
    except OverflowError:
        return ("number", str(round(number)))


def _text(text: str, *, strict: bool) -> Key:
    text = unicodedata.normalize("NFC" if strict else "NFKC", text).translate(_SIGNS).strip()
    literal = _literal(text)
    if literal is not None and not isinstance(literal, str):
        return canonical(literal, strict=strict)
    inner = text if literal is None else literal.strip()
    for reading in (inner, _undress(inner)):
        key = _scalar(reading, strict=strict)
        if key is not None:
            return key
    return _words(inner, strict=strict)


def _scalar(text: str, *, strict: bool) -> Key | None:
    if option := _OPTION.fullmatch(text) or _LEADING_OPTION.match(text):
        return ("text", option[1] if strict else option[1].casefold())
    if word := _WORDS.get(text.rstrip(".").casefold()):
        return word
    number = _number(text)
    return None if number is None else _rational(number)


def _words(text: str, *, strict: bool) -> Key:
    if strict:
        return ("text", text)
    text = _undress(text).replace("\\n", "\n").replace("\\t", "\t")
    text = " ".join(text.split()).rstrip(".") or " ".join(text.split())
    return ("text", text.casefold() if _plainly_cased(text) else text)


def _plainly_cased(text: str) -> bool:
    """Whether case is only typography: ``yes``, ``YES``, ``Yes, sir``; but not ``pApA``."""
    return all(word in {word.lower(), word.upper(), word.capitalize()} for word in text.split())


def _literal(text: str) -> Json:
    """The value *text* spells in Python or JSON, or None where it is not a quoted or bracketed literal."""
    if not (2 <= len(text) <= LONGEST_LITERAL) or (text[0], text[-1]) not in _BRACKETS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # "\d" in an answer is the model's business
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


_BRACKETS: Final = {("[", "]"), ("(", ")"), ("{", "}"), ("'", "'"), ('"', '"')}

_DRESSING: Final = (
    (re.compile(r"\\(?:left|right|displaystyle|,|;|!|:|quad|qquad|limits)(?![A-Za-z])"), ""),
    (re.compile(r"\\(?:boxed|text|textbf|textit|mathrm|mathbf|mathit|operatorname|mbox|fbox)\s*\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\[dtc]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r"(\1)/(\2)"),
    (re.compile(r"\\[dtc]?frac\s*(\d)\s*(\d)"), r"(\1)/(\2)"),
    (re.compile(r"\\sqrt\s*\{([^{}]*)\}"), r"sqrt(\1)"),
    (re.compile(r"\^\s*\{?\s*\\circ\s*\}?|°|\\degrees?"), ""),
    (re.compile(r"\\(?:cdot|times)"), "*"),
    (re.compile(r"\\([$%#&_{}])"), r"\1"),
    (re.compile(r"\\(pi|infty|theta|alpha|beta)(?![A-Za-z])"), r"\1"),
    (re.compile(r"\{,\}"), ","),
)
_WRAPPERS: Final = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**"), ("`", "`"))


def _undress(text: str) -> str:
    """*text* without LaTeX and Markdown dressing, and without ``x =`` in front."""
    before = None
    while before != text:
        before = text
        for opening, closing in _WRAPPERS:
            if len(text) > len(opening) + len(closing) and text.startswith(opening) and text.endswith(closing):
                text = text[len(opening) : -len(closing)].strip()
        for pattern, replacement in _DRESSING:
            text = pattern.sub(replacement, text)
    return _ASSIGNED.sub("", text, count=1).strip() if _ASSIGNED.match(text) else text.strip()


def _number(text: str) -> Fraction | None:
    """The number *text* names, without currency, percent sign and unit; None where it names none."""
    text = _FULL_HOUR.sub("", _CURRENCY.sub("", text, count=1)).rstrip("%").strip()
    if len(text) > LONGEST_NUMBER or _CODE.match(text):  # 007 and 02134 are names written in digits
        return None
    scale = 0
    if unit := _UNIT.fullmatch(text):
        text = unit[1]
        scale = next((_SCALES[word] for word in unit[2].casefold().split()[:1] if word in _SCALES), 0)
    number = _bare_number(text)
    return None if number is None else number * 10**scale


def _bare_number(text: str) -> Fraction | None:
    try:
        if match := _PLAIN_NUMBER.fullmatch(text):
            return _exact(match[1]) * _ten_to(match[2] or "0")
        if match := _POWER.fullmatch(text):
            return _exact(match[1]) * _ten_to(match[2])
        if match := _QUOTIENT.fullmatch(text):
            return (-1 if match[1] == "-" else 1) * _exact(match[2]) / _exact(match[3])
    except (InvalidOperation, ZeroDivisionError):
        pass
    return None


def _exact(digits: str) -> Fraction:
    return Fraction(Decimal(digits.replace(",", "").rstrip(".")))


def _ten_to(exponent: str) -> Fraction:
    return Fraction(10) ** int(exponent)

"""
Units and currencies: what a number counts, in one spelling, as details of its key.

A known unit has a symbol; any other noun stands for itself in the singular, its adjectives apart, so that
``12 cookies`` agrees with ``12 oatmeal cookies`` and not with ``12 apples``. Nothing is converted: ``1 km`` and
``1000 m`` differ.
"""

from __future__ import annotations

import re
from typing import Final

_ALIASES: Final = {
    "mm": "millimeter millimeters millimetre millimetres",
    "cm": "centimeter centimeters centimetre centimetres cms",
    "m": "meter meters metre metres",
    "km": "kilometer kilometers kilometre kilometres kms Km KM",
    "in": "inch inches",
    "ft": "foot feet",
    "yd": "yard yards yds",
    "mi": "mile miles",
    "mg": "milligram milligrams",
    "g": "gram grams gramme grammes",
    "kg": "kilogram kilograms kilo kilos kgs Kg KG",
    "t": "tonne tonnes",
    "lb": "lbs pound pounds",
    "oz": "ounce ounces",
    "ml": "milliliter milliliters millilitre millilitres",
    "l": "liter liters litre litres",
    "gal": "gallon gallons",
    "ms": "millisecond milliseconds msec",
    "s": "sec secs second seconds",
    "min": "mins minute minutes",
    "h": "hr hrs hour hours",
    "day": "days d",
    "week": "weeks wk wks",
    "month": "months",
    "year": "years yr yrs",
    "mph": "",
    "kph": "kmh",
    "Hz": "hz hertz",
    "kHz": "khz",
    "MHz": "mhz",
    "GHz": "ghz",
    "kB": "kb KB kilobyte kilobytes",
    "MB": "mb megabyte megabytes",
    "GB": "gb gigabyte gigabytes",
    "TB": "tb terabyte terabytes",
    "byte": "bytes",
    "bit": "bits",
    "W": "w watt watts",
    "kW": "kw kilowatt kilowatts",
    "V": "v volt volts",
    "A": "ampere amperes amp amps",
    "J": "joule joules",
    "N": "newton newtons",
    "Pa": "pa pascal pascals",
    "K": "kelvin",
    "°": "degree degrees deg",
    "°C": "°c celsius centigrade",
    "°F": "°f fahrenheit",
    "rad": "radian radians",
    "%": "percent percentage",
    "$": "usd USD us$ US$ dollar dollars buck bucks",
    "€": "eur EUR euro euros",
    "£": "gbp GBP",
    "¥": "jpy JPY yen",
    "₹": "inr INR rupee rupees",
    "¢": "cent cents",
}
SYMBOLS: Final = {name: symbol for symbol, names in _ALIASES.items() for name in (symbol, *names.split())}
"""The symbol of each known unit, by its names. Case counts in short ones: ``MW`` is not ``mW``."""

CURRENCY: Final = re.compile(r"US\$|[A-Z]{1,2}\$|[$€£¥₹]|(?:USD|EUR|GBP|JPY|INR)\b")
"""What may stand before an amount."""

_TAIL: Final = re.compile(
    r"(?:^| )(?:in (?:total|all)|total|altogether|overall|left(?: over)?|remaining|more|each|apiece|old|away)$"
)
_SUPERSCRIPT: Final = re.compile(r"([A-Za-z])\^?\(?([23])\)?$")
_WORD: Final = re.compile(r"(?:[^\W\d_]|[$€£¥₹¢%°])(?:[^\W\d_]|[-'$%])*(?:\^?\(?[23]\)?)?")
_NO_UNITS: Final = frozenset(
    (
        *("and", "or", "not", "mod", "pi", "sqrt", "if", "of", "to", "than", "less", "fewer", "inf", "U", "plus"),
        *("minus", "times", "by", "but", "which", "is", "are", "was", "were", "because"),
    )
)


def named(text: str, *, glued: bool = False) -> list[tuple[str, str]] | None:
    """
    The details that *text*, all that follows a number, gives of it.

    Args:
        text: for example ``km/h``, ``oatmeal cookies``, or nothing.
        glued: no space is before it: it must be a known unit.

    Returns:
        Pairs of kind and name: ``unit``, ``per``, ``of`` (what is measured), ``which`` (its adjectives); None where
        it is no unit.
    """
    text = text.strip().rstrip(".").strip()
    if not text:
        return []
    if len(text) > 60:
        return None
    if not glued:
        text = _TAIL.sub("", text).strip()
    text, _, counted = text.partition(" of ")
    text, _, divisor = re.sub(r"\s*/\s*|\s+(?:per|an?)\s+", "/", text).partition("/")
    measured = _measured(text.split(), glued=glued)
    if measured is None:
        return None
    for kind, phrase in (("per", divisor), ("of", counted)):
        if phrase:
            found = _measured(phrase.split(), glued=False)
            if found is None:
                return None
            measured.extend((kind, name) for _, name in found[:1])
    return _short(measured)


def symbol_of(name: str) -> str | None:
    """The symbol of the unit called *name*; None if it is not known."""
    return SYMBOLS.get(name) or (SYMBOLS.get(name.lower()) if len(name) > 3 else None)


def singular(noun: str) -> str:
    """*noun* without its plural ending, as far as a rule can tell."""
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("shes", "sh")):
        if noun.endswith(ending) and len(noun) > len(ending) + 1:
            return noun[: -len(ending)] + instead
    return noun[:-1] if noun.endswith("s") and not noun.endswith(("ss", "us")) and len(noun) > 3 else noun


def _measured(words: list[str], *, glued: bool) -> list[tuple[str, str]] | None:
    if not words:
        return []
    if len(words) > 4 or not all(_WORD.fullmatch(word) for word in words):
        return None
    if any(word in _NO_UNITS for word in words):
        return None
    power = {"square": "^2", "sq": "^2", "sq.": "^2", "cubic": "^3", "cu": "^3"}.get(words[0].lower(), "")
    if power and len(words) > 1:
        words = words[1:]
    *adjectives, noun = words
    if raised := _SUPERSCRIPT.search(noun):
        noun, power = noun[: raised.start() + 1], f"^{raised[2]}"
    symbol = symbol_of(noun)
    if symbol in {"°C", "°F"} and [word.lower() for word in adjectives] in (["degrees"], ["degree"], ["°"]):
        adjectives = []
    if symbol is None:
        if glued or len(noun) < 2:
            return None
        is_symbol = len(noun) < 4 and not (noun.islower() or noun.istitle())  # mW is not MW
        symbol = noun if is_symbol else singular(noun.lower())
    which = " ".join(word.lower() for word in adjectives)
    return [("unit", symbol + power), *([("which", which)] if which else [])]


_COMPOUNDS: Final = {("mi", "h"): "mph", ("km", "h"): "kph"}


def _short(details: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """``mi`` per ``h`` is ``mph``, and ``kph`` likewise."""
    found = dict(details)
    short = _COMPOUNDS.get((found.get("unit", ""), found.get("per", "")))
    return [("unit", short)] if short else details

r"""
When two values are the same: the key of each, read off the text in this order.

===================  ==================================================  ==========================================
what                 for example                                         details of the key
===================  ==================================================  ==========================================
literals             ``{'a': [2]}``, ``"abc"``, JSON values              brackets, order; quoted text to the letter
words for nothing    ``None``, ``yes``, ``False``                        -
options              ``(B)``, ``The answer is (F), which …``             the clause, where it may be a name
dates, times         ``5 March 2024``, ``3:00 PM``                       year, weekday
quantities           ``$1,234.50``, ``12 km/h``, ``7 (seven)``, ``50%``  unit, per, of, which
assignments          ``x = 5``                                           variable
collections          ``2, -2``, ``x = 2 or x = -2``, ``±2``              those of its members; no order
formulas             ``2\sqrt{3}``, ``x^2 + 1``, ``(3, ∞)``              brackets, order
sentences            ``The game lasted 53 minutes.``                     unit, per, of, which
anything else        ``two words``                                       -
===================  ==================================================  ==========================================

Each text also has the exact wording as a detail that it does not state, unless it is in quotation marks: then case and
inner spaces count. Inside a literal types count: ``['2']`` is not ``[2]``.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from llm_pool.agreement import dates, expressions, numerals, options, units
from llm_pool.agreement.keys import Detail, Key, Shape, composed
from llm_pool.agreement.notation import plain, undressed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.messages import Json

LONGEST_LITERAL: Final = 3000
"""Characters; a longer string is prose, and is not read as a literal."""
LONGEST_PHRASE: Final = 300
"""Characters; a longer text is prose, and its first letter no option, its last number no answer."""
DEEPEST: Final = 64
"""Brackets inside brackets of a literal."""

_LEAD: Final = re.compile(
    r"(?:so|thus|hence|therefore)?,?\s*(?:(?:the|my|our)\s+)?(?:(?:correct|final|right|best)\s+)*"
    r"(?:answer|result|solution|value|output|option|choice)s?\s*(?:(?:is|are|equals|would be|:|=)\s*:?\s*)+(?=\S)",
    re.IGNORECASE,
)
_TAIL: Final = re.compile(
    r"\s+is (?:the|my) (?:(?:correct|final|right) )?(?:answer|result|solution)[.!]?$", re.IGNORECASE
)
_LABEL: Final = re.compile(r"([A-Z][a-z]+(?: [a-z]+){0,3}):\s+(?=\S)")
_ASSIGNED: Final = re.compile(r"([A-Za-z](?:_\w{1,9}|\([A-Za-z]\))?)\s*[=\N{ELEMENT OF}]\s*(?=[^=])")
_RESTATED: Final = re.compile(r"(.{1,60}?)\s*\(([^()]{1,80})\)")
_BETWEEN: Final = re.compile(r"\s*,\s*(?:and|or)\s+|\s+(?:and|or)\s+|\s*[,;]\s*")
_GROUPED: Final = re.compile(r"\d \d{3}(?!\d|/)")
_BOTH: Final = re.compile(r"([^+]{0,80}?)\+-\s*(.{1,80})")
_NUMBERS: Final = re.compile(r"(?<![\w.,$€£¥])[-$€£¥]*\d(?:[\d.,]*\d)?")
_HEDGED: Final = re.compile(
    r"\b(?:not|no|never|least|most|than|between|or|under|over|above|below|about|around|approximately|roughly|almost|"
    r"nearly|up to|by|to|from|of|with|within|n't)\s*$|n't\b|\b(?:not|never|neither|nor)\b",
    re.IGNORECASE,
)
_WORDS: Final = {
    "true": ("bool", "true"),
    "yes": ("bool", "true"),
    "false": ("bool", "false"),
    "no": ("bool", "false"),
    "none": ("null",),
    "null": ("null",),
}
_PAIRS: Final = {("[", "]"), ("(", ")"), ("{", "}"), ("'", "'"), ('"', '"')}


def canonical(value: Json, *, share: bool = False, offered: frozenset[str] = frozenset()) -> Key:
    """
    The key under which *value* is compared.

    Args:
        value: any JSON value; strings may hold LaTeX, Python literals, numbers with units.
        share: a number from 0 to 1 is asked for, so that ``50%`` is 0.5.
        offered: the letters of options in the question.
    """
    if isinstance(value, str):
        return _text(value, share=share, offered=offered)
    return _typed(value, quoted=False)


def form(value: Json) -> str:
    """What kind of thing *value* is: integer, decimal, bool, null, list, set, map, word or prose."""
    key = canonical(value)
    tag, *held = key.shape
    if tag == "number":
        return "decimal" if re.search(r"[./e]", str(held[0])) else "integer"
    if tag == "many":
        brackets = next((detail.said for detail in key.details if detail[:2] == ((), "brackets")), "[]")
        return "set" if brackets == "{}" else "list"
    if tag in {"bool", "null", "map"}:
        return str(tag)
    return "prose" if tag == "text" and " " in str(held[0]) else "word"


# Literals: JSON values, and what Python or JSON spells in a string.


def _typed(value: Json, *, quoted: bool) -> Key:
    """The key of a literal; *quoted*: a text spells it, and so states each string in it to the letter."""
    if isinstance(value, str):
        key = Key(("text", _folded(value)))
        return key.having("exact", value) if quoted else key.worded(value)
    if value is None:
        return _word("none", "None")
    if isinstance(value, bool):
        return _word(str(value).lower(), str(value))
    if isinstance(value, int | float | Decimal):
        return _number(value)
    if isinstance(value, dict):
        pairs = sorted((_typed(k, quoted=quoted), _typed(v, quoted=quoted)) for k, v in value.items())
        shape: Shape = ("map", *((name.shape, held.shape) for name, held in pairs))
        return composed(shape, (((i, j), key) for i, pair in enumerate(pairs) for j, key in enumerate(pair)))
    if isinstance(value, list | tuple | set | frozenset):
        brackets = "()" if isinstance(value, tuple) else "[]" if isinstance(value, list) else "{}"
        return _many([_typed(item, quoted=quoted) for item in value], brackets, names_them=quoted)
    return Key(("text", repr(value)))  # Python's bytes, complex numbers and Ellipsis


def _many(items: Sequence[Key], brackets: str = "", *, names_them: bool = True) -> Key:
    """Several things; with *brackets* other than braces their order counts."""
    keys = sorted(set(items) if brackets == "{}" else items)
    key = composed(("many", *(key.shape for key in keys)), (((i,), key) for i, key in enumerate(keys)))
    if brackets and names_them:
        key = key.having("brackets", brackets)
    if brackets in {"", "{}"}:
        return key
    ranks = {shape: str(rank) for rank, shape in enumerate(dict.fromkeys(key.shape for key in keys))}
    return key.having("order", " ".join(ranks[item.shape] for item in items))


def _number(number: float | Decimal) -> Key:
    try:
        return Key(("number", numerals.spelled(Fraction(str(number))))).worded(str(number))
    except (ValueError, OverflowError):  # nan, infinities, and integers too long to print
        return Key(("number", hex(number) if isinstance(number, int) else str(number).lower()))


def _word(word: str, exact: str) -> Key:
    return Key(_WORDS[word]).worded(exact)


def _literal(text: str) -> tuple[Json] | None:
    """The value *text* spells in Python or JSON, or None where it is not a quoted or bracketed literal."""
    if not (2 <= len(text) <= LONGEST_LITERAL) or (text[0], text[-1]) not in _PAIRS or _is_deep(text):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # "\d" in an answer is the model's business
            return (ast.literal_eval(text),)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass
    try:
        return (json.loads(text, strict=False),)
    except (ValueError, RecursionError):
        return None


def _is_deep(text: str) -> bool:
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest > DEEPEST


# Texts


def _text(text: str, *, share: bool, offered: frozenset[str]) -> Key:
    literal = _literal(text.strip())
    if literal is None:
        return _phrase(text, share=share, offered=offered)
    (value,) = literal
    if not isinstance(value, str):
        return _typed(value, quoted=True)
    if _literal(value.strip()) is not None:  # a string that holds a literal is no literal
        return _typed(value, quoted=True)
    return _phrase(value, share=share, offered=offered, quoted=True)


def _phrase(text: str, *, share: bool, offered: frozenset[str], quoted: bool = False) -> Key:
    """The key of *text*, which is no literal as it stands, but may be one without its dress."""
    if len(text) > LONGEST_LITERAL:
        key = Key(("text", _folded(text)))
        return key.having("exact", text) if quoted else key.worded(text)
    bare = undressed(plain(text))
    exact = text if quoted or bare == text.strip() else bare
    key = _undressed(bare, share=share, offered=offered)
    return key.having("exact", exact) if quoted else key.worded(exact)


def _undressed(bare: str, *, share: bool, offered: frozenset[str]) -> Key:
    """The key of an undressed text."""
    if len(bare) <= LONGEST_PHRASE:
        bare = bare.removeprefix("=").strip()
        said = _TAIL.sub("", undressed(bare[found.end() :]) if (found := _LEAD.match(bare)) else bare)
        for reading in dict.fromkeys((bare, said)):
            key = _read(reading, share=share, offered=offered)
            if key is not None:
                return key
        bare = said
    return Key(("text", _folded(bare)))


def _read(text: str, *, share: bool, offered: frozenset[str]) -> Key | None:
    """The key of an undressed phrase; None for mere words."""
    literal = _literal(text)
    if literal is not None and isinstance(literal[0], list | tuple | set | dict):
        return _typed(literal[0], quoted=True)
    for pattern, kind in ((_ASSIGNED, "variable"), (_LABEL, "label")):
        if (named := pattern.match(text)) and "=" not in text[named.end() :]:
            key = _read(text[named.end() :], share=share, offered=offered)
            return key.having(kind, named[1]) if key else None
    return (
        _scalar(text, share=share, offered=offered) or _collection(text, share=share) or _formula(text) or _stated(text)
    )


def _scalar(text: str, *, share: bool, offered: frozenset[str]) -> Key | None:
    """One thing: a word for nothing, an option, a date, a quantity, an assignment."""
    if word := _WORDS.get(text.rstrip(".!").casefold()):
        return Key(word)
    if choice := options.chosen(text, offered):
        key = Key(("text", choice.letter.casefold()))
        return key.having("clause", choice.clause) if choice.clause else key
    return _dated(text.rstrip(".")) or _amount(text, share=share)


def _dated(text: str) -> Key | None:
    if found := dates.day(text):
        key = Key(("date", found.iso[-5:]))
        for kind, said in (("year", found.year), ("weekday", found.weekday)):
            key = key.having(kind, said) if said else key
        return key
    clock = dates.time(text)
    return Key(("time", clock)) if clock else None


def _amount(text: str, *, share: bool) -> Key | None:
    """A quantity, however it is stated: assigned, restated in brackets, in words."""
    if assigned := _ASSIGNED.match(text):
        key = _amount(rest, share=share) if "=" not in (rest := text[assigned.end() :]) else None
        return key.having("variable", assigned[1]) if key else None
    if restated := _RESTATED.fullmatch(text):
        key, again = (_amount(part, share=share) for part in restated.groups())
        if key is not None and again is not None and key.shape == again.shape:
            return key
    return _quantity(text, share=share) or _worked_out(text) or _in_words(text)


def _quantity(text: str, *, share: bool = False) -> Key | None:
    """A number with its unit or currency; None where there is more or less in *text*."""
    rest, negative = text if text.startswith("+-") else text.removeprefix("+").lstrip(), False
    currency = ""
    for _ in range(2):
        if rest.startswith("-") and not negative:
            rest, negative = rest[1:].lstrip(), True
        if not currency and (before := units.CURRENCY.match(rest)):
            currency, rest = before[0], rest[before.end() :].lstrip()
    found = numerals.leading(rest)
    if found is None:
        return None
    number, end = found
    after = rest[end:]
    details = [] if after == "." else units.named(after, glued=after[:1].isalpha())
    if details is None:
        return None
    if currency:
        details = [*(each for each in details if each[0] != "unit"), ("unit", units.SYMBOLS.get(currency, currency))]
    if share and ("unit", "%") in details:
        number, details = number / 100, [each for each in details if each != ("unit", "%")]
    return Key(
        ("number", numerals.spelled(-number if negative else number)),
        tuple(Detail((), kind, name) for kind, name in details),
    )


def _worked_out(text: str) -> Key | None:
    """A closed expression, which may have a unit behind a space."""
    if (number := expressions.value(text.rstrip("."))) is not None:
        return Key(("number", expressions.spelled(number)))
    formula, _, unit = text.rpartition(" ")
    details = units.named(unit) if formula else None
    number = expressions.value(formula) if details else None
    if number is None or not details:
        return None
    return Key(("number", expressions.spelled(number)), tuple(Detail((), kind, name) for kind, name in details))


def _in_words(text: str) -> Key | None:
    words = text.rstrip(".").split()
    for end in range(len(words), max(0, len(words) - 3), -1):
        number = numerals.in_words(" ".join(words[:end]))
        details = units.named(" ".join(words[end:])) if number is not None else None
        if details is not None:
            return Key(("number", str(number)), tuple(Detail((), kind, name) for kind, name in details))
    return None


# Several things, formulas, sentences


def _collection(text: str, *, share: bool) -> Key | None:
    """Things side by side, in no order: ``2, -2``, ``x = 2 or x = -2``, ``±2``, ``(B) or (E)``."""
    if both := _BOTH.fullmatch(text):
        parts = (
            [f"{both[1]}{both[2]}", f"{both[1]}-{both[2]}"]
            if not both[1].strip(" =xyzn")
            else [f"{both[1]}+{both[2]}", f"{both[1]}-{both[2]}"]
        )
    else:
        parts = _split(text)
    if len(parts) < 2:
        return None
    items = [_member(part, share=share) for part in parts]
    found = [item for item in items if item is not None]
    return _many(found) if len(found) == len(parts) else None


def _member(text: str, *, share: bool) -> Key | None:
    """One of several: an option's letter in capitals, a quantity, or a formula; digits apart are two things there."""
    if _GROUPED.search(text):
        return None
    if re.fullmatch(r"\(?[A-J]\)?", text):
        return Key(("text", text.strip("()").casefold()))
    return _amount(text, share=share) or _formula(text)


def _split(text: str) -> list[str]:
    """*text* parted at commas, ``and``, ``or`` that stand in no brackets."""
    parts, depth, begun, at = [], 0, 0, 0
    while at < len(text):
        depth += (text[at] in "([{") - (text[at] in ")]}")
        between = _BETWEEN.match(text, at) if depth == 0 and text[at] in " ,;" else None
        if between:
            parts.append(text[begun:at])
            begun = at = between.end()
        else:
            at += 1
    return [part.strip() for part in (*parts, text[begun:])]


def _formula(text: str) -> Key | None:
    """A bracketed sequence of quantities and formulas, as an interval or a point is, or one formula."""
    if text[:1] in {"(", "["} and text[-1:] in {")", "]"} and _closes_last(text):
        items = [_member(part, share=False) for part in _split(text[1:-1])]
        found = [item for item in items if item is not None]
        if len(found) > 1 and len(found) == len(items):
            return _many(found, text[0] + text[-1])
    spelling = expressions.spelling(text)
    if spelling is None:
        return Key(("math", "inf")) if text.lower() in {"inf", "infinity", "+inf"} else None
    if assigned := _ASSIGNED.match(spelling):
        rest = spelling[assigned.end() :]
        if "=" not in rest:
            return Key(("math", rest)).having("variable", assigned[1])
    return Key(("math", spelling))


def _closes_last(text: str) -> bool:
    """Whether the bracket that *text* begins with is closed by its last character."""
    depth = 0
    for at, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            return at == len(text) - 1
    return False


def _stated(text: str) -> Key | None:
    """The quantity that a sentence ends with, where it is the only number in it and nothing hedges it."""
    numbers = list(_NUMBERS.finditer(text))
    if len(numbers) != 1 or len(text.split()) < 4 or not text[0].isupper():
        return None
    before = text[: numbers[0].start()]
    return None if _HEDGED.search(before.rstrip()) else _quantity(text[numbers[0].start() :])


def _folded(text: str) -> str:
    """*text* without outer dress, one space between words, and without case where case is only typography."""
    if len(text) > LONGEST_LITERAL:
        return " ".join(text.split()).casefold()
    text = undressed(plain(text)).replace("\\n", "\n").replace("\\t", "\t")
    squeezed = " ".join(text.split())
    squeezed = squeezed.rstrip(".") or squeezed
    return squeezed.casefold() if _plainly_cased(squeezed) else squeezed


def _plainly_cased(text: str) -> bool:
    """Whether case is only typography: ``yes``, ``YES``, ``Yes, sir``; but not ``pApA``."""
    return all(word in {word.lower(), word.upper(), word.capitalize()} for word in text.split())

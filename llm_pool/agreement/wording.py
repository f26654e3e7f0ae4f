"""
The normal form of a free text, which is equal for texts that differ in trifles.

It leaves out what nobody would call a difference:

- spaces, sentence punctuation, Markdown, bullets and a running numbering; case, unless both texts state it inside of a
  sentence that is not all in small letters or capitals;
- ``a``, ``an``, ``the``; politeness around the answer (``Sure!``, ``The answer is``, ``I hope this helps!``);
- spelling: contractions, numbers in words, thousands separators, dates and times, names of units.

It keeps everything else, each sign and each other word in its place. Words of one meaning (``big``, ``large``) are not
equal: no list of synonyms is long enough, and one that is too long is wrong.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple

from llm_pool.agreement import dates, numerals, units
from llm_pool.agreement.keys import Detail, Key
from llm_pool.agreement.notation import plain
from llm_pool.agreement.tokens import tokens

LONGEST: Final = 3000
"""Characters; of longer texts only identical ones, spaces apart, are the same. Bounds the time on the event loop."""

_APOSTROPHES: Final = str.maketrans(
    {"\x00": " ", "\u2018": "'", "\u2019": "'", "\u2014": " ", "\u2015": " ", "\u2026": " "}
)
_CODE: Final = re.compile(r"```[\w+-]*\n(.*?)```|`([^`\n]+)`", re.DOTALL)
_EMPHASIS: Final = re.compile(
    r"(?<![\w*_])(?:(\*{1,3}|_)(?=[^\s*_])([^*\n]{1,300}?)(?<=[^\s*_])\1"
    r"|__(?=[^\s_])([^\n_]{1,300}? [^\n_]{1,300}?)__)(?![\w*_])"  # of one word it may be a name: __init__
)
_LINE_START: Final = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|>[ \t]+(?!\d)|[-*+\u2022\u2013][ \t]+(?!\d))", re.MULTILINE)
_NUMBERED: Final = re.compile(r"^[ \t]*(\d{1,2})[.)][ \t]+(?=\S)", re.MULTILINE)
_OPENING: Final = re.compile(
    r"(?:(?:sure(?: thing)?|certainly|of course|absolutely|great question|good question|okay|ok|well|hello|hi)[!,.:]\s*"
    r"|here(?:'s| is| are) (?:the|your|my) (?:answer|result|solution|response)s?[:.]?\s*"
    r"|(?:so,? |thus,? |therefore,? |in short,? |in summary,? )?(?:the |my )?(?:(?:final|correct|short|right) )?answer"
    r"(?: is|:)[: ]\s*|(?:it|this|that)(?:'s| is) (?=\S))+",
    re.IGNORECASE,
)
_CLOSING: Final = re.compile(
    r"\s*(?:i hope (?:this|that) helps|hope (?:this|that) helps|let me know if [^.!?\n]{1,80}"
    r"|(?:please )?feel free to ask[^.!?\n]{0,60})[.!]*\s*$",
    re.IGNORECASE,
)
_CONTRACTED: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), full)
    for pattern, full in (
        (r"\bcan(?:'t|not)\b", "can not"),
        (r"\bwon't\b", "will not"),
        (r"\bshan't\b", "shall not"),
        (r"n't\b", " not"),
        (r"\bi'm\b", "i am"),
        (r"'re\b", " are"),
        (r"'ll\b", " will"),
        (r"'ve\b", " have"),
        (r"\b(it|that|there|what|he|she|here|who)'s\b", r"\1 is"),
        (r"\bper ?cent\b", "%"),
        (r"(?:°|\bdegrees?)\s?c(?:elsius)?\b", "°C"),
        (r"(?:°|\bdegrees?)\s?f(?:ahrenheit)?\b", "°F"),
    )
)
_WELDED: Final = re.compile(r"(?<=[^\W\d_])-(?=[^\W\d_])")
_JOINED_UNIT: Final = re.compile(r"(?<![\w.,])(\d[\d.,]*+)([A-Za-z°]{1,3})(?!\w)")
_NUMBER_WORD: Final = "|".join(numerals.WORDS)
_IN_WORDS: Final = re.compile(
    rf"\b(?:{_NUMBER_WORD})(?:[ -](?:and )?(?:{_NUMBER_WORD}|hundred|thousand|million|billion)){{1,15}}\b",
    re.IGNORECASE,
)
_PRICE: Final = re.compile(r"([$€£¥])\s?(\d(?:[\d.,]*\d)?)")


class Wording(NamedTuple):
    """
    A text's normal form, and what can be checked in it.

    Attributes:
        tokens: in order.
        capitals: those written with a capital at the start.
        names: those of them inside of a sentence.
        code: contents of code, to the letter.
        cases: places of tokens whose case counts, with the letters as written: inside of a sentence, in a text that is
            not all in small or all in capital letters.
    """

    tokens: tuple[str, ...]
    capitals: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    code: frozenset[str] = frozenset()
    cases: tuple[tuple[int, str], ...] = ()


def wording(text: str) -> Wording:
    """The normal form of *text*; of a long one a digest of its words as they stand."""
    if len(text) > LONGEST:
        return Wording((sha256(" ".join(text.split()).encode("utf-8", "surrogatepass")).hexdigest(),))
    return _wording(text)


@lru_cache(maxsize=64)
def _wording(text: str) -> Wording:
    code: list[str] = []
    bare = _CODE.sub(lambda match: _kept(match, code), text.translate(_APOSTROPHES))
    bare = _spelled(_unmarked(plain(bare)))
    found = tokens(bare, code)
    is_caseless = bare.islower() or bare.isupper()
    return Wording(
        tuple(token.folded for token in found),
        frozenset(token.folded for token in found if token.is_capital),
        frozenset(token.folded for token in found if token.is_capital and not token.starts),
        frozenset(code),
        () if is_caseless else tuple((i, token.written) for i, token in enumerate(found) if token.states_case),
    )


def key(text: str) -> Key:
    """The key of a free text: its tokens, and as details the letters of those whose case counts."""
    found = wording(text)
    return Key(("words", *found.tokens), tuple(Detail((place,), "case", written) for place, written in found.cases))


def _kept(match: re.Match[str], code: list[str]) -> str:
    content = match[1] if match[1] is not None else match[2]
    code.append("\n".join(line.rstrip() for line in content.strip("\n").splitlines()).rstrip())
    return f" \x00{len(code) - 1}\x00 "


def _unmarked(text: str) -> str:
    """*text* without contractions, Markdown, politeness around the answer, and a numbering that runs from one."""
    for pattern, full in _CONTRACTED:
        text = pattern.sub(full, text)
    text = _EMPHASIS.sub(r"\2\3", _LINE_START.sub("", text)).strip()
    numbers = [match[1] for match in _NUMBERED.finditer(text)]
    if len(numbers) > 1 and numbers == [str(place) for place in range(1, len(numbers) + 1)]:
        text = _NUMBERED.sub("", text)
    opening = _OPENING.match(text)
    if opening and opening.end() < len(text):
        text = text[opening.end() :]
    closing = _CLOSING.search(text, max(0, len(text) - 200))
    return text[: closing.start()] if closing and closing.start() else text


def _spelled(text: str) -> str:
    """*text* in one spelling of dates, times, and numbers with their units."""
    text = _IN_WORDS.sub(_in_digits, text)
    text = _PRICE.sub(r"\2 \1", _WELDED.sub(" ", dates.unified(text)))
    return _JOINED_UNIT.sub(lambda m: f"{m[1]} {m[2]}" if m[2] in units.SYMBOLS else m[0], text)


def _in_digits(match: re.Match[str]) -> str:
    number = numerals.in_words(match[0])
    return match[0] if number is None else str(number)

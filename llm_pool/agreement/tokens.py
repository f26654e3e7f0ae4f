"""
The tokens of a text, each in one spelling.

Words, numbers, and every sign that may mean something; sentence punctuation falls between them. What stands in brackets
or quotation marks as a literal does keeps them. Case is kept where it makes another word of it: US, Mg, ``camelCase``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from llm_pool.agreement import numerals, units

if TYPE_CHECKING:
    from collections.abc import Sequence

_TOKEN: Final = re.compile(
    r"\x00\d+\x00"
    r"|'(?:[Tt]rue|[Ff]alse|None|null|-?\d[\d.]*)'|\"(?:[Tt]rue|[Ff]alse|None|null|-?\d[\d.]*)\""
    r"|[(\[]\s*[-+\w.]{1,40}\s*,\s*[-+\w.]{1,40}\s*[)\]]"
    r"|https?://[^\s,;)]+[^\s,;).]"
    r"|(?<![\w.,])[-+]?[$€£¥]?\d(?:[\d.,:/'_-]*\d)?!?"
    r"|[A-Z]\.(?:[A-Z]\.)+"
    r"|[:;]-?[()DP](?!\w)|(?<=\d)['\"](?=\s[a-z])"
    r"|[!<>=]=+|&&|\|\||\+\+|--|[-=]>|<-"
    r"|\\[A-Za-z]+|(?<!\S)\.[A-Za-z][\w.]*"
    r"|(?<!['\w])[A-Za-z]'+(?!\w)|(?<![\w'])[B-HJ-Zb-hj-z]!(?!\w)"
    r"|[^\W\d_][+#]{1,2}(?!\w)"
    r"|\w+(?:(?:['./@&]|::|->|(?<=\d)-|-(?=\d))\w+)*"
    r"|(?<=\w)[(\[]"
    r"|[^\w\s,.;:!?\"'()\[\]\-]|-(?=[\w-])|(?<=\w)-(?!\w)|(?<!\S)-(?=\s)"
)
_FORMULA_TOKEN: Final = re.compile(rf"{_TOKEN.pattern}|[()\[\]]")
_GROUPED: Final = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
_OPERATOR: Final = re.compile(
    r"[\w)]\s*[*/^=<>+]\s*[\w(]|\d\s*-\s*[\w(]|\)\s*-"
    r"|\[|\(\s*[(\['\"]|\(\s*-?\d[^()\s]*,"  # a literal: its brackets count, too
)
_ARTICLES: Final = frozenset(("a", "an", "the"))
_EXIT_GRACE: Final = frozenset(("please", "indeed"))
_DOTTED: Final = re.compile(r"(?:[A-Z]\.){2,}|e\.g|i\.e")
_COUNTING: Final = frozenset(("few", "little", "lot", "bit", "couple", "hundred", "thousand", "million", "dozen"))
_ACRONYMS: Final = frozenset(("US", "IT", "WHO"))
"""Words that are another word in capitals."""
_STRESSED: Final = frozenset(
    (
        *("yes", "no", "not", "never", "none", "nothing", "true", "false", "all", "any", "and", "or", "only", "must"),
        *("always", "do", "does", "is", "are", "can", "will", "may", "should", "both", "before", "after", "a", "i"),
    )
)
"""Words that are the same in capitals, which stress them. Any other is a name there: CO, NASA."""
_TWO_LETTERS: Final = frozenset(
    (
        *("ah", "am", "an", "as", "at", "be", "by", "do", "go", "ha", "he", "hi", "if", "in", "is", "it", "me", "mr"),
        *("ms", "my", "no", "of", "oh", "ok", "on", "or", "so", "to", "up", "us", "we", "dr", "st"),
    )
)
"""Words of two letters; any other with a capital is a symbol: Mg is not mg."""
_SENTENCE_STARTS: Final = frozenset(".!?:\n")
_SIGNS: Final = frozenset("*/^=<>+-(")
_AFTER_A_LETTER: Final = frozenset(
    ("is", "was", "has", "and", "or", "will", "can", "should", "because", "to", "of", "in", "on", "with", "but")
)
_OPENERS: Final = frozenset("'\"([")
"""Behind these a word is quoted or listed, and counts even if it is an article."""


class Token(NamedTuple):
    """A token as it is compared and as it was written; *starts*: a sentence begins with it."""

    folded: str
    written: str
    starts: bool = False

    @property
    def is_capital(self) -> bool:
        """Whether it begins with a capital, as a name does."""
        return self.written[:1].isupper() and self.written not in {"I", "A", "The"}

    @property
    def states_case(self) -> bool:
        """Whether its case is more than typography; a word in capitals that may be stressed is not."""
        if self.starts or not self.written[0].isalpha() or not self.folded[0].isalpha():
            return False
        return self.folded == self.written.casefold() and not (self.folded in _STRESSED and self.written.isupper())


def tokens(text: str, code: Sequence[str]) -> list[Token]:
    """
    The tokens of *text*, without articles and politeness.

    Args:
        text: in place of each piece of code its index in *code*, between two NUL characters.
        code: the pieces, to the letter.
    """
    pattern = _FORMULA_TOKEN if _OPERATOR.search(text) else _TOKEN
    matches = [*pattern.finditer(text)]
    shouts = text.isupper()
    found: list[Token] = []
    end = 0
    for place, match in enumerate(matches):
        token, gap = match[0], text[end : match.start()]
        starts = not end or not _SENTENCE_STARTS.isdisjoint(gap)
        end = match.end()
        if token.startswith("\x00"):
            found.append(Token(_quoted(code[int(token.strip(chr(0)))]), "`", starts))
            continue
        following = matches[place + 1][0] if place + 1 < len(matches) else ""
        previous = found[-1].folded if found else ""
        is_word = text[end : end + 1].isspace() and gap[-1:] not in _OPENERS
        if not (is_word and _is_left_out(token, previous, following, starts=starts)):
            found.append(Token(_folded(token, previous, shouts=shouts), token, starts))
    return found


def _quoted(code: str) -> str:
    """*code* as a token: one plain word is the same in backticks and without."""
    return code if re.fullmatch(r"[\w.]+", code) and _folded(code) == code else f"`{code}`"


def _is_left_out(token: str, previous: str, following: str, *, starts: bool) -> bool:
    word = token.casefold()
    if word not in _ARTICLES:
        return word in _EXIT_GRACE
    if not (following[:1].isalnum() or following[:1] in "\x00$€£¥") or previous[-1:] in _SIGNS:
        return False  # an article has a noun behind it; the letter of a formula has a sign beside it
    if following.casefold() in _COUNTING:
        return False
    return token != "A" or (starts and following[:1].islower() and following not in _AFTER_A_LETTER)  # noqa: S105


def _folded(token: str, previous: str = "", *, shouts: bool = False) -> str:
    """*token* in one spelling; *previous* is the token before it; *shouts*: it is from a text all in capitals."""
    token = token.replace(".", "") if _DOTTED.fullmatch(token) else token
    if token in _ACRONYMS or _is_identifier(token) or (not shouts and _is_symbol(token)):
        return token
    if token[0] in "(['\"":
        return re.sub(r"\s+", "", token)
    word = token.casefold()
    if word in numerals.WORDS:
        return str(numerals.WORDS[word])
    if _GROUPED.fullmatch(token.lstrip("-+")):
        return token.replace(",", "")
    if previous == "-" and len(token) == 1:
        return token  # the switch of a command
    if previous[-1:].isdigit():
        return units.symbol_of(token) or (token if len(token) < 4 else word)
    return word


def _is_symbol(token: str) -> bool:
    """Whether the case of *token* is part of its name: NASA, Mg."""
    word = token.casefold()
    if len(token) == 1:
        return token.isupper() and word not in _STRESSED
    if len(token) == 2 and token.isalpha() and token[0].isupper():
        return word not in _TWO_LETTERS and word not in _STRESSED
    return token.isupper() and token.isalpha() and word not in _STRESSED


def _is_identifier(token: str) -> bool:
    """Whether *token* is written as code is: ``snake_case``, ``camelCase``, ``a.b()``."""
    return token[0] == "\\" or "_" in token or re.search(r"[a-z][A-Z]|[A-Za-z]\.[A-Za-z]{2}|::|->", token) is not None

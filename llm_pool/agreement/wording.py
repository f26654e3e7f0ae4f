"""
When two free texts say the same, as far as a rule can tell: ``same``, ``different``, or ``unclear``.

``same`` is an equal normal form. It leaves out what nobody would call a difference:

- spaces, case (unless both texts state it inside of a sentence), sentence punctuation, Markdown, bullets and a running numbering;
- ``a``, ``an``, ``the``; politeness around the answer (``Sure!``, ``The answer is``, ``I hope this helps!``);
- spelling: contractions, numbers in words, thousands separators, dates and times, names of units.

It keeps everything else, each symbol and each other word in its place. So equality is transitive, and words of one
meaning (``big``, ``large``) are not equal: no list of synonyms is long enough, and one that is too long is wrong.

``different`` are texts of which each has a checkable point that the other contradicts: a number, a unit, a name, code,
yes or no, a negation, or one of a few opposites. All else is ``unclear``. Only a judge, or a model asked whether each
entails the other, may call such texts the same (semantic entropy: Kuhn et al. 2023, arXiv:2302.09664; Farquhar et al.,
Nature 2024): character n-grams give ``30 days`` and ``60 days`` a similarity of 0.94.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from hashlib import sha256
from typing import Final, Literal, NamedTuple, TypeAlias

from llm_pool.agreement import dates, numerals, units
from llm_pool.agreement.keys import Detail, Key, same
from llm_pool.agreement.notation import plain

Sameness: TypeAlias = Literal["same", "different", "unclear"]

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
_WELDED: Final = re.compile(r"(?<=[^\W\d_])-(?=[^\W\d_])")
_JOINED_UNIT: Final = re.compile(r"(?<![\w.,])(\d[\d.,]*+)([A-Za-z°]{1,3})(?!\w)")
_NUMBER_WORD: Final = "|".join(numerals.WORDS)
_IN_WORDS: Final = re.compile(
    rf"\b(?:{_NUMBER_WORD})(?:[ -](?:and )?(?:{_NUMBER_WORD}|hundred|thousand|million|billion)){{1,15}}\b",
    re.IGNORECASE,
)
_PRICE: Final = re.compile(r"([$€£¥])\s?(\d(?:[\d.,]*\d)?)")
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
_AUXILIARIES: Final = frozenset(("do", "does", "did", "is", "are", "was", "were", "be", "been", "have", "has", "any"))
NEGATIONS: Final = frozenset(
    ("not", "no", "never", "none", "nobody", "nothing", "neither", "nor", "without", "hardly", "non", "nowhere")
)
_OPPOSITES: Final = frozenset(
    frozenset(pair)
    for pair in re.findall(
        r"(\w+)/(\w+)",
        "increase/decrease increases/decreases increased/decreased rise/fall rises/falls rose/fell up/down high/low "
        "higher/lower highest/lowest more/less more/fewer most/least many/few before/after above/below over/under "
        "left/right north/south east/west northern/southern eastern/western first/last true/false always/never "
        "all/none everybody/nobody everyone/nobody all/some with/without maximum/minimum max/min larger/smaller "
        "largest/smallest bigger/smaller longer/shorter longest/shortest older/younger oldest/youngest faster/slower "
        "fastest/slowest early/late earlier/later hot/cold warm/cold warmer/colder open/closed opened/closed "
        "open/close on/off enable/disable enabled/disabled allow/forbid allowed/forbidden allowed/prohibited "
        "legal/illegal possible/impossible valid/invalid safe/unsafe safe/dangerous even/odd positive/negative "
        "win/lose won/lost pass/fail passed/failed succeed/fail succeeded/failed buy/sell start/stop started/stopped "
        "begin/end inside/outside internal/external public/private day/night male/female accept/reject "
        "accepted/rejected agree/disagree include/exclude includes/excludes add/remove added/removed push/pull "
        "import/export ascending/descending synchronous/asynchronous mutable/immutable best/worst better/worse "
        "good/bad correct/incorrect right/wrong guilty/innocent alive/dead full/empty present/absent "
        "required/optional must/may both/neither",
    )
)


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
    found = _tokens(bare, code)
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


def compare(one: str, other: str) -> Sameness:
    """Whether two texts say the same; ``unclear`` where only a reader could tell."""
    a, b = wording(one), wording(other)
    if same(key(one), key(other)):
        return "same"
    if max(len(one), len(other)) > LONGEST:
        return "unclear"
    return "different" if _contradict(a, b) else "unclear"


def _contradict(a: Wording, b: Wording) -> bool:
    """Whether each of two texts has a checkable point where the other has another."""
    counted, other = Counter(a.tokens), Counter(b.tokens)
    mine, theirs = counted - other, other - counted
    both = (
        (_numbers(mine), _numbers(theirs)),
        (_units(mine), _units(theirs)),
        (a.names & mine.keys() - b.names, b.names & theirs.keys() - a.names),
        (a.code - b.code, b.code - a.code),
        (_signs(mine), _signs(theirs)),
        _first_words(a, b),
    )
    if any(one and another for one, another in both):
        return True
    verdicts = [next((w for w in said.tokens[:1] if w in {"yes", "no", "true", "false"}), "") for said in (a, b)]
    if all(verdicts) and verdicts[0] != verdicts[1]:
        return True
    if any(frozenset((one, another)) in _OPPOSITES for one in mine for another in theirs):
        return True
    return _negated(mine, theirs) or _negated(theirs, mine)


def _negated(mine: Counter[str], theirs: Counter[str]) -> bool:
    """Whether an odd number of negations is all that one text has beyond the other."""
    negations = sum(count for word, count in mine.items() if word in NEGATIONS)
    rest = (mine.keys() | theirs.keys()) - NEGATIONS - _AUXILIARIES
    return negations % 2 == 1 and not theirs.keys() & NEGATIONS and len(rest) <= 1


def _first_words(a: Wording, b: Wording) -> tuple[set[str], set[str]]:
    """The one word in which two texts differ, where both begin a sentence with it: a name, as far as one can see."""
    if len(a.tokens) != len(b.tokens):
        return set(), set()
    pairs = [(one, other) for one, other in zip(a.tokens, b.tokens, strict=True) if one != other]
    if len(pairs) != 1:
        return set(), set()
    one, other = pairs[0]
    return {one} & a.capitals, {other} & b.capitals


def _signs(tokens: Counter[str]) -> set[str]:
    return {token for token in tokens if not any(character.isalnum() for character in token)}


def _numbers(tokens: Counter[str]) -> set[str]:
    return {token for token in tokens if any(character.isdigit() for character in token)}


def _units(tokens: Counter[str]) -> set[str]:
    return {token for token in tokens if token in _UNIT_TOKENS}


_UNIT_TOKENS: Final = frozenset(symbol for symbol in units.SYMBOLS.values() if symbol != "in")


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


class _Token(NamedTuple):
    """A token as it is compared and as it was written; *starts*: a sentence begins with it."""

    folded: str
    written: str
    starts: bool = False

    @property
    def is_capital(self) -> bool:
        return self.written[:1].isupper() and self.written not in {"I", "A", "The"}

    @property
    def states_case(self) -> bool:
        """Whether its case is more than typography; a word in capitals that may be stressed is not."""
        if self.starts or not self.written[0].isalpha() or not self.folded[0].isalpha():
            return False
        return self.folded == self.written.casefold() and not (self.folded in _STRESSED and self.written.isupper())


def _tokens(text: str, code: list[str]) -> list[_Token]:
    """The tokens of *text*, without the words that are left out."""
    pattern = _FORMULA_TOKEN if _OPERATOR.search(text) else _TOKEN
    matches = [*pattern.finditer(text)]
    shouts = text.isupper()
    found: list[_Token] = []
    end = 0
    for place, match in enumerate(matches):
        token, gap = match[0], text[end : match.start()]
        starts = not end or not _SENTENCE_STARTS.isdisjoint(gap)
        end = match.end()
        if token.startswith("\x00"):
            found.append(_Token(_quoted(code[int(token.strip(chr(0)))]), "`", starts))
            continue
        following = matches[place + 1][0] if place + 1 < len(matches) else ""
        previous = found[-1].folded if found else ""
        is_word = text[end : end + 1].isspace() and gap[-1:] not in _OPENERS
        if not (is_word and _is_left_out(token, previous, following, starts=starts)):
            found.append(_Token(_folded(token, previous, shouts=shouts), token, starts))
    return found


_OPENERS: Final = frozenset("'\"([")
"""Behind these a word is quoted or listed, and counts even if it is an article."""


def _quoted(code: str) -> str:
    """*code* as a token: one plain word is the same in backticks and without."""
    return code if re.fullmatch(r"[\w.]+", code) and _folded(code) == code else f"`{code}`"


_FORMULA_TOKEN: Final = re.compile(rf"{_TOKEN.pattern}|[()\[\]]")


def _is_left_out(token: str, previous: str, following: str, *, starts: bool) -> bool:
    word = token.casefold()
    if word not in _ARTICLES:
        return word in _EXIT_GRACE
    if not (following[:1].isalnum() or following[:1] in "\x00$€£¥") or previous[-1:] in _SIGNS:
        return False  # an article has a noun behind it; the letter of a formula has a sign beside it
    if following.casefold() in _COUNTING:
        return False
    return token != "A" or (starts and following[:1].islower() and following not in _AFTER_A_LETTER)  # noqa: S105


_SIGNS: Final = frozenset("*/^=<>+-(")
_AFTER_A_LETTER: Final = frozenset(
    ("is", "was", "has", "and", "or", "will", "can", "should", "because", "to", "of", "in", "on", "with", "but")
)


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

"""
Whether two free texts say the same: ``same``, ``different``, or ``unclear``.

``same`` are texts of equal ``wording``. ``different`` are texts of which each has a checkable point that the other
contradicts: a number, a unit, a name, code, a sign, yes or no, a negation, or one of a few opposites. All else is
``unclear``, and only a judge, or a model asked whether each entails the other, may call such texts the same (semantic
entropy: Kuhn et al. 2023, arXiv:2302.09664; Farquhar et al., Nature 630, 2024): character n-grams give ``30 days`` and
``60 days`` a similarity of 0.94.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from llm_pool.agreement import units
from llm_pool.agreement.keys import same
from llm_pool.agreement.wording import LONGEST, key, wording

if TYPE_CHECKING:
    from llm_pool.agreement.wording import Wording

Sameness: TypeAlias = Literal["same", "different", "unclear"]

_AUXILIARIES: Final = frozenset(("do", "does", "did", "is", "are", "was", "were", "be", "been", "have", "has", "any"))
_NEGATIONS: Final = frozenset(
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
_UNIT_TOKENS: Final = frozenset(symbol for symbol in units.SYMBOLS.values() if symbol != "in")


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
    negations = sum(count for word, count in mine.items() if word in _NEGATIONS)
    rest = (mine.keys() | theirs.keys()) - _NEGATIONS - _AUXILIARIES
    return negations % 2 == 1 and not theirs.keys() & _NEGATIONS and len(rest) <= 1


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

"""
How alike two texts are, and which text of several to quote. What is the same is for ``wording`` to say.

Similarity is the F-score over character n-grams (chrF, symmetric): on recorded panels its medoid beats the one by
sorted tokens by half a point to a point and a half, and unlike a token *set* it does not reward a short answer
for being part of a long one. Short phrases (queries, tags) are compared by sorted tokens, which is quicker and
blind to word order.

Sources: Popović 2015, chrF, WMT15 (n-grams up to 6); figures in ``bench/results/quality.md``.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Profile: TypeAlias = "tuple[Counter[str], ...]"
"""Character n-grams of one text, one counter for each n."""

LONGEST: Final = 4000
"""Characters compared; an answer shows its character well before that, and the cost is bounded."""
NEAR: Final = 0.75
"""
Texts this similar are near each other, which is not to say the same: ``30 days`` and ``60 days`` are. Two models'
answers to an open question lie between 0.2 and 0.5.
"""
SAME_PHRASE: Final = 0.85
"""Short phrases this similar are one."""
ORDERS: Final = range(1, 7)

_REFUSAL: Final = re.compile(
    r"(?:i'?m sorry|sorry|i apologi[sz]e|as an ai\b|i(?: am|'m) (?:unable|not able) to|i (?:can(?:no|')t|cannot) )",
    re.IGNORECASE,
)


def profile(text: str) -> Profile:
    """The n-grams of *text*, for ``similarity``: of letters and digits only, without case, if there are any."""
    folded = text[:LONGEST].casefold()
    squeezed = "".join(filter(str.isalnum, folded)) or folded
    return tuple(Counter(squeezed[i : i + n] for i in range(len(squeezed) - n + 1)) for n in ORDERS)


def similarity(one: Profile, other: Profile) -> float:
    """The mean F1 over the n-gram orders that both texts are long enough for, in [0, 1]; 1 for equal texts."""
    if one == other:
        return 1.0
    scores = [2 * (a & b).total() / (a.total() + b.total()) for a, b in zip(one, other, strict=True) if a and b]
    return sum(scores) / len(scores) if scores else 0.0


def phrase_similarity(one: str, other: str) -> float:
    """How alike two short phrases are whatever their word order, in [0, 1]."""
    from rapidfuzz import fuzz, utils

    return fuzz.token_sort_ratio(one, other, processor=utils.default_process) / 100


def is_degenerate(text: str) -> bool:
    """Whether *text* answers nothing: no letter or digit in it, a short refusal, or one short piece over and over."""
    words = text.split()
    repeats = len(words) >= 12 and len(set(words)) <= max(2, len(words) // 12)
    refuses = len(text) < 400 and _REFUSAL.match(text.strip()) is not None
    return repeats or refuses or not any(c.isalnum() for c in text)


def groups(count: int, same: Callable[[int, int], bool]) -> list[list[int]]:
    """
    Indices 0..count-1 grouped so that whoever is *same* as a member belongs (single link).

    Single link does not depend on the order in which members are looked at, as centroid methods do.
    """
    found: list[list[int]] = []
    for index in range(count):
        mine = [group for group in found if any(same(index, member) for member in group)]
        found = [group for group in found if group not in mine]
        found.append(sorted([index, *(member for group in mine for member in group)]))
    return sorted(found)


def centrality(texts: Sequence[str]) -> list[float]:
    """For each text its mean similarity to the others; 1.0 for a lone text."""
    profiles = [profile(text) for text in texts]
    table = [[similarity(one, other) for other in profiles] for one in profiles]
    others = len(texts) - 1
    return [(sum(row) - 1.0) / others if others else 1.0 for row in table]

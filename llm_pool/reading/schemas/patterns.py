"""What a regular expression costs to compile, estimated without compiling it."""

from __future__ import annotations

import re
from typing import Final

MAX_COST: Final = 20_000
"""Of all patterns of one schema. Measured with jsonschema-rs 0.60 on one core: a quarter of a microsecond and 100 bytes
a unit, so 5 ms and 2 MB."""
BYTES_PER_UNIT: Final = 100

_ENDLESS: Final = 10**9
_ANY, _UNICODE_CLASS, _FOLDED = 16, 1000, 4
_TOKEN: Final = re.compile(
    r"(?P<unicode>\\[pP](?:\\?\{[^{}]{1,60}\}|.))"
    r"|(?P<set>\[\^?\]?(?:[^\]\\]|\\.)*+\]?)"
    r"|\{(?P<least>\d{1,9})(?P<most>,\d{0,9})?\}"
    r"|(?P<open>\()|(?P<close>\))|(?P<any>\\[DSWX]|\.)|(?P<repeat>[*+?])|\\?.",
    re.DOTALL,
)


def cost(pattern: str) -> int:
    r"""
    The size of *pattern* with its counted repetitions written out, in literal characters.

    ``a{100}`` is 100; a class of Unicode counts as what it is made of: ``\p{L}`` as 1,000. It is an upper bound, read
    in one pass, also of what is no regular expression.
    """
    levels, last = [0], 0
    for token in _TOKEN.finditer(pattern):
        kind = token.lastgroup
        if kind in {"least", "most"}:
            times = max(int(token["least"]), int((token["most"] or ",")[1:] or 0), 1)
            levels[-1] = min(levels[-1] + last * (times - 1), _ENDLESS)
            last = min(last * times, _ENDLESS)
        elif kind == "open":
            levels.append(0)
        elif kind == "close" and len(levels) > 1:
            last = levels.pop()
            levels[-1] = min(levels[-1] + last, _ENDLESS)
        elif kind != "repeat":
            last = _atom(kind, token[0])
            levels[-1] += last
    return min(sum(levels) * (_FOLDED if "(?i" in pattern else 1) + 1, _ENDLESS)


def _atom(kind: str | None, text: str) -> int:
    if kind == "unicode":
        return _UNICODE_CLASS
    if kind == "any":
        return _ANY
    if kind == "set":
        wide = text.startswith("[^") or not text.isascii() or re.search(r"\\[uxDSW]", text) is not None
        return 2 + (_ANY if wide else 0) + _UNICODE_CLASS * len(re.findall(r"\\[pP]", text))
    return 1

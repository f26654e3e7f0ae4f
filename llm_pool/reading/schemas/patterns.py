"""What a regular expression costs to compile and to match, estimated without compiling it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_COST: Final = 20_000
"""Of all patterns of one schema. Measured with jsonschema-rs 0.60 on one core: a quarter of a microsecond and 100 bytes
a unit, so 5 ms and 2 MB."""
BYTES_PER_UNIT: Final = 100
MAX_STEPS: Final = 1_000
"""Steps back of a pattern that looks around or back; others need none."""

_ENDLESS: Final = 10**9
_ANY, _UNICODE_CLASS, _FOLDED = 16, 1000, 4
_STEPS_IN_A_CHECK: Final = 3  # as measured: such a step takes 3.5 ns for a unit and a character, a check 10
_TOKEN: Final = re.compile(
    r"(?P<unicode>\\[pP](?:\\?\{[^{}]{1,60}\}|.))"
    r"|(?P<set>\[\^?\]?(?:[^\]\\]|\\.)*+\]?)"
    r"|\{(?P<least>\d{1,9})(?P<most>,\d{0,9})?\}"
    r"|(?P<open>\()|(?P<close>\))|(?P<any>\\[DSWX]|\.)|(?P<repeat>[*+?])|\\?.",
    re.DOTALL,
)
_SET: Final = r"\[\^?\]?(?:[^\]\\]|\\.)*+\]"
_PLAIN: Final = rf"\\.|{_SET}|[^()\[\\]"
_LOOKING_AHEAD: Final = re.compile(
    rf"\^(?:\(\?[=!](?:{_PLAIN}|\((?!\?[^:])(?:{_PLAIN})*+\))*+\)(?![*+?{{]))++", re.DOTALL
)
"""Looks ahead from the beginning of the text, which are matched once each."""
_NOT_LOOKING: Final = re.compile(rf"(?:{_SET}|[^(\[\\]|\((?!\?)|\\[^bBkKG1-9]|\(\?(?![=!<>(]))*+", re.DOTALL)
"""What looks neither around nor back; ``(?<name>`` is taken for a look back."""
_BACK: Final = re.compile(r"\\[bBkKG1-9]")


def effort(pattern: str) -> int:
    """
    Checks that it takes to match *pattern*, for each character of the text; each takes some 10 ns.

    An automaton has at most as many states as the pattern has atoms, repetitions written out, and a character may lead
    to all of them. What looks around or back goes through the text anew for each of its steps.
    """
    ahead = _LOOKING_AHEAD.match(pattern)
    rest = ahead.end() if ahead and not _BACK.search(ahead[0]) else 0
    looks = _NOT_LOOKING.fullmatch(pattern, rest) is None
    return min(_units(pattern, _one) * (MAX_STEPS // _STEPS_IN_A_CHECK if looks else 1), _ENDLESS)


def cost(pattern: str) -> int:
    r"""
    The size of *pattern* with its counted repetitions written out, in literal characters.

    ``a{100}`` is 100; a class of Unicode counts as what it is made of: ``\p{L}`` as 1,000. It is an upper bound, read
    in one pass, also of what is no regular expression.
    """
    return min(_units(pattern, _atom) * (_FOLDED if "(?i" in pattern else 1) + 1, _ENDLESS)


def _units(pattern: str, of_atom: Callable[[str | None, str], int]) -> int:
    """The sum of *pattern*'s atoms, each as often as it is repeated."""
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
            last = of_atom(kind, token[0])
            levels[-1] += last
    return min(sum(levels), _ENDLESS)


def _one(_kind: str | None, _text: str) -> int:
    return 1


def _atom(kind: str | None, text: str) -> int:
    if kind == "unicode":
        return _UNICODE_CLASS
    if kind == "any":
        return _ANY
    if kind == "set":
        wide = text.startswith("[^") or not text.isascii() or re.search(r"\\[uxDSW]", text) is not None
        return 2 + (_ANY if wide else 0) + _UNICODE_CLASS * len(re.findall(r"\\[pP]", text))
    return 1

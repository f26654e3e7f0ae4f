r"""
From the ways in which a value is dressed to one plain spelling: LaTeX, Markdown, Unicode.

``\boxed{2\sqrt{3}}``, ``$2√3$`` and ``**2√3**`` all become ``2sqrt(3)``; ``½`` and ``\frac12`` become ``1/2``.
Nothing is computed here.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

LONGEST: Final = 1000
"""Characters; a longer text is prose, and keeps its dress."""
LAYERS: Final = 8
"""Dress inside dress that is taken off."""

_SUPERSCRIPTS: Final = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ", "0123456789+-()n")
_RAISED: Final = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ]+")
_VULGAR: Final = re.compile(r"(\d?)\s?([¼-¾⅐-⅞])")
_SIGNS: Final = {
    ord(sign): plain
    for signs, plain in (
        ("\u2212\u2010\u2011\u2012\u2013", "-"),
        ("\u00d7⋅·\u2217", "*"),
        ("÷\u2044\u2215", "/"),
        ("√", "sqrt"),
        ("π", " pi "),
        ("∞", " inf"),
        ("≤⩽", "<="),
        ("≥⩾", ">="),
        ("≠", "!="),
        ("±", "+-"),
        ("\u222a", " U "),
        ("\u2018\u2019\u02bc", "'"),
        ("\u201c\u201d", '"'),
        ("\u00a0\u2009\u202f", " "),
        ("º˚", "°"),
    )
    for sign in signs
}
_INVISIBLE: Final = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")

_DRESSING: Final = (
    (re.compile(r"(?<![\w)*])\*\*(?=[^\s*])([^*]{1,200})(?<=\S)\*\*(?![\w(*])"), r"\1"),
    (re.compile(r"\\(?:left|right|displaystyle|limits|[Bb]igg?[lr]?)(?![A-Za-z])|\\[,;!:]"), ""),
    (re.compile(r"\\(?:quad|qquad|space)(?![A-Za-z])|~|\\ "), " "),
    (re.compile(r"\\(?:boxed|mathrm|mathbf|mathit|mathbb|operatorname|fbox)\s?\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\(?:text|textbf|textit|textrm|mbox)\s?\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"(?<=\d)\s?\\[dtc]?frac\s?(?:\{(\d+)\}\s?\{(\d+)\}|(\d)\s?(\d))"), r" \1\3/\2\4"),
    (re.compile(r"\\[dtc]?frac\s?\{([^{}]*)\}\s?\{([^{}]*)\}"), r"(\1)/(\2)"),
    (re.compile(r"\\[dtc]?frac\s?(\d)\s?(\d)"), r"\1/\2"),
    (re.compile(r"\\sqrt\s?\[(\d)\]\s?\{([^{}]*)\}"), r"(\2)^(1/\1)"),
    (re.compile(r"\\sqrt\s?\{([^{}]*)\}"), r"sqrt(\1)"),
    (re.compile(r"\\sqrt\s?(\d)"), r"sqrt(\1)"),
    (re.compile(r"\^\s?\{?\s?\\circ\s?\}?|\\degrees?(?![A-Za-z])"), "°"),
    (re.compile(r"\\(?:cdot|times|ast)(?![A-Za-z])"), "*"),
    (re.compile(r"\\div(?![A-Za-z])"), "/"),
    (re.compile(r"\\pm(?![A-Za-z])"), "+-"),
    (re.compile(r"\\(?:leq?|leqslant)(?![A-Za-z])"), "<="),
    (re.compile(r"\\(?:geq?|geqslant)(?![A-Za-z])"), ">="),
    (re.compile(r"\\neq?(?![A-Za-z])"), "!="),
    (re.compile(r"\\cup(?![A-Za-z])"), " U "),
    (re.compile(r"\\in(?![A-Za-z])"), "\N{ELEMENT OF}"),
    (re.compile(r"\+\s?(?:\\infty(?![A-Za-z])|inf\b)"), " inf"),
    (re.compile(r"\\infty(?![A-Za-z])"), " inf"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\([$%#&_{}])"), r"\1"),
    (re.compile(r"\\(pi|theta|alpha|beta|gamma|lambda|phi|sin|cos|tan|ln|log|exp)(?![A-Za-z])"), r" \1 "),
)
_WRAPPERS: Final = (
    ("```", "```"),
    ("$$", "$$"),
    ("$", "$"),
    ("\\(", "\\)"),
    ("\\[", "\\]"),
    ("**", "**"),
    ("__", "__"),
    ("*", "*"),
    ("_", "_"),
    ("`", "`"),
)
_POWER: Final = re.compile(r"\*\*|\^\s?\{([^{}]*)\}")


def plain(text: str) -> str:
    """*text* in Unicode's composed form, with raised digits as powers, vulgar fractions as quotients, plain signs."""
    text = _RAISED.sub(_as_power, _INVISIBLE.sub("", text))
    text = _VULGAR.sub(lambda match: f"{match[1]} {unicodedata.normalize('NFKC', match[2])}".lstrip(), text)
    return unicodedata.normalize("NFKC", text.translate(_SIGNS)).translate(_SIGNS).strip()


def _as_power(match: re.Match[str]) -> str:
    exponent = match[0].translate(_SUPERSCRIPTS)
    is_clear = exponent.isalnum() and not match.string[match.end() : match.end() + 1].isalnum()
    return f"^{exponent}" if is_clear else f"^({exponent})"


def undressed(text: str) -> str:
    """*text*, as ``plain`` gives it, without LaTeX and Markdown around and inside it; as it is beyond LONGEST."""
    if len(text) > LONGEST:
        return text
    for _ in range(LAYERS):
        before = text
        text = _unwrapped(text)
        for pattern, replacement in _DRESSING:
            text = pattern.sub(replacement, text)
        text = _POWER.sub(lambda match: "^" if match[1] is None else f"^({match[1]})", text).strip()
        if text == before:
            break
    return text


def _unwrapped(text: str) -> str:
    for opening, closing in _WRAPPERS:
        if len(text) > len(opening) + len(closing) and text.startswith(opening) and text.endswith(closing):
            inner = text[len(opening) : -len(closing)]
            if opening not in inner:
                return inner.strip(" _" if opening == "__" else None)
    return text

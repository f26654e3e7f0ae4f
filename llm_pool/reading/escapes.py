r"""Backslashes in strings: which were meant as JSON's, and which are LaTeX's or a path's."""

from __future__ import annotations

import re


def mend_escapes(text: str) -> str:
    r"""*text* with the backslashes doubled that nobody meant as JSON's: ``\(``, ``\frac``, ``C:\users``."""
    return _BACKSLASH.sub(lambda match: match[0] if match[1] else r"\\", text) if "\\" in text else text


def has_accidental_escapes(text: str) -> bool:
    r"""Whether *text* has escapes that JSON knows and nobody meant: no model means a form feed by ``\frac``."""
    return "\\" in text and _BY_ACCIDENT.search(text) is not None


_LATEX = (
    r"(?:[bf][a-z]|n(?:eq|eg|ot|abla|otin|leq|geq)(?![a-z])|r(?:ight|angle|floor|ceil|ho)"
    r"|t(?:imes|heta|ext|frac|an|riangle|au|op)(?![a-z]{3}))"
)
_BY_ACCIDENT = re.compile(rf"(?<!\\)(?:\\\\)*+\\{_LATEX}")
_BACKSLASH = re.compile(rf'\\(?!{_LATEX})(["\\/bfnrt]|u[0-9a-fA-F]{{4}})|\\')

r"""
What is no answer, though it is text: an empty form, or a beginning without what it begins.

Small models copy the placeholder of the question's form (``___``), and stop behind a fence or a bracket (``json``,
``\[``, ``(``). A vote for that is no vote.
"""

from __future__ import annotations

import re
from typing import Final

MAX_BLANK: Final = 80
"""Characters; what is longer says something, be it only that it is broken."""

_PLACEHOLDER: Final = r"[\"'`*]{0,4}(?:_{2,}|\.{3,}|…+)[\"'`*]{0,4}"
_INVITATION: Final = r"[<(\[{]?(?:your|the)\s(?:final\s)?answer(?:\sgoes)?\shere[>)\]}]?[.…]{0,3}"
_OPENING: Final = r"\\?[(\[{]|\$\$|`{1,3}|~{3}|\*\*"
_LANGUAGE: Final = r"(?:`{3}|~{3})\s*+(?:json|text|python|latex)|json"
_BLANK: Final = re.compile(rf"\s*+(?:{_PLACEHOLDER}|(?i:{_INVITATION})|{_LANGUAGE}|(?:(?:{_OPENING})\s*+)*+[\"']?)\s*+")


def is_blank(text: str) -> bool:
    r"""Whether *text* says nothing: empty, ``___``, ``json``, a bracket or a fence that opens."""
    return len(text) <= MAX_BLANK and _BLANK.fullmatch(text) is not None

"""The marks of JSON, each with the look-alikes that models write for it: smart quotes, full-width punctuation."""

from __future__ import annotations

from typing import Final

OPEN_OBJECT: Final = "{\uff5b"
CLOSE_OBJECT: Final = "}\uff5d"
OPEN_LIST: Final = r"[" + "\uff3b"
CLOSE_LIST: Final = "]\uff3d"
COLONS: Final = ":\uff1a"
COMMAS: Final = ",\uff0c\u3001;"

SMART_QUOTES: Final = "\u201c\u201d\u201e\u201f\uff02"
GUILLEMETS: Final = "\u00ab\u00bb"
SMART_SINGLE_QUOTES: Final = "\u2018\u2019\u201a\uff07"
QUOTES: Final = f"\"'{SMART_QUOTES}{GUILLEMETS}{SMART_SINGLE_QUOTES}"

DASHES: Final = "\u2010\u2011\u2012\u2013\u2014\u2212\ufe63"
"""What stands for a minus sign."""
SPACES: Final = "\u00a0\u2009\u202f"
"""What stands for a space between the digits of a number."""
FULL_WIDTH: Final = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
"""For ``str.translate``: the full-width forms of ASCII as ASCII. Source: Unicode, Halfwidth and Fullwidth Forms."""

OBJECT_MARKS: Final = OPEN_OBJECT + CLOSE_OBJECT
LIST_MARKS: Final = rf"\{OPEN_LIST}\{CLOSE_LIST}"
"""For the inside of a set of characters in a regular expression."""

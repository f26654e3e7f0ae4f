"""What ``infer --exit-status`` makes of an answer: yes, no, or no agreement."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from llm_pool.cli.exit_codes import ExitCode
from llm_pool.core.messages import StrategyName

if TYPE_CHECKING:
    from llm_pool.core.messages import Answer

_QUOTES: Final = "\"'\u201c\u201d\u2018\u2019\u00ab\u00bb"
_MARKS: Final = rf"[\s*_`~{_QUOTES}#>()\[\]{{}}]*+"
_NO: Final = re.compile(
    rf"{_MARKS}(?:(?:the\s++)?(?:final\s++)?answer(?:\s++is|\s*+[:=])*+{_MARKS})?+"
    rf"(?:\\(?:boxed|text)\{{)*+(?:no|nope|false|incorrect)\b[*_`~{_QUOTES})\]}}]*+"
    # "No, because …" and "No it is not" say no; "No doubt it is" does not
    r"(?:\s*+$|[ \t]*+[^\w\s]|[ \t]*+[\r\n]"
    r"|\s++(?:it|this|that|he|she|they|there|the|an?|i|we|you|not|because|since|\d++)\b)",
    re.IGNORECASE,
)
_NOTHING: Final = re.compile(rf"{_MARKS}(?:none|null|nothing|n/a)?+{_MARKS}[.!]*+{_MARKS}", re.IGNORECASE)


def verdict(answer: Answer) -> ExitCode:
    """What ``--exit-status`` says of *answer*."""
    if answer.decision.asked is StrategyName.CONSENSUS is not answer.decision.used:
        return ExitCode.UNDECIDED
    value = answer.content if answer.json is None else answer.json
    negative = is_negative(value) if isinstance(value, str) else value is False or value in ([], {})
    return ExitCode.NEGATIVE if negative else ExitCode.OK


def is_negative(text: str) -> bool:
    """Whether *text* answers a question with no, as its first word, or with nothing at all."""
    return _NOTHING.fullmatch(text) is not None or _NO.match(text) is not None

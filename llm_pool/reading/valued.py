"""From the text of an answer to a value that fits its schema; imported with the first answer that has one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from llm_pool.reading.coercion import coerce, decides
from llm_pool.reading.expectation import Expectation, Unreadable, beginning
from llm_pool.reading.repair import candidates, strict
from llm_pool.reading.stated import answers_given

if TYPE_CHECKING:
    from llm_pool.core.messages import FinishReason, Reading


def whole_value(text: str, expectation: Expectation) -> Reading | None:
    """*text*, where it is JSON and nothing else, as what *expectation* takes; raises Unreadable where it does not."""
    whole = strict(text) if text[:1] in {"{", "["} else None
    return None if whole is None else coerce(whole, expectation)


def last_value(text: str, expectation: Expectation, finish: FinishReason) -> Reading:
    """The last value in *text* that fits, up to where a new question begins; else what its prose states."""
    refusal, is_named, reading, behind = "", False, None, 0
    for candidate in candidates(text, expectation, finish):
        if reading is not None and _NEW_QUESTION.search(text, behind, candidate.start):
            break
        if candidate.is_cut:
            reading, is_named = None, True
            refusal = f"{expectation.field or 'the answer'}: the text breaks off before it is whole"
            continue
        is_named = is_named or decides(candidate.value, expectation)
        try:
            reading, behind = coerce(candidate, expectation), candidate.end
        except Unreadable as error:
            refusal = refusal or error.reason
    if reading is not None:
        return reading
    for candidate in () if finish == "length" or is_named else answers_given(text, expectation):
        try:
            return coerce(candidate, expectation)
        except Unreadable as error:
            refusal = refusal or error.reason
    raise Unreadable(refusal or _nothing_in(text, expectation, finish))


def _nothing_in(text: str, expectation: Expectation, finish: FinishReason) -> str:
    if finish == "length":
        return "the token limit cut the answer before its JSON was complete"
    return f"there is no JSON {expectation.shape or 'value'} in the answer, which begins {beginning(text)}"


_QUESTION: Final = "question|instruction|problem|exercise|example|task|input"
_NEW_QUESTION: Final = re.compile(
    rf"^[ \t]*+(?:(?:#{{1,6}}[ \t]*+|\*\*)(?:[\w-]{{1,20}}[ \t]){{0,3}}?(?:{_QUESTION})"
    r"|(?:now )?(?:another|next|follow-?up|new)\b(?: \w{1,20})?[ \t]*+[:.]"
    rf"|(?:{_QUESTION}|user|human|q)[ \t]*+\d{{0,3}}[ \t]*+(?::|$))",
    re.IGNORECASE | re.MULTILINE,
)

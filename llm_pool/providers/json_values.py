"""JSON as servers write it, which is not always JSON: read for what it says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from llm_pool.core.messages import Json

MAX_DEPTH: Final = 8
"""Levels of lists and objects in which text is looked for."""

_HIGH_SURROGATES: Final = ("\ud800", "\udbff")
_decode: Final = msgspec.json.Decoder().decode


def parse(data: bytes) -> Json:
    """
    The value in *data*.

    Bytes that are no UTF-8 become U+FFFD. Raw control characters in strings, half a surrogate pair, ``NaN`` and
    ``Infinity`` are taken as they are.

    Raises:
        ValueError: it is no JSON, or nested too deep.
    """
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return _LENIENT.decode(data.decode("utf-8-sig", "replace"))
    except RecursionError:
        raise ValueError("nested too deep") from None


def text_of(value: Json, depth: int = MAX_DEPTH) -> str:
    """The text of a field: a string, a list of parts, a part with ``text`` or ``content``; else empty."""
    if value is None or isinstance(value, str):  # as in nearly every record
        return value or ""
    match value:
        case list() if depth:
            return "".join(text_of(part, depth - 1) for part in value if not _is_reasoning(part))
        case dict() if depth and not _is_reasoning(value):
            return text_of(value.get("text"), depth - 1) or text_of(value.get("content"), depth - 1)
        case bool():
            return ""
        case int() | float():
            return msgspec.json.encode(value).decode()
    return ""


def reasoning_of(value: Json) -> str:
    """The text of those parts of a field's list that are reasoning, as Mistral's API writes them."""
    if not isinstance(value, list):
        return ""
    return "".join(
        text_of(part.get("thinking") or part.get("reasoning") or part.get("text"))
        for part in value
        if _is_reasoning(part)
    )


def object_of(value: Json) -> dict[str, Json]:
    """*value* where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def list_of(value: Json) -> list[Json]:
    """*value* where it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def count_of(value: Json) -> int | None:
    """A count of tokens or nanoseconds, which may be written as a float; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**63:
        return None
    return int(value)


class WholeCharacters:
    """Text that came in pieces, in whole characters: the two halves of a surrogate pair may be in different pieces."""

    def __init__(self) -> None:
        self._half = ""

    def feed(self, text: str) -> str:
        """*text*, encodable as UTF-8; half a character at its end waits for the other one."""
        if not text or (not self._half and text.isascii()):
            return text
        text, self._half = self._half + text, ""
        if _HIGH_SURROGATES[0] <= text[-1] <= _HIGH_SURROGATES[1]:
            text, self._half = text[:-1], text[-1]
        return whole_characters(text)

    def finish(self) -> str:
        """What stands for half a character whose other half did not come."""
        half, self._half = self._half, ""
        return "\ufffd" if half else ""


def whole_characters(text: str) -> str:
    """*text* with surrogate pairs as the characters they stand for, and U+FFFD for half a pair."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _is_reasoning(part: Json) -> bool:
    return isinstance(part, dict) and str(part.get("type")) in {"thinking", "reasoning", "redacted_thinking"}


_LENIENT: Final = json.JSONDecoder(strict=False)

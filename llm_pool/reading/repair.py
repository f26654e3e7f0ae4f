"""The repairs: each makes a value of a text that the ones before it could not read."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NoReturn

import msgspec

from llm_pool.reading.escapes import has_accidental_escapes, mend_escapes
from llm_pool.reading.expectation import Candidate, plain_name
from llm_pool.reading.regions import Regions
from llm_pool.reading.schemas import MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llm_pool.core.messages import FinishReason
    from llm_pool.reading.expectation import Expectation
    from llm_pool.reading.regions import Region

MAX_REPAIR = 32_768
"""Characters given to the tolerant reader, at about a microsecond each. Recorded answers stay below 20,000."""

MAX_WRAPPED = 2
"""JSON strings around JSON that are taken off."""


def candidates(text: str, expectation: Expectation, finish: FinishReason, *, wrapped: int = 0) -> Iterator[Candidate]:
    """
    The values that may be meant, in the text's order: at each place by the first repair that reads it.

    Args:
        text: not empty, no space around it.
        expectation: the shape that is looked for.
        finish: after ``length`` a value without brackets is none: the rest of it may be missing.
        wrapped: in how many JSON strings *text* was found.

    Raises:
        Unreadable: brackets are nested too deep.
    """
    may_be_bare = finish != "length"
    whole = strict(text) if expectation.shape or may_be_bare else None
    if whole is not None:
        yield whole
        if isinstance(whole.value, (dict, list)):
            return
        if isinstance(whole.value, str) and expectation.shape and wrapped < MAX_WRAPPED:
            yield from candidates(whole.value.strip(), expectation, finish, wrapped=wrapped + 1)
            return
    if expectation.shape:
        yield from _in_regions(text, expectation, finish, wrapped)
    elif may_be_bare:
        yield from _decoded(text, 0, len(text))


def _in_regions(text: str, expectation: Expectation, finish: FinishReason, wrapped: int) -> Iterator[Candidate]:
    regions = Regions(text, expectation)
    for region in regions:
        if region.is_closed and (decoded := next(_decoded(text, region.start, region.end), None)):
            yield decoded
        elif wrapped < MAX_WRAPPED and (inner := _unescaped(text, region)):
            for found in candidates(inner, expectation, finish, wrapped=wrapped + 1):
                yield found._replace(source="", start=region.start, end=region.end)
        elif region.end - region.start <= MAX_REPAIR:
            tolerated = _tolerated(text, region, expectation)
            regions.go_on_behind(tolerated.end)
            if tolerated.is_cut or tolerated.value is not None:
                yield tolerated


def strict(text: str) -> Candidate | None:
    """The text as it is, if it is JSON and means all its escapes."""
    if text.count("{") + text.count("[") > MAX_DEPTH or has_accidental_escapes(text):
        return None
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):  # UnicodeEncodeError, for half a character, is a ValueError
        return None
    return Candidate("strict", value, text, 0, len(text))


def _unescaped(text: str, region: Region) -> str:
    r"""What *region* says where it is the inside of a JSON string, ``{\"answer\": 5}``; else nothing."""
    if _ESCAPED.match(text, region.start) is None:
        return ""
    try:
        return str(json.loads(f'"{text[region.start : region.end]}"', strict=False)).strip()
    except ValueError:
        return ""


def _decoded(text: str, start: int, end: int) -> Iterator[Candidate]:
    """The value of the first decoder that can read *text* from *start* to *end*."""
    chunk = text[start:end]
    accidental = has_accidental_escapes(chunk)
    for repair, mend, decoder in _DECODERS:
        if accidental and mend is _as_is:
            continue
        try:
            value = decoder.decode(mend(chunk))
        except (ValueError, RecursionError):
            continue
        yield Candidate(repair, value, chunk if repair == "extracted" else "", start, end)
        return


def _tolerated(text: str, region: Region, expectation: Expectation) -> Candidate:
    """
    What the tolerant reader makes of *region*.

    Where one field decides, an object may be left open behind it. Where all do, it may not.
    """
    from llm_pool.reading.tolerant import parse  # its patterns are a twentieth of a start, and most answers are JSON

    parsed = parse(text, region.start, min(region.limit, region.start + MAX_REPAIR))
    value, deciding = parsed.value, expectation.deciding
    broken = deciding.intersection(map(plain_name, parsed.partial))
    whole = deciding.intersection(map(plain_name, value if isinstance(value, dict) else ()))
    is_whole = parsed.is_closed and not parsed.partial
    if expectation.field and isinstance(value, dict):
        is_whole = not broken and (parsed.is_closed or bool(whole))
    listed = isinstance(value, list) and any(item in expectation.ids for item in value)
    is_cut = not is_whole and (listed or bool(broken or whole))
    repair = "tolerant" if parsed.is_closed else "closed"
    return Candidate(repair, value if is_whole else None, "", region.start, parsed.end, is_cut)


_ESCAPED = re.compile(r'[{\[]\s*+\\"')


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _as_is(chunk: str) -> str:
    return chunk


_STRICT = json.JSONDecoder(parse_constant=_refuse)
_LENIENT = json.JSONDecoder(parse_constant=_refuse, strict=False)
_DECODERS: tuple[tuple[str, Callable[[str], str], json.JSONDecoder], ...] = (
    ("extracted", _as_is, _STRICT),
    ("newlines", _as_is, _LENIENT),
    ("backslashes", mend_escapes, _LENIENT),
)

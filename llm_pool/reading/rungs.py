"""The rungs: each makes a value of a text that the ones before it could not read."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NoReturn

import msgspec

from llm_pool.reading.regions import MAX_DEPTH, completed, regions
from llm_pool.reading.wanted import Candidate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llm_pool.core.messages import FinishReason, Json
    from llm_pool.reading.wanted import Wanted

MAX_REPAIR = 32_768
"""Characters given to the last rungs, whose time grows faster than the text. Recorded answers stay below 20,000."""

MAX_STATED = 80
"""Characters of a value that prose states; a longer one is a sentence about it."""


def candidates(text: str, wanted: Wanted, finish: FinishReason) -> Iterator[Candidate]:
    """
    The values that may be meant, in the order to try them: every rung on one region before any on the next.

    A model that echoes the question after its own broken answer would otherwise be read by the echo.

    Args:
        text: not empty, no space around it.
        wanted: the shape that is looked for.
        finish: after ``length`` only what is closed is repaired, and an object is closed behind its last whole member.

    Raises:
        Unreadable: brackets are nested too deep.
    """
    cut = finish == "length"
    if not (cut and not wanted.shape):
        yield from _strict(text)
    for region in regions(text, wanted, cut=cut):
        if cut and not region.closed:
            yield from (Candidate("closed", candidate.value) for candidate in _cheap(completed(region.text)))
            return
        if region.closed:
            yield from _cheap(region.text)
        yield from _repaired(region.text)
        yield from _fields(region.text, wanted)
    if not cut:
        yield from _fields(text, wanted)
        yield from _stated(text, wanted)


def _strict(text: str) -> Iterator[Candidate]:
    if text.count("{") + text.count("[") > MAX_DEPTH or _escapes_by_accident(text):
        return
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):  # UnicodeEncodeError, for half a character, is a ValueError
        return
    yield Candidate("strict", value, text)


def _cheap(chunk: str) -> Iterator[Candidate]:
    """The value of the first cheap rung that can read *chunk*."""
    by_accident = _escapes_by_accident(chunk)
    for rung, mend, decoder in _CHEAP_RUNGS:
        if by_accident and mend is _as_is:
            continue
        chunk = mend(chunk)
        try:
            value = decoder.decode(chunk)
        except (ValueError, RecursionError):
            continue
        yield Candidate(rung, value, chunk if rung == "extracted" else "")
        return


def _repaired(chunk: str) -> Iterator[Candidate]:
    if len(chunk) > MAX_REPAIR:
        return
    import json_repair

    try:
        value = json_repair.loads(_double_backslashes(chunk), skip_json_loads=True)
    except (ValueError, RecursionError):
        return
    if isinstance(value, (dict, list)):
        yield Candidate("repaired", value)


# Cheap rungs: a change to the text, then a strict or a lenient decoder.


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _as_is(chunk: str) -> str:
    return chunk


def _double_backslashes(chunk: str) -> str:
    return _BACKSLASH.sub(lambda match: match[0] if match[1] else r"\\", chunk)


def _plain_literals(chunk: str) -> str:
    return _LITERAL.sub(_plain_literal, chunk)


def _plain_literal(match: re.Match[str]) -> str:
    token = match[0]
    if token[0] == "'" and len(token) > 1 and token[-1] == "'":
        return '"' + token[1:-1].replace(r"\\'", "'").replace(r"\'", "'").replace('"', r"\"") + '"'
    return _PLAIN.get(token, token)


def _escapes_by_accident(text: str) -> bool:
    return "\\" in text and _BY_ACCIDENT.search(text) is not None


# Valid escapes that nobody meant: no model means a form feed by \frac, or a tab by \times.
_LATEX = (
    r"(?:[bf][a-z]|n(?:eq|eg|ot|abla|otin|leq|geq)(?![a-z])|r(?:ight|angle|floor|ceil|ho)"
    r"|t(?:imes|heta|ext|frac|an|riangle|au|op)(?![a-z]{3}))"
)
_BY_ACCIDENT = re.compile(rf"(?<!\\)(?:\\\\)*+\\{_LATEX}")
_BACKSLASH = re.compile(rf'\\(?!{_LATEX})(["\\/bfnrt]|u[0-9a-fA-F]{{4}})|\\')
_LITERAL = re.compile(
    r'"(?:[^"\\]++|\\.)*+"?'  # strings as they are
    r"|'(?:[^'\\\n]++|\\.)*+'?"
    r"|,(?=\s*+[\]}])"
    r"|\b(?:True|False|None)\b",
    re.DOTALL,
)
_PLAIN = {"True": "true", "False": "false", "None": "null", ",": ""}
_STRICT = json.JSONDecoder(parse_constant=_refuse)
_LENIENT = json.JSONDecoder(parse_constant=_refuse, strict=False)
_CHEAP_RUNGS: tuple[tuple[str, Callable[[str], str], json.JSONDecoder], ...] = (
    ("extracted", _as_is, _STRICT),
    ("newlines", _as_is, _LENIENT),
    ("backslashes", _double_backslashes, _LENIENT),
    ("literals", _plain_literals, _LENIENT),
)


# The last rung: no structure left, but the fields are named.


def _fields(chunk: str, wanted: Wanted) -> Iterator[Candidate]:
    names = wanted.schema.get("required")
    if not names or len(chunk) > MAX_REPAIR:
        return
    values = {name: _member(chunk, name) for name in names}
    if None not in values.values():
        yield Candidate("fields", values)


def _member(chunk: str, name: str) -> Json:
    """The value behind the first ``"name":``; None if there is none."""
    named = re.search(rf"""["'`]?\b{re.escape(name)}["'`]\s*+:\s*+""", chunk)
    value = _VALUE.match(chunk, named.end()) if named else None
    return _literal(value[0]) if value else None


def _literal(text: str) -> Json:
    for candidate in _cheap(text):
        return candidate.value
    return text.strip().strip("\"'`,} ") or None


def _stated(text: str, wanted: Wanted) -> Iterator[Candidate]:
    r"""What prose calls the deciding field: ``The answer is: 12``, or ``\boxed{12}``. A sentence is no value."""
    if wanted.schema.get("required") != [wanted.field] or len(text) > MAX_REPAIR:
        return
    pattern = rf"\b{re.escape(wanted.field)}\b[*`\"']*+(?:\s+is\b)?+[\s:*$]++((?:[^\n\\.]++|\\(?!n)|\.(?!\s))++)"
    said = list(re.finditer(pattern, text, re.IGNORECASE))
    boxed = _BOXED.findall(said[-1][1] if said else text)
    value = str(boxed[-1]) if boxed else said[-1][1] if said else ""
    value = value.replace('\\"', '"').strip("\"'`*$., ")
    if 0 < len(value) <= MAX_STATED:
        yield Candidate("fields", {wanted.field: value})


_VALUE = re.compile(
    r'"(?:[^"\\]++|\\.)*+"' r"|-?\d[\d.]*+(?=\s*+[,}\n]|\Z)" r"|(?:true|false)\b" r"|\[[^\[\]]*+\]" r"|[^\n]+",
    re.DOTALL,
)
_BOXED = re.compile(r"\\boxed\{((?:[^{}\n]++|\{[^{}\n]*+\})*+)\}")

"""What a text says where no JSON in it can be read: fields by name, or a statement such as ``The answer is 12``."""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import TYPE_CHECKING, Final

from llm_pool.reading.escapes import mend_escapes
from llm_pool.reading.expectation import Candidate
from llm_pool.reading.marks import QUOTES
from llm_pool.reading.rankings import listed
from llm_pool.reading.repair import MAX_REPAIR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_pool.core.messages import Json
    from llm_pool.reading.expectation import Expectation

MAX_STATED: Final = 80
"""Characters of a value that prose states; a longer one is a sentence about it."""
MAX_NAMED: Final = 64
"""Places where a field is named that are tried; each may look through the whole text for the end of its value."""


def answers_given(text: str, expectation: Expectation) -> Iterator[Candidate]:
    """The values that *text* states without JSON that can be read; the text is whole, not cut by a token limit."""
    if len(text) > MAX_REPAIR:
        return
    if expectation.kind == "ranking":
        found = listed(text, expectation.ids)
        if found is not None:
            yield Candidate("stated", {expectation.field: found})
        return
    if expectation.shape == "object":
        yield from _fields(text, expectation)
    if expectation.is_sole and expectation.field:
        yield from _statement(text, expectation.field)
    if len(text) <= MAX_STATED and (expectation.takes_bare or not expectation.shape):
        yield Candidate("stated", text)


def _fields(text: str, expectation: Expectation) -> Iterator[Candidate]:
    """The required fields wherever they stand, each with a value that the text goes on behind."""
    required = expectation.schema.get("required")
    if not required or not isinstance(required, list):
        return
    wanted = frozenset(required)
    values: dict[str, Json] = {}
    named = (name for name in _NAMED.finditer(text) if name[1] in wanted and name[1] not in values)
    for name in islice(named, MAX_NAMED):
        value = _VALUE.match(text, name.end())
        if value is not None:
            values[name[1]] = _said(value)
    if wanted <= values.keys():
        yield Candidate("fields", values)


def _said(value: re.Match[str]) -> Json:
    if value["json"]:
        try:
            return json.loads(mend_escapes(value["json"]), strict=False)
        except ValueError:
            pass
    return value[0].strip().strip("\"'`,} ")


def _statement(text: str, field: str) -> Iterator[Candidate]:
    r"""What prose calls *field*: ``The answer is: 12``, or ``\boxed{12}``. A sentence is no value."""
    pattern = (
        rf"\b{re.escape(field)}\b(?![{QUOTES}])[*`]*+(?:\s{{1,9}}+is\b)?+[\s:*]++((?:[^\n\\.]++|\\(?!n)|\.(?!\s))++)"
    )
    said = list(re.finditer(pattern, text, re.IGNORECASE))
    boxed = _BOXED.findall(said[-1][1] if said else text)
    value = str(boxed[-1]) if boxed else said[-1][1] if said else ""
    value = value.replace('\\"', '"').strip("\"'`*., ")
    if len(value) > 2 and value[0] == value[-1] == "$":
        value = value.strip("$")  # LaTeX; a lone one is money
    if 0 < len(value) <= MAX_STATED:
        yield Candidate("stated", {field: value})


_NAMED: Final = re.compile(r"""["'`]?\b(\w[\w -]{0,79}?)["'`]\s{0,99}+[:\uff1a]\s{0,99}+""")
_NUMBER: Final = r"-?[0-9]{1,300}(?:\.[0-9]{1,300})?(?=\s{0,99}+(?:[}\n]|,\s{0,99}+[\"'}]))"
_VALUE: Final = re.compile(
    r'(?P<json>"(?:[^"\\]++|\\.)*+"(?=\s{0,99}+(?:[,}\]\n.`*)]|\Z))'
    rf"|{_NUMBER}"
    r"|(?:true|false|null)\b(?=\s{0,99}+[,}\n])"
    r"|\[[^\[\]]*+\](?=\s{0,99}+[,}\n]))"
    r"|[^\n\"]++(?=\n)",
    re.DOTALL,
)
_BOXED: Final = re.compile(r"\\boxed\{((?:[^{}\n]++|\{[^{}\n]*+\})*+)\}")

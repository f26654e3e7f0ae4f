r"""
A reader of JSON as models write it, in one pass, that never completes what is not whole.

It takes comments, trailing and missing commas, single, smart and full-width quotes and punctuation, quotes inside of
strings that nobody escaped, Python's ``True`` and ``None``, keys and values without quotes. A value ends where the
next key, the next item or the closing bracket begins, and all that stands there is the value: ``1,234`` and ``5 or 6``
are texts, and it is for the schema to say whether such a text is a number. What the text breaks off is left out of its
object, and named.

Time is linear in the length of the text: each character is looked at by one value, plus a bounded look ahead at
quotes and commas.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from llm_pool.reading.escapes import mend_escapes
from llm_pool.reading.expectation import Unreadable
from llm_pool.reading.marks import (
    CLOSE_LIST,
    CLOSE_OBJECT,
    COLONS,
    COMMAS,
    GUILLEMETS,
    LIST_MARKS,
    OBJECT_MARKS,
    OPEN_LIST,
    OPEN_OBJECT,
    QUOTES,
    SMART_QUOTES,
    SMART_SINGLE_QUOTES,
)
from llm_pool.reading.schemas import MAX_DEPTH

if TYPE_CHECKING:
    from llm_pool.core.messages import Json


class Parsed(NamedTuple):
    """
    What was read.

    Attributes:
        value: an object or a list, without the members that the text breaks off.
        end: the index behind it.
        is_closed: its closing bracket is there.
        partial: names of the members of the object that are not whole; for a list, an empty name if it is not.
    """

    value: Json
    end: int
    is_closed: bool
    partial: frozenset[str]


class _Value(NamedTuple):
    value: Json
    is_whole: bool = True
    is_cut: bool = False  # by the end of the text


def parse_whole(text: str) -> Json:
    """The object, list or Python tuple that *text* is, whole and nothing beside it; else None."""
    text = text.strip()
    if text[:1] == "(" and text[-1:] == ")":
        text = f"[{text[1:-1]}]"
    if not text or text[0] not in OPEN_OBJECT + OPEN_LIST:
        return None
    try:
        parsed = parse(text, 0, len(text))
    except Unreadable:
        return None
    return parsed.value if parsed.is_closed and not parsed.partial and parsed.end == len(text) else None


def parse(text: str, start: int, stop: int) -> Parsed:
    """
    The object or list whose bracket is at *start*, and nothing from *stop* on.

    Raises:
        Unreadable: it is nested deeper than MAX_DEPTH.
    """
    reader = _Reader(text, start, stop)
    if text[start] in OPEN_OBJECT:
        members, partial, is_closed = reader.members(1)
        return Parsed(members, reader.at, is_closed, frozenset(partial))
    items, is_whole, is_closed = reader.items(1)
    return Parsed(items, reader.at, is_closed, frozenset() if is_whole else frozenset({""}))


class _Reader:
    def __init__(self, text: str, at: int, stop: int) -> None:
        self.text, self.at, self.stop = text, at, stop
        self._last_comment = text.rfind("*/", at, stop)

    # Containers: the cursor is at the opening bracket, and afterwards behind the closing one.

    def members(self, depth: int) -> tuple[dict[str, Json], set[str], bool]:
        """The members of an object, the names of those that are not whole, and whether it is closed."""
        _check(depth)
        self.at += 1
        members: dict[str, Json] = {}
        partial: set[str] = set()
        while True:
            self._skip(COMMAS)
            if self.at >= self.stop:
                return members, partial, False
            if self.text[self.at] in CLOSE_OBJECT:
                self.at += 1
                return members, partial, True
            key = _KEY.match(self.text, self.at, self.stop)
            if key is None:
                return members, partial, False
            name = _name(key[0])
            self.at = key.end()
            found = self._value(depth, _MEMBER if key[0][0] in QUOTES else _BARE_MEMBER)
            partial.discard(name)
            members.pop(name, None)
            if not found.is_cut:
                members[name] = found.value
            if not found.is_whole:
                partial.add(name)

    def items(self, depth: int) -> tuple[list[Json], bool, bool]:
        """The items of a list, whether all are whole, and whether it is closed."""
        _check(depth)
        self.at += 1
        items: list[Json] = []
        is_whole = True
        while True:
            self._skip(COMMAS)
            if self.at >= self.stop or self.text[self.at] in CLOSE_OBJECT:
                return items, False, False
            if self.text[self.at] in CLOSE_LIST:
                self.at += 1
                return items, is_whole, True
            found = self._value(depth, _ITEM)
            is_whole = is_whole and found.is_whole
            if not found.is_cut:
                items.append(found.value)

    # Values: the cursor is before one, and afterwards at what ends it.

    def _value(self, depth: int, ending: _Ending) -> _Value:
        self._skip("")
        start = self.at
        if start >= self.stop:
            return _Value(None, is_whole=False, is_cut=True)
        first = self.text[start]
        if first in QUOTES:
            return self._string(ending, _CLOSERS[first])
        if first in OPEN_OBJECT:
            members, partial, is_closed = self.members(depth + 1)
            found = _Value(members, is_closed and not partial, self.at >= self.stop and not is_closed)
        elif first in OPEN_LIST:
            items, is_whole, is_closed = self.items(depth + 1)
            found = _Value(items, is_whole and is_closed, self.at >= self.stop and not is_closed)
        else:
            return self._bare(start, ending)
        if found.is_cut or not found.is_whole or ending.follows(self.text, self.at, self.stop):
            return found
        return self._bare(start, ending)

    def _bare(self, start: int, ending: _Ending) -> _Value:
        """A value without quotes: all from *start* up to what ends it."""
        depth, at = 0, self.at
        for mark in _MARK.finditer(self.text, self.at, self.stop):
            at = mark.start()
            if mark[0] in "([{":
                depth += 1
            elif mark[0] in ")]}" and depth:
                depth -= 1
            elif not depth and ending.ends_bare(self.text, at, self.stop):
                break
        else:
            self.at = self.stop
            return _Value(None, is_whole=False, is_cut=True)
        self.at = at
        said = self.text[start:at].strip()
        return _Value(_literal(said), is_whole=bool(said))

    def _string(self, ending: _Ending, closers: re.Pattern[str]) -> _Value:
        """A string: up to the first quote behind which a value may end."""
        start, is_first = self.at + 1, True
        for quote in closers.finditer(self.text, start, self.stop):
            if quote[0][0] == "\\":
                continue
            at = quote.start()
            if ending.follows(self.text, quote.end(), self.stop) and (is_first or self._goes_on(quote.end())):
                self.at = quote.end()
                return _Value(_unescaped(self.text[start:at]))
            if ending.is_key_on_new_line(self.text, start, at, self.stop):
                self.at = at
                return _Value(_unescaped(self.text[start:at].rstrip(COMMAS + " \t\r\n")), is_whole=False)
            is_first = False
        self.at = self.stop
        return _Value(None, is_whole=False, is_cut=True)

    def _goes_on(self, at: int) -> bool:
        """Whether there is more than white space: behind a quote inside of a string, the text's end says nothing."""
        space = _SPACE.match(self.text, at, self.stop)
        return space is not None and space.end() < self.stop

    def _skip(self, separators: str) -> None:
        """White space, comments, and any of *separators*."""
        while self.at < self.stop:
            space = _SPACE.match(self.text, self.at, self.stop)
            self.at = space.end() if space else self.at
            if self.text.startswith("/*", self.at) and self.at < self._last_comment:
                self.at = self.text.index("*/", self.at) + 2
            elif self.at < self.stop and self.text[self.at] in separators:
                self.at += 1
            else:
                return


class _Ending:
    """What may stand behind a value, by where the value stands."""

    def __init__(self, follows: str, bare: str) -> None:
        self._follows, self._bare = re.compile(rf"{_GAP}(?:{follows}|//|/\*|\Z)"), re.compile(bare)

    def follows(self, text: str, at: int, stop: int) -> bool:
        return self._follows.match(text, at, stop) is not None

    def ends_bare(self, text: str, at: int, stop: int) -> bool:
        return self._bare.match(text, at, stop) is not None

    @staticmethod
    def is_key_on_new_line(text: str, start: int, at: int, stop: int) -> bool:
        """Whether the quote at *at* begins the next key, on a line of its own: then this string was left open."""
        before = at - 1
        while before >= start and text[before] in " \t" and at - before <= _MAX_INDENT:
            before -= 1
        return before >= start and text[before] == "\n" and _QUOTED_KEY.match(text, at, stop) is not None


def _check(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Unreadable(f"brackets are nested deeper than {MAX_DEPTH} levels")


def _name(key: str) -> str:
    name = key.rstrip(f"{COLONS} \t\r\n")
    return _unescaped(name[1:-1]) if name[0] in QUOTES else name


def _literal(said: str) -> Json:
    """The constant or the number that *said* is, a comment apart; else *said*, for the schema to make sense of."""
    if (commented := _COMMENTED.match(said)) is not None:
        value = _literal(commented[1])
        return said if isinstance(value, str) else value
    if said in _CONSTANTS:
        return _CONSTANTS[said]
    if _NUMBER.fullmatch(said):
        return int(said) if said.lstrip("-").isdecimal() else float(said)
    return said


def _unescaped(content: str) -> str:
    if "\\" not in content:
        return content
    escaped = _ESCAPE_OR_QUOTE.sub(lambda match: _AS_IN_JSON.get(match[0], match[0]), content)
    try:
        return str(json.loads(f'"{mend_escapes(escaped)}"', strict=False))
    except ValueError:
        return content


_PAIRS: Final = (
    ('"', '"'),
    ("'", "'"),
    (SMART_QUOTES, f'{SMART_QUOTES}"'),
    (GUILLEMETS, f'{GUILLEMETS}"'),
    (SMART_SINGLE_QUOTES, f"{SMART_SINGLE_QUOTES}'"),
)
"""Quotes that open a string, and those that may close it."""
_CLOSERS: Final = {
    quote: re.compile(rf"\\.|[{closing}]", re.DOTALL) for opening, closing in _PAIRS for quote in opening
}
_MAX_INDENT: Final = 64
_GAP: Final = r"\s{0,200}+"  # bounded: it is looked ahead at from every comma, quote and line

_SPACE: Final = re.compile(r"(?:\s++|//[^\n]*+|#[ \t][^\n]*+)*+")
_QUOTED: Final = "|".join(rf"[{opening}][^{closing}\n]{{0,200}}+[{closing}]" for opening, closing in _PAIRS)
_BARE_NAME: Final = r"[^\W\d][\w-]{0,63}+"
_QUOTED_NAME: Final = rf"(?:{_QUOTED}){_GAP}[{COLONS}]"
_ANY_NAME: Final = rf"(?:{_QUOTED}|{_BARE_NAME}){_GAP}[{COLONS}]"
_QUOTED_KEY: Final = re.compile(_QUOTED_NAME)
_KEY: Final = re.compile(_ANY_NAME)
_MARK: Final = re.compile(rf"[()\n{OBJECT_MARKS}{LIST_MARKS}{COMMAS}{QUOTES}]")


def _member_ending(key: str) -> _Ending:
    behind = rf"[{CLOSE_OBJECT}]|[{COMMAS}]{_GAP}(?:[{CLOSE_OBJECT}]|{key}|//|/\*)"
    return _Ending(rf"{behind}|{key}", rf"{behind}|\n{_GAP}{key}|{_QUOTED_NAME}")


_MEMBER: Final = _member_ending(_QUOTED_NAME)
_BARE_MEMBER: Final = _member_ending(_ANY_NAME)
_ITEM: Final = _Ending(
    rf"[\{CLOSE_LIST}{CLOSE_OBJECT}{COMMAS}]|[\{OPEN_LIST}{OPEN_OBJECT}]|(?<=\s)[{QUOTES}]",
    rf"[\{CLOSE_LIST}{CLOSE_OBJECT}{COMMAS}]",
)
_CONSTANTS: Final[dict[str, Json]] = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
    "null": None,
    "None": None,
}
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,299})(?:\.[0-9]{1,300})?(?:[eE][+-]?[0-9]{1,3})?")
_COMMENTED: Final = re.compile(r"(\S{1,400})\s+(?://|/\*|#)")
_ESCAPE_OR_QUOTE: Final = re.compile(r"\\.|\"", re.DOTALL)
_AS_IN_JSON: Final = {'"': '\\"', "\\'": "'"}

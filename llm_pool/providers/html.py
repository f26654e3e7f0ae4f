"""Pages that answer in an API's place: a sign-in page, a proxy's error. Named by their title, never shown."""

from __future__ import annotations

import re
from typing import Final

MAX_PAGE: Final = 64 * 1024
"""Bytes of a page that are looked at."""
END_OF_TITLE: Final = re.compile(rb"</title", re.IGNORECASE)

_MAX_TITLE: Final = 100
_TITLE: Final = re.compile(r"<title[^<>]{0,200}>([^<]{0,1000})", re.IGNORECASE)
_TAG: Final = re.compile(r"<[^<>]*+>?")


def is_markup(beginning: bytes) -> bool:
    """Whether what begins like this is HTML or XML, whatever its Content-Type says."""
    return beginning.lstrip().startswith(b"<")


def described(page: bytes) -> str:
    """*page* in a few words: ``an HTML page titled 'Sign in'``, or the text of an XML document without its tags."""
    text = page[:MAX_PAGE].decode("utf-8", "replace").lstrip()
    title = _TITLE.search(text)
    if title is not None and (words := _words(title[1])):
        return f"an HTML page titled {words!r}"
    if text.startswith("<?xml"):
        return f"an XML document: {_words(_TAG.sub(' ', text))!r}"
    return "an HTML page"


def _words(text: str) -> str:
    from html import unescape  # two thousand names of characters, for the rare page

    return " ".join(unescape(text).split())[:_MAX_TITLE]

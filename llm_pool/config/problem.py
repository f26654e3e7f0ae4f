"""A mistake in a configuration file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llm_pool.config.positions import KeyPath


class Problem(msgspec.Struct, frozen=True):
    """A mistake: where, what stands there, what would be accepted, and the way out."""

    path: KeyPath
    got: str
    want: str
    hint: str = ""


MAX_NAME = 100
"""Characters of a name that may be a mistyped one."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint naming the word of *known* closest to *name*; empty if none is close, as none is to a very long one."""
    if len(name) > MAX_NAME:
        return ""
    from difflib import get_close_matches

    by_lower = {word.lower(): word for word in known}
    found = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.65)
    return f"did you mean {by_lower[found[0]]}?" if found else ""

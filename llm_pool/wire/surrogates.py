r"""
Halves of characters in JSON: a text that was cut in the middle of an emoji, as JavaScript's ``slice`` does.

``"\ud83d"`` is valid JSON text (RFC 8259, 8.2), yet no Unicode text. A half becomes U+FFFD, the replacement
character, as browsers and WHATWG's decoders write it; whole pairs stay.
"""

from __future__ import annotations

import re

MAX_REPLACED = 10_000
"""Halves that are replaced in one text: more are no accident, and each takes half a microsecond."""
MAX_ESCAPES = 100_000
"""Backslashes of a text that is mended: each takes up to 80 ns."""

_HALF = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD])[c-fC-F][0-9a-fA-F]{2})"
)


def with_whole_characters(body: bytes) -> bytes:
    """
    *body*, a JSON text, with U+FFFD for each half; the first ``MAX_REPLACED`` of them.

    Takes linear time, at most some 10 ms: what has more than ``MAX_ESCAPES`` stays as it is.
    """
    if body.count(b"\\") > MAX_ESCAPES:
        return body
    unambiguous = body.replace(rb"\\", rb"\u005c")  # the same character; now every backslash begins an escape
    return _HALF.sub(rb"\\ufffd", unambiguous, count=MAX_REPLACED)

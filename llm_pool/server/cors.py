"""
Cross-origin resource sharing: which answers a web page of another origin may read.

Who may is decided by ``security.origin_check``; here are the headers. Credentials that a browser keeps (cookies, client
certificates) are never asked for: a page proves who it is by a key of its own, if it has to.

Source: https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    Headers = Sequence[tuple[bytes, bytes]]

EXPOSED = b"x-request-id, x-llm-pool-decision, retry-after"
"""Headers that a page may read beside those that it always may."""
METHODS = b"GET, POST, DELETE"
MAX_AGE = 600
"""Seconds that a browser may remember the answer to a preflight."""
_ASKED = b"access-control-request-method"
_ASKED_HEADERS = b"access-control-request-headers"
_NAMES = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}(?: ?, ?[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}){0,63}")


def is_preflight(method: str, headers: Headers) -> bool:
    """Whether a browser asks if a page may send a request, before it does."""
    names = {name for name, _ in headers}
    return method == "OPTIONS" and b"origin" in names and _ASKED in names


def answer_headers(origin: bytes | None) -> list[tuple[bytes, bytes]]:
    """What goes with every answer, whose page *origin* may read it; None: no page may."""
    vary = (b"vary", b"origin")
    if origin is None:
        return [vary]
    return [vary, (b"access-control-allow-origin", origin), (b"access-control-expose-headers", EXPOSED)]


def preflight_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """What goes with the answer to a preflight of a page that may ask: any header it names is good."""
    found = [
        (b"access-control-allow-methods", METHODS),
        (b"access-control-max-age", str(MAX_AGE).encode()),
        (b"vary", b"access-control-request-method, access-control-request-headers"),
    ]
    names = next((value for name, value in headers if name == _ASKED_HEADERS), b"")
    return [*found, (b"access-control-allow-headers", names)] if _NAMES.fullmatch(names) else found

"""What a provider's ``base_url`` may be: an address before the API's own paths, and never one of these."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from llm_pool.config.values import Driver

if TYPE_CHECKING:
    from urllib.parse import SplitResult

_OPENAI_ENDPOINT = re.compile(r"/(?:chat/completions|completions|embeddings|models|responses|messages)$")
_OLLAMA_ENDPOINT = re.compile(
    r"/(?:v1(?:/[a-z/]*)?|api(?:/(?:chat|generate|tags|ps|show|embed|embeddings|pull|version))?)$"
)


def address_fault(driver: Driver, base_url: str) -> tuple[str, str] | None:
    """
    What is wrong with *base_url* for *driver*, and the address to write instead; None if nothing is.

    Args:
        driver: who is spoken to.
        base_url: begins with http:// or https://, and has no user in it.
    """
    try:
        parts = urlsplit(base_url)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        has_host = False
    if not has_host:
        return "no host, or no port from 1 to 65535", "http://host:port"
    if parts.query or parts.fragment or base_url.endswith(("?", "#")):
        return "a query (what follows ? or #)", _written(parts, parts.path)
    path = parts.path.rstrip("/")
    endpoint = {Driver.OPENAI: _OPENAI_ENDPOINT, Driver.OLLAMA: _OLLAMA_ENDPOINT}.get(driver)
    found = endpoint.search(path) if endpoint is not None else None
    if found is None:
        return None
    return f"{path}, which is the path of one call", _written(parts, path[: found.start()])


def _written(parts: SplitResult, path: str) -> str:
    return urlunsplit((parts.scheme, parts.netloc, path.rstrip("/"), "", ""))

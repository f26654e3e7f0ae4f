"""
Paths as clients spell them.

Some have a base URL with ``/v1`` and add their own, some have one without and add none, some end in a slash. A path is
signed, and refused where it could be read in two ways, as it was sent; here is which route it means.
"""

from __future__ import annotations

V1 = "/v1"
ONE_OF_V1 = frozenset({"chat", "completions", "embeddings", "messages", "models", "responses"})
"""What comes first in a path of OpenAI's and Anthropic's APIs, after ``/v1``."""


def meant(path: str) -> str:
    """The path that *path* stands for: ``/v1/v1/models/`` and ``/models`` are ``/v1/models``."""
    found = path.rstrip("/") or "/"
    if found.startswith(("/v1/v1/", "/v1/api/")):
        return found.removeprefix(V1)
    return f"{V1}{found}" if found[1:].partition("/")[0] in ONE_OF_V1 else found

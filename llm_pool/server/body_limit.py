"""How large a request may be, over HTTP and gRPC alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_pool.config import Config

SMALLEST = 4 << 20
"""Bytes that every request may have: a conversation of 128,000 tokens takes 0.6 MB, a picture of a screen 1 to 3."""
LARGEST = 1 << 30
"""Bytes that no request may have more than."""
ESCAPED = 6
"""Bytes that JSON needs for one of a prompt at most: a control character is written ``\\u0000``."""


def body_limit(config: Config) -> int:
    """Bytes of a request: room for the longest input of a task however it is escaped, between 4 MiB and 1 GiB."""
    return min(max(SMALLEST, ESCAPED * config.qos.max_prompt_bytes), LARGEST)

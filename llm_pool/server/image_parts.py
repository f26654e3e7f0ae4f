"""Pictures in what clients send: decoded once, and only where their bytes are there."""

from __future__ import annotations

import base64
import binascii

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Image

MEDIA_TYPES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
"""Pictures that the servers of models read."""


def image_from(data: str, place: str) -> Image:
    """
    The picture in *data*, base64 alone, in lines or not; what it is, its first bytes say.

    Raises:
        InvalidRequest: it is no base64, or no picture of a kind in ``MEDIA_TYPES``; *place* names it.
    """
    if "\n" in data:
        data = data.replace("\r", "").replace("\n", "")
    try:
        head = base64.b64decode(data[:32], validate=True)
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(place, "expected a picture in base64") from None
    found = _kind_of(head)
    if found is None:
        raise InvalidRequest(place, f"expected a picture: {', '.join(sorted(MEDIA_TYPES))}")
    return Image(found, data)


def image_at(url: str, place: str) -> Image:
    """The picture in a ``data:`` URL; raises InvalidRequest for any other, as nothing is fetched for strangers."""
    scheme, _, rest = url.partition(":")
    _, _, data = rest.partition(";base64,")
    if scheme != "data" or not data:
        raise InvalidRequest(place, "expected data:image/png;base64,…: no address is fetched", hint="send the bytes")
    return image_from(data, place)


def _kind_of(head: bytes) -> str | None:
    """The media type that the first bytes of a picture show."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return "image/webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None

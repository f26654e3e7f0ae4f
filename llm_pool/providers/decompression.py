"""Bodies that a proxy compressed unasked: gzip and deflate, undone piece by piece and never ahead of their reader."""

from __future__ import annotations

import zlib
from typing import Final

from llm_pool.providers.connection import MAX_PIECE

_GZIP_OR_ZLIB: Final = zlib.MAX_WBITS | 32
_RAW: Final = -zlib.MAX_WBITS


class CorruptData(Exception):
    """The body is not what its Content-Encoding says, or in an encoding that nobody here knows."""


def decompressor_for(encoding: str) -> Decompressor | None:
    """
    What undoes *encoding*, a Content-Encoding header; None where there is nothing to undo.

    Source: RFC 9110, 8.4.1.
    """
    name = encoding.strip().lower()
    return None if name in {"", "identity"} else Decompressor(name)


class Decompressor:
    """
    Undoes a compression: ``feed`` what came, ``take`` until nothing comes, ``finish`` at the end.

    A piece gives at most MAX_PIECE bytes at once, so a bomb unfolds no faster than it is read.

    Args:
        name: the encoding, in lower case.
    """

    def __init__(self, name: str) -> None:
        self._name, self._packed, self._began = name, b"", False
        self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)

    def feed(self, packed: bytes) -> None:
        """Take in bytes of the body; raises CorruptData where the encoding is unknown."""
        if self._name not in {"gzip", "x-gzip", "deflate"}:
            raise CorruptData(f"an answer compressed with {self._name[:20]!r}, which was not asked for")
        self._packed += packed

    def take(self) -> bytes:
        """The next bytes, at most MAX_PIECE; empty where more has to be fed. Raises CorruptData."""
        if self._stream.eof and self._packed:
            self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)  # another member follows: RFC 1952, 2.2
        unpacked = self._unpack()
        self._packed = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
        return unpacked

    def finish(self) -> None:
        """Nothing more comes; raises CorruptData if more had to."""
        if self._began and not self._stream.eof:
            raise CorruptData("the compressed answer ends too early")

    def _unpack(self) -> bytes:
        if not self._packed and not self._began:
            return b""
        try:
            unpacked = self._stream.decompress(self._packed, MAX_PIECE)
        except zlib.error as error:
            if self._began or self._name != "deflate":
                raise CorruptData(f"the compressed answer cannot be unpacked: {error}") from error
            # some servers send deflate without its zlib wrapping
            self._stream = zlib.decompressobj(_RAW)
            self._began = True
            return self._unpack()
        self._began = True
        return unpacked

"""Bodies that a proxy compressed unasked: gzip and deflate, undone piece by piece and never ahead of their reader."""

from __future__ import annotations

import zlib
from typing import Final

from llm_pool.providers.connection import MAX_PIECE

_GZIP_OR_ZLIB: Final = zlib.MAX_WBITS | 32
_RAW: Final = -zlib.MAX_WBITS
_HEADER: Final = 2
"""Bytes that tell the formats apart."""


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
        self._name, self._packed = name, b""
        self._stream: zlib._Decompress | None = None  # made once its first bytes are there

    def feed(self, packed: bytes) -> None:
        """Take in bytes of the body; raises CorruptData where the encoding is unknown."""
        if self._name not in {"gzip", "x-gzip", "deflate"}:
            raise CorruptData(f"an answer compressed with {self._name[:20]!r}, which was not asked for")
        self._packed += packed

    def take(self) -> bytes:
        """The next bytes, at most MAX_PIECE; empty where more has to be fed. Raises CorruptData."""
        unpacked = b""
        while not unpacked and self._packed and (self._stream or len(self._packed) >= _HEADER):
            if self._stream is None:
                self._stream = zlib.decompressobj(self._window())
            elif self._stream.eof:
                self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)  # another member follows: RFC 1952, 2.2
            try:
                unpacked = self._stream.decompress(self._packed, MAX_PIECE)
            except zlib.error as error:
                raise CorruptData(f"the compressed answer cannot be unpacked: {error}") from error
            self._packed = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
        return unpacked

    def finish(self) -> None:
        """Nothing more comes; raises CorruptData if more had to."""
        if self._packed or (self._stream is not None and not self._stream.eof):
            raise CorruptData("the compressed answer ends too early")

    def _window(self) -> int:
        """The ``wbits`` for zlib: some servers send deflate without its wrapping, whose header is RFC 1950, 2.2."""
        header = int.from_bytes(self._packed[:_HEADER], "big")
        wrapped = header >> 8 & 0x0F == zlib.DEFLATED and header % 31 == 0
        return _GZIP_OR_ZLIB if wrapped or self._name != "deflate" else _RAW

"""Answers in this process's memory: a TTL for each, an LRU bounded by bytes for all."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from llm_pool.cache.encoding import pack, unpack

if TYPE_CHECKING:
    from llm_pool.core.interfaces import Clock
    from llm_pool.core.messages import Answer

_ENTRY_OVERHEAD = 300
"""Bytes a key, a tuple and a float take beside the answer, about (sys.getsizeof on CPython 3.11)."""


class MemoryCache:
    """
    The cache of one process.

    Answers are kept encoded: that bounds their bytes exactly, and nobody can change a kept one.

    Args:
        clock: the time, monotonic.
        max_bytes: the oldest used go when all together take more.
    """

    def __init__(self, clock: Clock, *, max_bytes: int) -> None:
        self._clock, self._max_bytes = clock, max_bytes
        self._entries: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._bytes = 0

    async def get(self, key: str) -> Answer | None:
        """The answer under *key* with its age in seconds, or None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        packed, expires = entry
        now = self._clock.now()
        if now >= expires:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return unpack(packed, now=now)

    async def put(self, key: str, answer: Answer, ttl: float) -> None:
        """Keep *answer* for *ttl* seconds; one that alone is over the bound is not kept."""
        now = self._clock.now()
        packed = pack(answer, made=now)
        if ttl <= 0 or _size(key, packed) > self._max_bytes:
            return
        self._drop(key)
        self._entries[key] = (packed, now + ttl)
        self._bytes += _size(key, packed)
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    async def aclose(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._bytes = 0

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= _size(key, entry[0])


def _size(key: str, packed: bytes) -> int:
    return len(key) + len(packed) + _ENTRY_OVERHEAD

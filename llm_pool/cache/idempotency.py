"""
One run for one request id: who asks again within the TTL gets the first answer.

Who asks again is told so: the answer is marked as kept, with its age. Errors are not remembered: a request that failed
may be tried again under its id. The owner of a run may leave; those who wait then start it anew.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import msgspec

from llm_pool.cache.encoding import pack, unpack
from llm_pool.core.errors import DeadlineExceeded, RequestIdReused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llm_pool.core.interfaces import Clock
    from llm_pool.core.messages import Answer


MAX_BYTES = 32 << 20
"""Bytes of answers that one process remembers by their ids, and of the ids; the oldest go first."""
_ENTRY_OVERHEAD = 450
"""Bytes an entry takes beside its answer and its id, about (sys.getsizeof on CPython 3.11)."""


class Idempotency(Protocol):
    """One run for one request id."""

    async def run(
        self,
        owner: str,
        request_id: str,
        fingerprint: str,
        make: Callable[[], Awaitable[Answer]],
        *,
        deadline: float,
    ) -> Answer:
        """
        The answer to *request_id*, made at most once.

        Args:
            owner: the tenant; ids of different tenants never meet.
            request_id: chosen by the asker.
            fingerprint: of the request's body.
            make: makes the answer, by *deadline* or not at all.
            deadline: instant; somebody else's run that lasts longer is not waited for.

        Raises:
            RequestIdReused: the id was used for another body.
            DeadlineExceeded: somebody else's run took longer than *deadline*.
        """

    def with_ttl(self, ttl: float) -> Idempotency:
        """The same memory, remembering for *ttl* seconds what it is told from now on."""

    async def aclose(self) -> None:
        """End what goes on behind requests. Idempotent."""


class _Entry(msgspec.Struct):
    fingerprint: str
    expires: float
    packed: bytes = b""  # the answer, once there is one
    _done: asyncio.Event | None = None  # while somebody waits: an event takes 700 bytes

    async def wait(self) -> None:
        """Wait for the end of the run."""
        if self._done is None:
            self._done = asyncio.Event()
        await self._done.wait()

    def end(self) -> None:
        """Let those go on who wait."""
        done, self._done = self._done, None
        if done is not None:
            done.set()


class _Memory:
    """The entries, in the order of making, and the bytes that their answers take."""

    def __init__(self, max_bytes: int) -> None:
        self.entries: dict[tuple[str, str], _Entry] = {}
        self._bytes, self._max_bytes = 0, max_bytes

    def keep(self, key: tuple[str, str], entry: _Entry, packed: bytes, now: float) -> None:
        """Keep the answer of *entry*; stale ones go, and the oldest while all together take too much."""
        entry.packed = packed
        self._bytes += _size(key, packed)
        for other, stale in list(self.entries.items()):
            if self._bytes <= self._max_bytes and now < stale.expires:
                return
            if stale.packed:
                self.drop(other)

    def drop(self, key: tuple[str, str]) -> None:
        entry = self.entries.pop(key, None)
        if entry is not None and entry.packed:
            self._bytes -= _size(key, entry.packed)


def _size(key: tuple[str, str], packed: bytes) -> int:
    return sum(map(len, key)) + len(packed) + _ENTRY_OVERHEAD


class IdempotencyStore:
    """
    Remembers answers by request id, within one process, encoded, so that their bytes are bounded.

    Args:
        clock: the time, monotonic.
        ttl: seconds an answer is remembered after it was made.
        max_bytes: the oldest go when all together take more.
    """

    def __init__(self, clock: Clock, *, ttl: float, max_bytes: int = MAX_BYTES) -> None:
        self._clock, self._ttl, self._max_bytes = clock, ttl, max_bytes
        self._memory = _Memory(max_bytes)

    def with_ttl(self, ttl: float) -> IdempotencyStore:
        """As the seam says."""
        other = IdempotencyStore(self._clock, ttl=ttl, max_bytes=self._max_bytes)
        other._memory = self._memory
        return other

    async def aclose(self) -> None:
        """Nothing to release."""

    async def run(
        self,
        owner: str,
        request_id: str,
        fingerprint: str,
        make: Callable[[], Awaitable[Answer]],
        *,
        deadline: float,
    ) -> Answer:
        """As the seam says."""
        key = (owner, request_id)
        while (entry := self._find(key)) is not None:
            if entry.fingerprint != fingerprint:
                raise used_for_another(request_id)
            if entry.packed:
                return unpack(entry.packed, now=self._clock.now())
            began = self._clock.now()
            try:
                async with asyncio.timeout_at(deadline):
                    await entry.wait()
            except TimeoutError:
                raise DeadlineExceeded(deadline - began) from None
        return await self._make(key, fingerprint, make)

    async def _make(self, key: tuple[str, str], fingerprint: str, make: Callable[[], Awaitable[Answer]]) -> Answer:
        entry = self._memory.entries[key] = _Entry(fingerprint, expires=float("inf"))
        try:
            answer = await make()
            now = self._clock.now()
            entry.expires = now + self._ttl
            self._memory.keep(key, entry, pack(answer.without_reasoning(), made=now), now)
        except BaseException:
            self._memory.drop(key)
            raise
        finally:
            entry.end()
        return answer

    def _find(self, key: tuple[str, str]) -> _Entry | None:
        entry = self._memory.entries.get(key)
        if entry is not None and self._clock.now() >= entry.expires:
            self._memory.drop(key)
            return None
        return entry


def used_for_another(request_id: str) -> RequestIdReused:
    """The error where *request_id* comes with another body than before."""
    return RequestIdReused(
        "request_id", f"'{request_id}' was used for another request", hint="a new request needs a new id"
    )

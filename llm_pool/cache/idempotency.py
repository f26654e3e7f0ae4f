"""
One run for one request id: who asks again within the TTL gets the first answer.

Errors are not remembered: a request that failed may be tried again under its id. The owner of a run may leave;
those who wait then start it anew.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from llm_pool.core.errors import DeadlineExceeded, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llm_pool.core.interfaces import Clock
    from llm_pool.core.messages import Answer


class _Entry(msgspec.Struct):
    fingerprint: str
    expires: float
    answer: Answer | None = None
    done: asyncio.Event = msgspec.field(default_factory=asyncio.Event)


class IdempotencyStore:
    """
    Remembers answers by request id, within one process.

    Args:
        clock: the time, monotonic.
        ttl: seconds an answer is remembered after it was made.
        max_entries: the oldest go when there are more.
    """

    def __init__(self, clock: Clock, *, ttl: float, max_entries: int = 10_000) -> None:
        self._clock, self._ttl, self._max_entries = clock, ttl, max_entries
        self._entries: dict[tuple[str, str], _Entry] = {}

    def with_ttl(self, ttl: float) -> IdempotencyStore:
        """The same memory, remembering for *ttl* seconds what it is told from now on."""
        other = IdempotencyStore(self._clock, ttl=ttl, max_entries=self._max_entries)
        other._entries = self._entries
        return other

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
            InvalidRequest: the id was used for another body.
            DeadlineExceeded: somebody else's run took longer than *deadline*.
        """
        key = (owner, request_id)
        while (entry := self._find(key)) is not None:
            if entry.fingerprint != fingerprint:
                raise InvalidRequest(
                    "request_id", f"'{request_id}' was used for another request", hint="a new request needs a new id"
                )
            if entry.answer is not None:
                return entry.answer
            began = self._clock.now()
            try:
                async with asyncio.timeout_at(deadline):
                    await entry.done.wait()
            except TimeoutError:
                raise DeadlineExceeded(deadline - began) from None
        return await self._make(key, fingerprint, make)

    async def _make(self, key: tuple[str, str], fingerprint: str, make: Callable[[], Awaitable[Answer]]) -> Answer:
        entry = self._entries[key] = _Entry(fingerprint, expires=float("inf"))
        try:
            answer = await make()
            entry.answer = answer.without_reasoning()
        except BaseException:
            del self._entries[key]
            raise
        finally:
            entry.done.set()
        entry.expires = self._clock.now() + self._ttl
        self._trim()
        return answer

    def _find(self, key: tuple[str, str]) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is not None and self._clock.now() >= entry.expires:
            del self._entries[key]
            return None
        return entry

    def _trim(self) -> None:
        now = self._clock.now()
        for key, entry in list(self._entries.items()):  # in the order of making, so the stale ones come first
            if len(self._entries) <= self._max_entries and now < entry.expires:
                return
            if entry.answer is not None:
                del self._entries[key]

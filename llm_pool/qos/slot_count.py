"""
How many calls a machine takes at once, where it says so.

llama-server does (``total_slots`` of ``/props``, its ``--parallel``). Of a machine that does not, as Ollama,
``slot_trial`` learns it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

from llm_pool.core.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llm_pool.core.interfaces import Clock

CountSlots: TypeAlias = "Callable[[], Awaitable[int | None]]"
"""Asks a backend how many calls it takes at once. None or a ProviderError: it does not say."""

ASK_INTERVAL = 60.0
"""Seconds between two questions: the number changes when the server is started anew."""
ASK_TIMEOUT = 0.25
"""Seconds a question may take: it stands before a request's way."""


class SlotCount:
    """
    Asks now and then.

    Args:
        clock: the time.
        count: asks the backend.
        tell: gets each number that the backend says.
    """

    def __init__(self, clock: Clock, count: CountSlots, tell: Callable[[int], None]) -> None:
        self._clock, self._count, self._tell = clock, count, tell
        self._asked_at: float | None = None

    def is_stale(self) -> bool:
        """Whether nobody has asked within ``ASK_INTERVAL`` seconds."""
        return self._asked_at is None or not 0 <= self._clock.now() - self._asked_at < ASK_INTERVAL

    async def refresh(self) -> None:
        """Ask, where that is due. Never raises, never takes long."""
        if not self.is_stale():
            return
        self._asked_at = self._clock.now()
        try:
            async with asyncio.timeout(ASK_TIMEOUT):
                slots = await self._count()
        except (TimeoutError, ProviderError):
            return
        if slots is not None and slots > 0:
            self._tell(slots)

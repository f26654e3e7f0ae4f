"""
What models can do beside writing, where their backends say so: call tools, see pictures.

A provider that knows has ``abilities``, and ``learn_abilities`` where it has to ask for them. It is asked now and then,
and only when a request needs to know.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from llm_pool.core.errors import ProviderError
from llm_pool.core.messages import Abilities

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llm_pool.core.interfaces import Clock

ASK_INTERVAL = 60.0
"""Seconds between two questions to a backend that has told: a model of the same name may be another one by then."""
RETRY_INTERVAL = 5.0
"""Seconds between two questions to a backend that has not."""
ASK_TIMEOUT = 0.25
"""Seconds a question may take: it stands before a request's way."""

_UNKNOWN = Abilities()


class KnownAbilities:
    """What is known of each provider's model. A request asks at most once in the intervals above."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._providers: dict[str, Any] = {}
        self._next_at: dict[str, float] = {}

    def add(self, provider: Any) -> None:
        """Take in a bare *provider*; its policies know nothing of abilities."""
        self._providers[provider.name] = provider

    def of(self, name: str) -> Abilities:
        """What is known now of the model of the provider called *name*."""
        found: Abilities = getattr(self._providers.get(name), "abilities", _UNKNOWN)
        return found

    async def refresh(self, names: Iterable[str]) -> None:
        """Ask the backends of the providers *names*, where that is due. Never raises, never takes long."""
        now = self._clock.now()
        due = [name for name in names if now >= self._next_at.get(name, now)]
        await asyncio.gather(*(self._learn(name, now) for name in due))

    async def _learn(self, name: str, now: float) -> None:
        learn = getattr(self._providers.get(name), "learn_abilities", None)
        self._next_at[name] = now + RETRY_INTERVAL
        if learn is None:
            return
        try:
            async with asyncio.timeout(ASK_TIMEOUT):
                await learn()
        except (TimeoutError, ProviderError):
            return
        self._next_at[name] = now + ASK_INTERVAL

"""
How many tokens a model's context holds, where the configuration does not say.

Its server does: Ollama in ``/api/ps``, vLLM and LM Studio in ``/v1/models``, llama-server in ``/props``. What counts is
what the model is loaded with: one that is not loaded could have more, and the request that asks for it would have to
load it so.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from llm_pool.core.errors import ProviderError

if TYPE_CHECKING:
    from llm_pool.core.interfaces import Clock, Member

ASK_INTERVAL = 60.0
"""Seconds between two questions to one provider: a model may be loaded anew with another context."""
ASK_TIMEOUT = 0.25
"""Seconds a question may take: it stands before a request's way."""


class ModelContexts:
    """
    The context of each provider's model, asked for now and then.

    Args:
        clock: the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, int | None]] = {}

    async def learned(self, member: Member) -> Member:
        """
        *member* with its context as configured, else as its backend says it; None where neither does.

        Never raises, never takes longer than ``ASK_TIMEOUT`` seconds.
        """
        if member.context is not None:
            return member
        return msgspec.structs.replace(member, context=await self._context(member))

    async def _context(self, member: Member) -> int | None:
        now = self._clock.now()
        asked_at, context = self._known.get(member.name, (None, None))
        if asked_at is not None and 0 <= now - asked_at < ASK_INTERVAL:
            return context
        self._known[member.name] = now, context  # who comes meanwhile has what was known before
        try:
            async with asyncio.timeout(ASK_TIMEOUT):
                facts = (await member.provider.state()).facts
        except (TimeoutError, ProviderError):
            return context
        if facts is not None and facts.context is not None and facts.loaded is not False:
            self._known[member.name] = now, facts.context
            return facts.context
        return context

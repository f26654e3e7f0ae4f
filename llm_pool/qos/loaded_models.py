"""Which models a machine holds in memory: what it says now and then, and what we see it do in between."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from llm_pool.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from llm_pool.interfaces import Clock

Look: TypeAlias = "Callable[[], Awaitable[Collection[str] | None]]"
"""
Asks a backend which models it holds: their names or, as a mapping, their names with the megabytes they take.
None or a ProviderError: it cannot say.
"""

FRESH = 5.0
"""Seconds between two looks, at least. One look is one small request to the backend (``/api/ps``)."""
LOOK_TIMEOUT = 0.25
"""Seconds a look may take: it stands before a request's way."""

LOAD = 0.25
"""Seconds of loading that are a load. Below, the model was there: Ollama reports some milliseconds for every call."""


class Residency:
    """
    The models in memory, least recently used first.

    Args:
        clock: the time.
        look: asks the backend; None: only our own calls tell.

    Attributes:
        loaded: the models.
        sizes: megabytes of the models that the backend has told the size of.
        knows: the backend itself has told, so a model that is not among them is really not there.
    """

    def __init__(self, clock: Clock, look: Look | None = None) -> None:
        self._clock, self._look = clock, look
        self._looked_at: float | None = None
        self._changes = 0
        self.loaded: tuple[str, ...] = ()
        self.sizes: dict[str, float] = {}
        self.knows = False

    def arrives(self, model: str, evicting: Sequence[str] = ()) -> None:
        """Note that *model* is used, and that *evicting* make room for it."""
        self._changes += 1
        self.loaded = (*(each for each in self.loaded if each != model and each not in evicting), model)

    def leaves(self, model: str) -> None:
        """Note that *model* could not be loaded."""
        self._changes += 1
        self.loaded = tuple(each for each in self.loaded if each != model)

    async def refresh(self) -> None:
        """Ask the backend, unless somebody did within ``FRESH`` seconds. Never raises, never takes long."""
        now = self._clock.now()
        if self._look is None or (self._looked_at is not None and 0 <= now - self._looked_at < FRESH):
            return
        self._looked_at, changes = now, self._changes
        try:
            async with asyncio.timeout(LOOK_TIMEOUT):
                names = await self._look()
        except (TimeoutError, ProviderError):
            names = None
        self.knows = names is not None
        if isinstance(names, Mapping):
            self.sizes.update(names)
        if names is not None and changes == self._changes:  # what we did meanwhile is newer than what it said
            known = [each for each in self.loaded if each in names]
            self.loaded = (*known, *(each for each in names if each not in known))

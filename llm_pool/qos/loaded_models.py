"""Which models a machine holds in memory: what it says now and then, and what we see it do in between."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from llm_pool.core.errors import ProviderError
from llm_pool.qos.capacity import Capacity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from llm_pool.core.interfaces import Clock

ListLoaded: TypeAlias = "Callable[[], Awaitable[Collection[str] | None]]"
"""
Asks a backend which models it holds: their names or, as a mapping, their names with the megabytes they take.
None or a ProviderError: it cannot say.
"""

REFRESH_INTERVAL = 5.0
"""Seconds between two looks, at least. One look is one small request to the backend (``/api/ps``)."""
REFRESH_TIMEOUT = 0.25
"""Seconds a look may take: it stands before a request's way."""
SECOND_LOOK_AFTER = 0.5
"""Seconds after a look that failed for the first time: a busy moment is not to leave us blind for five seconds."""

MIN_LOAD_TIME = 0.25
"""Seconds of loading that are a load. Below, the model was there: Ollama reports some milliseconds for every call."""


class LoadedModels:
    """
    The models in memory, least recently used first.

    Args:
        clock: the time.
        list_loaded: asks the backend; None: only our own calls tell.

    Attributes:
        loaded: the models.
        sizes: megabytes of the models that the backend has told the size of.
        is_authoritative: the backend itself has told, so a model that is not among them is really not there.
        has_told: it did once, whether or not it does now.
        capacity: how many it was seen to hold.
    """

    def __init__(self, clock: Clock, list_loaded: ListLoaded | None = None) -> None:
        self._clock, self._list_loaded = clock, list_loaded
        self._next_look = -math.inf
        self._looking = asyncio.Lock()
        self._failures = self._changes = 0
        self.loaded: tuple[str, ...] = ()
        self.sizes: dict[str, float] = {}
        self.is_authoritative = self.has_told = False
        self.capacity = Capacity()

    def mark_used(self, model: str, evicting: Sequence[str] = ()) -> None:
        """Note that *model* is used, and that *evicting* make room for it."""
        self._changes += 1
        if not evicting and self.loaded[-1:] == (model,):
            return
        self.loaded = (*(each for each in self.loaded if each != model and each not in evicting), model)

    def mark_unloaded(self, *models: str) -> None:
        """Note that *models* are not there, or no longer."""
        self._changes += 1
        self.loaded = tuple(each for each in self.loaded if each not in models)

    def doubt(self) -> None:
        """Let the next request look, however short ago the last look was."""
        self._next_look = -math.inf

    def is_stale(self) -> bool:
        """Whether a look is due: nobody has looked within ``REFRESH_INTERVAL`` seconds, and there is whom to ask."""
        return self._list_loaded is not None and self._clock.now() >= self._next_look

    async def refresh(self) -> None:
        """Ask the backend, where that is due. Never raises, never takes long."""
        if not self.is_stale():
            return
        async with self._looking:  # who comes while somebody looks waits for what he sees
            if self.is_stale():
                await self.look()

    async def look(self) -> Collection[str] | None:
        """Ask the backend and give what it says; None: it cannot say. Never raises, never takes long."""
        if self._list_loaded is None:
            return None
        began, changes = self._clock.now(), self._changes
        try:
            async with asyncio.timeout(REFRESH_TIMEOUT):
                names = await self._list_loaded()
        except (TimeoutError, ProviderError):
            names = None
        self._failures = self._failures + 1 if names is None else 0
        self._next_look = began + (SECOND_LOOK_AFTER if self._failures == 1 else REFRESH_INTERVAL)
        self.is_authoritative = names is not None
        if names is None:
            return None
        self.has_told = True
        if isinstance(names, Mapping):
            self.sizes.update(names)
        self.capacity = self.capacity.seen(len(names))
        if changes == self._changes:  # what we did meanwhile is newer than what it said
            known = [each for each in self.loaded if each in names]
            self.loaded = (*known, *(each for each in names if each not in known))
        return names

    def learn(self, model: str, before: Collection[str], after: Collection[str]) -> None:
        """Learn from a load of *model*: what was there *before*, and *after* it."""
        if model in after and not set(before) <= set(after):
            self.capacity = self.capacity.evicted(len(after))

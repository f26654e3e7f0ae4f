"""A model being loaded, whoever asked for it: a task of its own, so that no asker's leaving ends it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Literal, TypeAlias

from llm_pool.core.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llm_pool.core.interfaces import Clock
    from llm_pool.qos.loaded_models import LoadedModels

LoadModel: TypeAlias = "Callable[[], Awaitable[None]]"
"""Makes a backend load a model; raises ProviderError."""

LOAD_TIMEOUT = 300.0
"""Seconds a load may take. Source: Ollama's own ``OLLAMA_LOAD_TIMEOUT`` of five minutes."""
UNKNOWN_LOAD_TIME = 5.0
"""Seconds that a load is taken for before one was seen: some gigabytes from a disk that gives one a second."""
MIN_REST = 0.25
"""Seconds that a load which has taken as long as usual is believed to take still."""

LoadOutcome: TypeAlias = Literal["loaded", "was_there", "untold", "unlisted", "failed"]

_log = logging.getLogger("llm_pool.qos")


class ModelLoad:
    """
    One load, from its beginning to its end.

    Args:
        model: what is loaded.
        evicting: models that are believed to leave for it.
        load: does it.
        loaded_models: looked at before and after; learns from what it sees.
        clock: the time.
        ended: told of the outcome and the seconds it took.

    Attributes:
        began: instant.
    """

    def __init__(
        self,
        model: str,
        evicting: tuple[str, ...],
        load: LoadModel,
        loaded_models: LoadedModels,
        clock: Clock,
        ended: Callable[[ModelLoad, LoadOutcome, float], None],
    ) -> None:
        self.model, self.evicting, self.began = model, evicting, clock.now()
        self._load, self._loaded_models, self._clock = load, loaded_models, clock
        self._task = asyncio.create_task(self._run(), name=f"load {model}")
        self._task.add_done_callback(lambda _: ended(self, self._outcome, clock.now() - self.began))
        self._outcome: LoadOutcome = "failed"

    def elapsed(self) -> float:
        """Seconds since it began."""
        return self._clock.now() - self.began

    async def wait(self) -> None:
        """Wait for its end; leaving earlier does not end it."""
        await asyncio.wait({self._task})

    async def aclose(self) -> None:
        """End it: its pool is closed."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        before = await self._loaded_models.look()
        if before is None:
            self._outcome = "untold"  # who does not say what it holds is asked without ado
            return
        if self.model in before:
            self._outcome = "was_there"
            return
        try:
            async with asyncio.timeout(LOAD_TIMEOUT):
                await self._load()
        except (TimeoutError, ProviderError) as error:
            _log.info("%s could not be loaded ahead: %s", self.model, str(error) or f"not within {LOAD_TIMEOUT:g} s")
            await self._loaded_models.look()
            return
        self._loaded_models.mark_unloaded(*self.evicting)
        self._loaded_models.mark_used(self.model)
        after = await self._loaded_models.look()
        self._outcome = "loaded" if after is None or self.model in after else "unlisted"
        if after is not None:
            self._loaded_models.learn(self.model, before, after)


def rest_of_load(usual: float, elapsed: float) -> float:
    """Seconds that a load which usually takes *usual* still takes after *elapsed*; never less than ``MIN_REST``."""
    return max(MIN_REST, usual - elapsed)

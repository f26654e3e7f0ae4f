"""
One machine with limited memory: what is loaded, who waits, what is put out for whom.

As in Ollama's scheduler, requests are placed strictly in their order of arrival, so the first that needs room holds
up all behind it, even those whose model is loaded. A model makes room for another when it is idle, the one that was
used longest ago first. A load belongs to the request that began it: when that one leaves, the load ends with it, and
the next request for the model begins anew.

Source: ``processPending`` and ``load`` in Ollama's ``server/sched.go``, ``WaitUntilRunning`` ("client connection closed
before llama-server finished loading, aborting load") in its ``llm/server.go``; read in November 2026.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """
    A model on disk.

    Attributes:
        size: bytes, of disk and of memory alike.
        load_time: seconds.
        embeds: it makes vectors.
        capabilities: what ``/api/show`` lists; Ollama refuses tools and pictures to a model without them.
    """

    name: str
    size: int = 2_000_000_000
    load_time: float = 0.0
    embeds: bool = False
    capabilities: tuple[str, ...] = ("completion", "tools")


class QueueFull(Exception):
    """More requests wait than the machine takes."""


class Resident:
    """
    A model in memory.

    Attributes:
        loading: done once the model answers.
        users: requests placed on it, those waiting for a slot included.
        used: instant of its last use.
        expires: instant at which it leaves by itself, if idle.
    """

    def __init__(self, model: Model, slots: int, loading: asyncio.Future[None]) -> None:
        self.model, self.loading = model, loading
        self.slots = asyncio.Semaphore(slots)
        self.users = 0
        self.used = self.expires = math.inf

    @property
    def idle(self) -> bool:
        """Nobody uses it, and it is not being loaded."""
        return self.users == 0 and self.loading.done()


class Machine:
    """
    Loads, keeps and evicts models.

    Args:
        slots: requests that one model works on at once (OLLAMA_NUM_PARALLEL).
        max_loaded: models in memory at once; *memory*: bytes for all of them. None: no limit.
        max_queue: requests that may wait for their model or for a slot (OLLAMA_MAX_QUEUE).

    Attributes:
        loads, evictions: loads that were begun, and models put out to make room, since the start.
        aborted: loads that ended because their request left.
    """

    def __init__(
        self, *, slots: int = 64, max_loaded: int | None = None, memory: int | None = None, max_queue: int = 512
    ) -> None:
        self._slots, self._max_loaded, self._memory, self._max_queue = slots, max_loaded, memory, max_queue
        self._residents: dict[str, Resident] = {}
        self._placing = asyncio.Lock()
        self._waiting = 0
        self._idle = asyncio.Event()
        self.loads = self.evictions = self.aborted = 0

    @asynccontextmanager
    async def serve(self, model: Model, *, keep_alive: float = 300.0) -> AsyncIterator[float]:
        """
        A slot on *model*, once it is loaded and has one free. Gives the seconds spent loading it.

        Raises:
            QueueFull: too many wait already.
        """
        if self._waiting >= self._max_queue and self._must_wait(model):
            raise QueueFull
        now = asyncio.get_running_loop().time
        async with AsyncExitStack() as slot_stack:
            self._waiting += 1
            try:
                async with self._placing:
                    began = now()
                    resident = await self._place(model)
                    loading = now() - began
                slot_stack.callback(self._leave, resident, keep_alive)
                await slot_stack.enter_async_context(resident.slots)
            finally:
                self._waiting -= 1
            yield loading

    def _must_wait(self, model: Model) -> bool:
        resident = self.loaded().get(model.name)
        return self._placing.locked() or resident is None or resident.slots.locked() or not resident.loading.done()

    def _leave(self, resident: Resident, keep_alive: float) -> None:
        now = asyncio.get_running_loop().time()
        resident.users -= 1
        resident.used, resident.expires = now, now + keep_alive
        if keep_alive <= 0 and resident.idle:
            self.unload(resident.model.name)
        self._idle.set()

    async def _place(self, model: Model) -> Resident:
        resident = self.loaded().get(model.name)
        if resident is None:
            while not self._fits(model):
                await self._make_room()
            self.loads += 1
            resident = self._admit(model, asyncio.ensure_future(asyncio.sleep(model.load_time)))
        resident.users += 1
        try:
            await asyncio.shield(resident.loading)
        except asyncio.CancelledError:
            resident.users -= 1
            self._abort(resident)
            raise
        return resident

    def _abort(self, resident: Resident) -> None:
        """End a load whose request has left; requests are placed one at a time, so nobody else waits for it."""
        if not resident.loading.done():
            resident.loading.cancel()
            self.unload(resident.model.name)
            self.aborted += 1

    def _admit(self, model: Model, loading: asyncio.Future[None]) -> Resident:
        resident = Resident(model, self._slots, loading)
        self._residents[model.name] = resident
        resident.loading.add_done_callback(lambda _: self._idle.set())
        return resident

    def _fits(self, model: Model) -> bool:
        others = [r.model.size for r in self._residents.values()]
        if not others:
            return True  # too big for the memory alone: Ollama leaves the rest of it to the CPU
        counts = self._max_loaded is None or len(others) < self._max_loaded
        return counts and (self._memory is None or sum(others) + model.size <= self._memory)

    async def _make_room(self) -> None:
        idle = [r for r in self._residents.values() if r.idle]
        if idle:
            oldest = min(idle, key=lambda r: r.used)
            self.unload(oldest.model.name)
            self.evictions += 1
            return
        self._idle.clear()
        await self._idle.wait()

    def preload(self, models: list[Model]) -> None:
        """Put as many of *models* as fit into memory, at no cost: the state a test begins with."""
        loop = asyncio.get_running_loop()
        at_once = loop.create_future()
        at_once.set_result(None)
        for model in models:
            if self._fits(model):
                resident = self._admit(model, at_once)
                resident.used, resident.expires = loop.time(), loop.time() + 300.0

    def loaded(self) -> dict[str, Resident]:
        """What is in memory now, or being loaded, by name; what has expired is gone."""
        now = asyncio.get_running_loop().time()
        for name in [n for n, r in self._residents.items() if r.idle and r.expires <= now]:
            self.unload(name)
        return self._residents

    def unload(self, name: str) -> None:
        """Put a model out, if it is there."""
        self._residents.pop(name, None)

    def close(self) -> None:
        """Stop what is being loaded."""
        for resident in self._residents.values():
            resident.loading.cancel()

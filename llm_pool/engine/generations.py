"""
The pool that both servers ask: always one that answers, while generations of it come and go.

::

    swap(config):  build the next ─▶ [it serves] ─▶ wait for the old one's requests ─▶ close the old one
    drain(grace):  refuse new work ─▶ wait for the requests there are ─▶ cut what is left

A request ends in the generation where it began. A configuration that cannot be built changes nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import msgspec

from llm_pool.app import emit_to, open_app
from llm_pool.errors import Cancelled, InvalidRequest, LlmPoolError, Stopping
from llm_pool.kept import Kept
from llm_pool.messages import ProviderState, Reloaded

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from llm_pool.app import App
    from llm_pool.config import Config
    from llm_pool.errors import ConfigError
    from llm_pool.interfaces import Emit, Observer, Provider
    from llm_pool.messages import Answer, Query, Task
    from llm_pool.panel import Plan

PATIENCE = 300.0
"""Seconds that a generation which was swapped out may go on with its requests."""
FRESH = 0.5
"""Seconds that a look at the backends is good for, so that probes cost them little."""
LOOK = 1.0
"""Seconds a backend has to say how it is before it counts as unreachable."""
KEEP_EVERY = 60.0
"""Seconds between two writings of what was learned: a crash costs no more than that."""

_log = logging.getLogger("llm_pool.live")


class Reload(msgspec.Struct, frozen=True):
    """
    How the last reading of the configuration went.

    Attributes:
        at: Unix seconds.
        error: what kept the configuration from being taken; None where *ok*.
        generation: the one that serves since.
    """

    at: float
    ok: bool
    error: LlmPoolError | None
    generation: int


class Health(msgspec.Struct, frozen=True):
    """How the backends are; *ready* when one of them can answer, if need be after loading its model."""

    ready: bool
    states: tuple[ProviderState, ...]


class Running(msgspec.Struct, frozen=True, eq=False):
    """
    A request in flight.

    Attributes:
        number: unique in this process; ``Live.cancel`` takes it.
        began: instant.
    """

    number: int
    query: Query
    began: float
    generation: int


class Live:
    """
    One pool after the other behind one door.

    Made by ``start``; ``drain`` and ``aclose`` end it.

    Attributes:
        last_reload: how the last swap went; the start counts as one.
        is_draining: no new work is taken.
    """

    def __init__(self, first: _Generation, emit: Emit, observers: Sequence[Observer]) -> None:
        self._emit, self._observers = emit, tuple(observers)
        self._now, self._generations = first, {first}
        self._numbers = itertools.count(1)
        self._swapping, self._looking = asyncio.Lock(), asyncio.Lock()
        self._looked: tuple[float, _Generation, Health] | None = None
        self._behind = {asyncio.create_task(self._keep_learned(), name="keep what was learned")}
        self.is_draining = False
        self._note(None)

    @classmethod
    async def start(cls, config: Config, observers: Sequence[Observer] = ()) -> Live:
        """
        A pool that serves *config*.

        Args:
            config: from ``config.load``.
            observers: told of every event of every generation.

        Raises:
            ConfigError: it cannot be built as configured.
        """
        emit = emit_to(observers)
        kept = await Kept.fresh(config, emit)
        return cls(await _open(config, kept, observers, 1), emit, observers)

    @property
    def app(self) -> App:
        """The pool that serves now."""
        return self._now.app

    @property
    def config(self) -> Config:
        """What it was built from."""
        return self._now.app.config

    @property
    def generation(self) -> int:
        """Its number: 1 for the first, one more with every swap."""
        return self._now.number

    @property
    def in_flight(self) -> int:
        """Requests being answered, those of older generations included."""
        return sum(len(generation.flights) for generation in self._generations)

    def running(self) -> list[Running]:
        """The requests in flight, the oldest first."""
        flights = (flight for generation in self._generations for flight in generation.flights.values())
        return sorted((flight.running for flight in flights), key=lambda running: running.number)

    async def infer(self, query: Query, emit: Emit | None = None) -> Answer:
        """
        Answer *query*; arguments and errors as for ``Orchestrator.infer``.

        Raises:
            Stopping: the server stops, or stopped before the answer was there.
            Cancelled: ``cancel`` ended it.
        """
        if self.is_draining:
            raise Stopping
        began = asyncio.get_running_loop().time()
        return await self._now.infer(Running(next(self._numbers), query, began, self.generation), emit)

    def cancel(self, number: int, *, by: str = "the operator") -> bool:
        """End the request *number*, which raises Cancelled; whether it was still in flight."""
        flights = [g.flights[number] for g in self._generations if number in g.flights]
        for flight in flights:
            flight.cut(Cancelled(by))
        return bool(flights)

    async def plan(self, query: Query) -> Plan:
        """What ``infer`` would do for *query*. Asks no model; raises InvalidRequest."""
        return await self.app.orchestrator.plan(query)

    async def tasks(self) -> list[Task]:
        """Every task, in alphabetical order."""
        return await self.app.shelf.every()

    async def feedback(self, request_id: str, tenant_id: str, *, good: bool) -> bool:
        """Take a person's word on an answer, as ``learning.take_feedback`` does; raises InvalidRequest."""
        if self.app.learning is None:
            raise InvalidRequest("request_id", "nothing is learned here", hint="trust.enabled is off")
        return await self.app.learning.feedback(request_id, tenant_id, good=good)

    async def states(self) -> list[ProviderState]:
        """What each provider's backend says of itself now, in the file's order."""
        return await self.app.states()

    async def health(self) -> Health:
        """How the backends are, at most ``FRESH`` seconds ago; takes little more than ``LOOK`` seconds."""
        async with self._looking:
            now = asyncio.get_running_loop().time()
            looked = self._looked
            if looked is None or looked[1] is not self._now or now - looked[0] >= FRESH:
                generation = self._now
                looked = self._looked = (now, generation, await _look(generation.app))
            return looked[2]

    async def swap(self, config: Config) -> None:
        """
        Serve *config* from now on; the old pool ends its requests and is closed behind the scenes.

        Raises:
            ConfigError: it cannot be built as configured; the old pool goes on, and ``last_reload`` says why.
        """
        async with self._swapping:
            old, kept = self._now, await self.app.kept.carried(self.config, config)
            try:
                new = await _open(config, kept, self._observers, old.number + 1)
            except LlmPoolError as error:
                await kept.aclose(but=self._memories())
                self._note(error)
                raise
            self._generations.add(new)
            self._now = new
            self._note(None)
            self._start_behind(self._retire(old))

    def refuse(self, error: ConfigError) -> None:
        """Note that a new configuration could not be read; the pool goes on as it is."""
        self._note(error)

    async def drain(self, grace: float) -> bool:
        """
        Take no new work, and give the requests in flight *grace* seconds; what is left then raises Stopping.

        Returns:
            Whether every request ended by itself.
        """
        self.is_draining = True
        ended = await asyncio.gather(*(g.ends_within(grace, Stopping()) for g in list(self._generations)))
        return all(ended)

    async def aclose(self) -> None:
        """Cut what is in flight, and close every generation."""
        await self.drain(0.0)
        for task in self._behind:
            task.cancel()
        await asyncio.gather(*self._behind, return_exceptions=True)
        for generation in list(self._generations):
            await self._close(generation)

    async def _retire(self, old: _Generation) -> None:
        await old.ends_within(PATIENCE, Cancelled("a new configuration"))
        await self._close(old)

    async def _close(self, generation: _Generation) -> None:
        self._generations.discard(generation)
        await generation.stack.aclose()
        await generation.app.kept.aclose(but=self._memories())

    def _memories(self) -> list[Kept]:
        return [generation.app.kept for generation in self._generations]

    async def _keep_learned(self) -> None:
        while True:
            await asyncio.sleep(KEEP_EVERY)
            if self.app.learning is not None:
                await self.app.learning.flush()

    def _start_behind(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._behind.add(task)
        task.add_done_callback(self._ended_behind)

    def _ended_behind(self, task: asyncio.Task[None]) -> None:
        self._behind.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a bug in llm-pool, while closing an old generation", exc_info=error)

    def _note(self, error: LlmPoolError | None) -> None:
        self.last_reload = Reload(self.app.kept.clock.wall(), error is None, error, self.generation)
        self._emit(Reloaded(self.generation, error))

    def __repr__(self) -> str:
        draining = sum(len(g.flights) for g in self._generations if g is not self._now)
        return f"<Live [generation {self.generation} | {self.in_flight - draining} in flight, {draining} draining]>"


class _Flight:
    """A running request, and the way to end it."""

    def __init__(self, running: Running) -> None:
        self.running, self.limit = running, asyncio.timeout(None)
        self.why: LlmPoolError | None = None

    def cut(self, why: LlmPoolError) -> None:
        if self.why is None:
            self.why = why
            self.limit.reschedule(asyncio.get_running_loop().time())


class _Generation:
    """One pool, the requests in it, and *stack*, which closes it."""

    def __init__(self, app: App, stack: AsyncExitStack, number: int) -> None:
        self.app, self.stack, self.number = app, stack, number
        self.flights: dict[int, _Flight] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    async def infer(self, running: Running, emit: Emit | None) -> Answer:
        flight = self.flights[running.number] = _Flight(running)
        self._empty.clear()
        try:
            async with flight.limit:
                return await self.app.orchestrator.infer(running.query, emit)
        except TimeoutError:
            if flight.why is None:
                raise
            raise flight.why from None
        finally:
            del self.flights[running.number]
            if not self.flights:
                self._empty.set()

    async def ends_within(self, span: float, why: LlmPoolError) -> bool:
        """Wait *span* seconds for the requests to end, then cut the others; whether there were no others."""
        try:
            async with asyncio.timeout(span):
                await self._empty.wait()
        except TimeoutError:
            for flight in self.flights.values():
                flight.cut(why)
            await self._empty.wait()
            return False
        return True


async def _open(config: Config, kept: Kept, observers: Sequence[Observer], number: int) -> _Generation:
    """A generation, with every task's prompt file read: a mistake in one shows now."""
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(open_app(config, observers=observers, kept=kept))
        await app.shelf.every()
        return _Generation(app, stack.pop_all(), number)


async def _look(app: App) -> Health:
    states = await asyncio.gather(*(_state(name, provider, app) for name, provider in app.providers.items()))
    return Health(any(state.condition in {"healthy", "warming"} for state in states), tuple(states))


async def _state(name: str, provider: Provider, app: App) -> ProviderState:
    try:
        async with asyncio.timeout(LOOK):
            return await provider.state()
    except TimeoutError:
        model = next(settings.model for settings in app.config.active_providers if settings.name == name)
        return ProviderState(name=name, model=model, condition="unreachable", detail=f"no word within {LOOK:g} s")

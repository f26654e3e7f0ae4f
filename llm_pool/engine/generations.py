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
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.config.problem import nearest
from llm_pool.config.values import POOL
from llm_pool.core.errors import Cancelled, ConfigError, LlmPoolError, Stopping
from llm_pool.core.events import Reloaded
from llm_pool.core.time_limit import TimeLimit
from llm_pool.engine.composition import emit_to, open_app
from llm_pool.engine.health import Health
from llm_pool.engine.state import PoolState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from llm_pool.config import Config
    from llm_pool.core.interfaces import Emit, Observer
    from llm_pool.core.messages import Answer, ProviderState, Query, Task
    from llm_pool.engine.composition import App
    from llm_pool.engine.panel import Plan

RETIRE_TIMEOUT = 300.0
"""Seconds that a generation which was swapped out may go on with its requests."""
HEALTH_TTL = 0.5
"""Seconds that a look at the backends is good for, so that probes cost them little."""
SAVE_INTERVAL = 60.0
"""Seconds between two writings of what was learned: a crash costs no more than that."""

_log = logging.getLogger("llm_pool.engine")


class ReloadResult(msgspec.Struct, frozen=True):
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


class RunningRequest(msgspec.Struct, frozen=True, eq=False):
    """
    A request in flight.

    Attributes:
        number: unique in this process; ``PoolManager.cancel`` takes it.
        began: instant.
    """

    number: int
    query: Query
    began: float
    generation: int


class PoolManager:
    """
    The pool that serves now, and the older generations that still end their requests.

    Made by ``start``; ``drain`` and ``aclose`` end it.

    Attributes:
        last_reload: how the last swap went; the start counts as one.
        loaded_at: Unix seconds since which the present configuration serves.
        is_draining: no new work is taken.
        before_feedback: has other processes keep what they learned, so that their answers are found too.
    """

    def __init__(self, first: _Generation, emit: Emit, observers: Sequence[Observer]) -> None:
        self._emit, self._observers = emit, tuple(observers)
        self._current, self._generations = first, {first}
        self._numbers = itertools.count(1)
        self._swapping = asyncio.Lock()
        self._health_check: tuple[_Generation, asyncio.Task[Health]] | None = None
        self._last_health: tuple[float, _Generation, Health] | None = None
        saving = asyncio.create_task(self._save_learned(), name="save what was learned")
        self._background: set[asyncio.Task[Any]] = {saving}
        self.is_draining = False
        self.before_feedback: Callable[[], Awaitable[object]] | None = None
        self._record_reload(None)
        self._warm(first)

    @classmethod
    async def start(cls, config: Config, observers: Sequence[Observer] = ()) -> PoolManager:
        """
        A pool that serves *config*.

        Args:
            config: from ``config.load``.
            observers: told of every event of every generation.

        Raises:
            ConfigError: it cannot be built as configured.
        """
        emit = emit_to(observers)
        pool_state = await PoolState.create(config, emit)
        return cls(await _open(config, pool_state, observers, 1), emit, observers)

    @property
    def app(self) -> App:
        """The pool that serves now."""
        return self._current.app

    @property
    def config(self) -> Config:
        """What it was built from."""
        return self._current.app.config

    @property
    def generation(self) -> int:
        """Its number: 1 for the first, one more with every swap."""
        return self._current.number

    @property
    def in_flight(self) -> int:
        """Requests being answered, those of older generations included."""
        return sum(len(generation.requests) for generation in self._generations)

    def running(self) -> list[RunningRequest]:
        """The requests in flight, the oldest first."""
        requests = (request for generation in self._generations for request in generation.requests.values())
        return sorted((request.running for request in requests), key=lambda running: running.number)

    async def infer(self, query: Query, emit: Emit | None = None) -> Answer:
        """
        Answer *query*; arguments and errors as for ``Orchestrator.infer``.

        Raises:
            Stopping: the server stops, or stopped before the answer was there.
            Cancelled: ``cancel`` ended it.
        """
        return await self._current.infer(self._running(query), emit)

    async def embed(self, query: Query) -> Answer:
        """The vectors of ``embedding.embedding_query``, as *json* of the answer; raises what ``infer`` raises."""
        return await self._current.embed(self._running(query))

    def _running(self, query: Query) -> RunningRequest:
        if self.is_draining:
            raise Stopping
        return RunningRequest(next(self._numbers), query, self.app.pool_state.clock.now(), self.generation)

    def cancel(self, number: int, *, by: str = "the operator") -> bool:
        """End the request *number*, which raises Cancelled; whether it was still in flight."""
        requests = [g.requests[number] for g in self._generations if number in g.requests]
        for request in requests:
            request.abort(Cancelled(by))
        return bool(requests)

    async def plan(self, query: Query) -> Plan:
        """What ``infer`` would do for *query*. Asks no model; raises InvalidRequest."""
        return await self.app.orchestrator.plan(query)

    async def capabilities(self, task: str, providers: Sequence[str] = ()) -> frozenset[str]:
        """As ``Orchestrator.capabilities``; raises InvalidRequest."""
        return await self.app.orchestrator.capabilities(task, providers)

    async def tasks(self) -> list[Task]:
        """Every task, in alphabetical order."""
        return await self.app.task_registry.all_tasks()

    async def feedback(self, request_id: str, tenant_id: str, *, good: bool) -> bool:
        """Take a person's word on an answer, as ``App.feedback`` does; raises InvalidRequest."""
        if self.before_feedback is not None:
            await self.before_feedback()
        return await self.app.feedback(request_id, tenant_id, good=good)

    async def states(self) -> list[ProviderState]:
        """What each provider's backend says of itself now, in the file's order."""
        return await self.app.states()

    async def health(self) -> Health:
        """
        How the backends are, at most ``HEALTH_TTL`` seconds ago; takes ``health.TIMEOUT`` seconds at most.

        All who ask at the same time share one check.
        """
        fresh = self._fresh_health()
        return await asyncio.shield(self._checking()) if fresh is None else fresh

    def last_health(self) -> Health:
        """How the backends were when somebody looked last, without waiting; a check begins if that is long ago."""
        fresh = self._fresh_health()
        if fresh is not None:
            return fresh
        self._checking()
        return Health(ready=False, states=()) if self._last_health is None else self._last_health[2]

    def _fresh_health(self) -> Health | None:
        if self._last_health is None:
            return None
        at, generation, health = self._last_health
        is_fresh = generation is self._current and asyncio.get_running_loop().time() - at < HEALTH_TTL
        return health if is_fresh else None

    def _checking(self) -> asyncio.Task[Health]:
        """The check that runs now; one is begun where none does."""
        generation, running = self._current, self._health_check
        if running is not None and not running[1].done() and running[0] is generation:
            return running[1]

        async def check() -> Health:
            health = await generation.app.health()
            self._last_health = (asyncio.get_running_loop().time(), generation, health)
            return health

        task = asyncio.create_task(check(), name="check the backends")
        self._health_check = (generation, task)
        self._background.add(task)
        task.add_done_callback(self._background_done)
        return task

    async def swap(self, config: Config) -> None:
        """
        Serve *config* from now on; the old pool ends its requests and is closed behind the scenes.

        Raises:
            ConfigError: it cannot be built as configured; the old pool goes on, and ``last_reload`` says why.
        """
        async with self._swapping:
            old, pool_state = self._current, await self.app.pool_state.carry_over(self.config, config)
            try:
                new = await _open(config, pool_state, self._observers, old.number + 1)
            except LlmPoolError as error:
                await pool_state.aclose(still_used_by=self._open_states())
                self._record_reload(error)
                raise
            self._generations.add(new)
            self._current = new
            pool_state.share()
            self._record_reload(None)
            self._warm(new)
            self._start_background(self._retire(old))

    def record_refused(self, error: ConfigError) -> None:
        """Note that a new configuration could not be read; the pool goes on as it is."""
        self._record_reload(error)

    async def drain(self, grace: float) -> bool:
        """
        Take no new work, and give the requests in flight *grace* seconds; what is left then raises Stopping.

        Returns:
            Whether every request ended by itself.
        """
        self.is_draining = True
        ended = await asyncio.gather(*(g.drained_within(grace, Stopping()) for g in list(self._generations)))
        return all(ended)

    async def aclose(self) -> None:
        """Cut what is in flight, and close every generation."""
        await self.drain(0.0)
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        for generation in list(self._generations):
            await self._close(generation)

    async def _retire(self, old: _Generation) -> None:
        await old.drained_within(RETIRE_TIMEOUT, Cancelled("a new configuration"))
        with suppress(
            TimeoutError
        ):  # a backend stops loading when its asker leaves, and the new pool wants the model too
            async with asyncio.timeout(RETIRE_TIMEOUT):
                await old.app.machines.loads_ended()
        await self._close(old)

    def _warm(self, generation: _Generation) -> None:
        """Load what *generation* will ask, while it serves already."""
        if generation.app.config.server.warm:
            self._start_background(generation.app.load_ahead())

    async def _close(self, generation: _Generation) -> None:
        self._generations.discard(generation)
        await generation.stack.aclose()
        await generation.app.pool_state.aclose(still_used_by=self._open_states())

    def _open_states(self) -> list[PoolState]:
        return [generation.app.pool_state for generation in self._generations]

    async def _save_learned(self) -> None:
        while True:
            await asyncio.sleep(SAVE_INTERVAL)
            if self.app.learning is not None:
                await self.app.learning.flush()

    def _start_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background_done)

    def _background_done(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a bug in llm-pool, in %s", task.get_name(), exc_info=error)

    def _record_reload(self, error: LlmPoolError | None) -> None:
        now = self.app.pool_state.clock.wall()
        self.last_reload = ReloadResult(now, error is None, error, self.generation)
        if error is None:
            self.loaded_at = now
        self._emit(Reloaded(self.generation, error))

    def __repr__(self) -> str:
        draining = sum(len(g.requests) for g in self._generations if g is not self._current)
        return (
            f"<PoolManager [generation {self.generation} | {self.in_flight - draining} in flight, {draining} draining]>"
        )


class _CancellableRequest:
    """A running request, and the way to end it."""

    def __init__(self, running: RunningRequest) -> None:
        self.running, self.limit = running, TimeLimit()
        self.reason: LlmPoolError | None = None

    def abort(self, reason: LlmPoolError) -> None:
        if self.reason is None:
            self.reason = reason
            self.limit.move(asyncio.get_running_loop().time())


class _Generation:
    """One pool, the requests in it, and *stack*, which closes it."""

    def __init__(self, app: App, stack: AsyncExitStack, number: int) -> None:
        self.app, self.stack, self.number = app, stack, number
        self.requests: dict[int, _CancellableRequest] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    async def infer(self, running: RunningRequest, emit: Emit | None) -> Answer:
        return await self._answer(running, self.app.orchestrator.infer(running.query, emit))

    async def embed(self, running: RunningRequest) -> Answer:
        return await self._answer(running, self.app.embedding.infer(running.query))

    async def _answer(self, running: RunningRequest, answering: Coroutine[None, None, Answer]) -> Answer:
        request = self.requests[running.number] = _CancellableRequest(running)
        self._empty.clear()
        try:
            with request.limit:
                return await answering
        except TimeoutError:
            if request.reason is None:
                raise
            raise request.reason from None
        finally:
            del self.requests[running.number]
            if not self.requests:
                self._empty.set()

    async def drained_within(self, span: float, reason: LlmPoolError) -> bool:
        """Wait *span* seconds for the requests to end, then cut the others; whether there were no others."""
        try:
            async with asyncio.timeout(span):
                await self._empty.wait()
        except TimeoutError:
            for request in self.requests.values():
                request.abort(reason)
            await self._empty.wait()
            return False
        return True


async def _open(config: Config, pool_state: PoolState, observers: Sequence[Observer], number: int) -> _Generation:
    """A generation, with every task's prompt file read: a mistake in one shows now."""
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(open_app(config, observers=observers, pool_state=pool_state))
        _check_models(config, [task.name for task in await app.task_registry.all_tasks()])
        return _Generation(app, stack.pop_all(), number)


def _check_models(config: Config, tasks: Sequence[str]) -> None:
    """Raise ConfigError where a name of ``[models]`` stands for a task that there is not."""
    for alias, model in config.models.items():
        place, _, task = model.rpartition("/")
        if place == f"{POOL}/task" and task not in tasks:
            got, want = f"task '{task}', which there is not", "a task's name"
            hint = nearest(task, tasks) or f"tasks are {', '.join(tasks)}"
            raise ConfigError(path=config.path, key=f"models.{alias}", got=got, want=want, hint=hint)

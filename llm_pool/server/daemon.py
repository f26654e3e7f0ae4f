"""
The daemon put together: one pool manager, and every server that asks it.

::

    open_daemon(config, components) ─▶ PoolManager ◀── HTTP (LimitedHttpProtocol ─▶ GatewayMiddleware ─▶ routes)
                                                   ◀── further servers, such as gRPC
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from operator import itemgetter
from typing import TYPE_CHECKING

import msgspec
import uvicorn

from llm_pool.core.errors import ConfigError
from llm_pool.engine import PoolManager
from llm_pool.server.accepting import Acceptor
from llm_pool.server.http import create_app
from llm_pool.server.middleware import AllowAll
from llm_pool.server.request_limits import LimitedHttpProtocol
from llm_pool.server.sockets import address_of, bind_socket

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from llm_pool.config import Config
    from llm_pool.core.interfaces import Observer
    from llm_pool.server.http import Extension
    from llm_pool.server.middleware import AccessControl, Application

    Server = Callable[[PoolManager, AccessControl], AbstractAsyncContextManager[str]]
    """Serves while its block runs, and gives the URL it listens at."""

KEEP_ALIVE = 75.0
"""Seconds a kept connection may be silent: longer than the proxies in front of us, so that they close first."""
SHUTDOWN_GRACE = 2.0
"""Seconds an answer that is ready may take to be sent when the server stops."""


class Components(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a daemon is made of beside the pool.

    Attributes:
        access: decides who may ask for what.
        observers: told of every event.
        extensions: add their routes to the HTTP application.
        servers: listen beside HTTP.
        listener: the socket that HTTP listens on, where somebody else has bound it; None binds ``server.http_addr``.
        tls: the certificate of the HTTP server, and whether clients have to show theirs; None is plain HTTP.
        prepare_hooks: each readies something for a new configuration, or raises ConfigError, and gives what makes
            it count once the pool serves that configuration.
        lifespans: each is entered before the pool starts, and left after it ended.
        check: raises ConfigError where a new configuration may not be served at the addresses that listen.
    """

    access: AccessControl = msgspec.field(default_factory=AllowAll)
    observers: Sequence[Observer] = ()
    extensions: Sequence[Extension] = ()
    servers: Sequence[Server] = ()
    listener: socket.socket | None = None
    tls: ssl.SSLContext | None = None
    prepare_hooks: Sequence[Callable[[Config], Awaitable[Callable[[], None]]]] = ()
    lifespans: Sequence[Callable[[], AbstractAsyncContextManager[object]]] = ()
    check: Callable[[Config, Sequence[str]], None] = lambda _config, _urls: None


class Daemon(msgspec.Struct, frozen=True):
    """A daemon that listens at *urls*."""

    manager: PoolManager
    urls: tuple[str, ...]
    components: Components

    async def apply(self, config: Config) -> None:
        """Serve *config* from now on, pool and parts together; raises ConfigError, and then nothing has changed."""
        try:
            self.components.check(config, self.urls)
            ready = [await prepare(config) for prepare in self.components.prepare_hooks]
        except ConfigError as error:
            self.manager.record_refused(error)
            raise
        await self.manager.swap(config)
        for commit in ready:
            commit()


@asynccontextmanager
async def open_daemon(config: Config, components: Components) -> AsyncIterator[Daemon]:
    """
    A daemon for *config*, listening while the block runs. Drain its pool first to leave politely.

    Raises:
        ConfigError: it cannot be built as configured, or an address is taken.
    """
    async with AsyncExitStack() as stack:
        servers = list(components.servers)
        if config.server.enable_http:  # bound before anything says that it serves
            listener = components.listener or bind_socket(config.server.http_addr, "server.http_addr")
            stack.callback(listener.close)
            servers.insert(0, http_server(listener, components.extensions, components.tls))
        for lifespans in components.lifespans:
            await stack.enter_async_context(lifespans())
        manager = await PoolManager.start(config, components.observers)
        stack.push_async_callback(manager.aclose)
        urls = [await stack.enter_async_context(server(manager, components.access)) for server in servers]
        try:
            yield Daemon(manager, tuple(urls), components)
        finally:
            await manager.drain(0.0)


def http_server(
    listener: socket.socket, extensions: Sequence[Extension] = (), tls: ssl.SSLContext | None = None
) -> Server:
    """HTTP on *listener*; with *tls*, HTTPS."""

    @asynccontextmanager
    async def serve(manager: PoolManager, access: AccessControl) -> AsyncIterator[str]:
        async with _serving(create_app(manager, access, extensions), listener, tls):
            yield f"http{'s' if tls else ''}://{address_of(listener)}"

    return serve


@asynccontextmanager
async def _serving(app: Application, listener: socket.socket, tls: ssl.SSLContext | None) -> AsyncIterator[None]:
    config = uvicorn.Config(
        app,
        http=LimitedHttpProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(KEEP_ALIVE),
        backlog=1024,
    )
    config.load()
    config.ssl = tls
    server = _Server(config)
    serving = asyncio.create_task(server.serve([listener]), name="http")
    await server.ready.wait()
    try:
        yield
    finally:
        server.stop()
        await serving


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: when to stop is not for it to say. *ready* is set once it accepts."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready, self._stopping = asyncio.Event(), asyncio.Event()
        self._accepting: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept: by ``Acceptor``, as neither asyncio nor uvloop leaves a request any file descriptor."""
        for listener in sockets or ():
            listener.setblocking(False)
            acceptor = Acceptor(listener, self._protocol, self.config.ssl, self._close_idle)
            self._accepting.append(asyncio.create_task(acceptor.run(), name="accept"))
        self.started = True
        self.ready.set()

    def _protocol(self) -> LimitedHttpProtocol:
        return LimitedHttpProtocol(self.config, self.server_state, app_state={})

    def _close_idle(self) -> int:
        """Close the half of the idle connections that has been silent for longest; how many those are."""
        idle = [
            (since, connection)
            for connection in self.server_state.connections
            if isinstance(connection, LimitedHttpProtocol) and (since := connection.idle_since) is not None
        ]
        longest = sorted(idle, key=itemgetter(0))[: (len(idle) + 1) // 2]
        for _, connection in longest:
            connection.transport.abort()
        return len(longest)

    async def main_loop(self) -> None:
        """Write the date anew every second, as uvicorn does, until it is time to leave."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close what is idle at once, and what still speaks after ``SHUTDOWN_GRACE`` seconds."""
        for accepting in self._accepting:
            accepting.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        for bound_socket in sockets or []:
            bound_socket.close()
        state, until = self.server_state, asyncio.get_running_loop().time() + SHUTDOWN_GRACE
        for connection in list(state.connections):
            connection.shutdown()
        while (state.connections or state.tasks) and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # uvicorn has no event for it, and naps twenty times as long
        for task in list(state.tasks):
            task.cancel()
        for connection in list(state.connections):
            connection.transport.abort()

    def stop(self) -> None:
        """Accept no more, and end."""
        self.should_exit = True
        self._stopping.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

"""``llm-pool serve``: the pool as a daemon, over HTTP and gRPC."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import msgspec
from typer import Option

from llm_pool import __version__
from llm_pool.cli.command import App, Context
from llm_pool.cli.console import escaped
from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.values import time_span

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from llm_pool.cli.console import Console
    from llm_pool.config import Config
    from llm_pool.config.locations import ConfigLocation
    from llm_pool.server.daemon import Daemon

_EXAMPLES = """\
llm-pool serve
llm-pool serve --http-addr 127.0.0.1:0      # any free port; the first lines say which
llm-pool serve --config /etc/llm-pool.toml --grace 30s"""
_TRY = """curl -s {url}/v1/infer -d '{{"task":"expand_queries","prompt":"cinematic lounge videos"}}'"""


class ServeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """
    What ``serve`` was asked to do.

    Attributes:
        place: the configuration.
        read: reads it, with what the command line changes of it.
        grace: seconds that requests in flight get at the end.
        reload: take up a changed configuration without being told to.
    """

    place: ConfigLocation
    read: Callable[[], Config]
    grace: float
    reload: bool


app = App()


@app.command("serve", epilog=_EXAMPLES)
def _serve(
    ctx: Context,
    http_addr: Annotated[
        str | None, Option("--http-addr", metavar="ADDR", help="where HTTP listens, instead of server.http_addr")
    ] = None,
    grpc_addr: Annotated[
        str | None, Option("--grpc-addr", metavar="ADDR", help="where gRPC listens, instead of server.grpc_addr")
    ] = None,
    grace: Annotated[
        float,
        Option(
            "--grace",
            metavar="TIME",
            help="how long requests in flight may take at the end",
            parser=time_span,
            show_default="10s",
        ),
    ] = 10.0,
    no_reload: Annotated[bool, Option("--no-reload", help="reload a changed configuration on SIGHUP only")] = False,
) -> int:
    """Serve the pool over HTTP and gRPC until SIGTERM or Ctrl-C; SIGHUP reads the configuration again."""
    from llm_pool.config import find
    from llm_pool.server.event_loop import loop_factory

    console, json = ctx.obj.console, ctx.obj.json
    place = find(ctx.obj.config)
    options = ServeOptions(
        place=place,
        read=lambda: _read(place, console, http_addr=http_addr, grpc_addr=grpc_addr, json=json),
        grace=grace,
        reload=not no_reload,
    )
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(serve(options, console))


async def serve(options: ServeOptions, console: Console) -> int:
    """Listen until a signal says stop; a second one says at once. Raises ConfigError where it cannot begin."""
    from llm_pool.server.components import build_components
    from llm_pool.server.daemon import open_daemon
    from llm_pool.server.garbage import settle
    from llm_pool.server.preloading import preload

    stops = _StopSignals()
    config = await asyncio.to_thread(options.read)  # it may ask servers, on a loop of its own
    await asyncio.to_thread(preload)
    async with open_daemon(config, build_components(config)) as daemon:
        async with _reloading(daemon, options):
            settle()
            _announce(daemon, options, console)
            await stops.first.wait()
        console.say(f"stopping within {options.grace:g} s; once more stops at once")
        draining = asyncio.create_task(daemon.manager.drain(options.grace))
        forcing = asyncio.create_task(stops.second.wait())
        await asyncio.wait({draining, forcing}, return_when=asyncio.FIRST_COMPLETED)
        forcing.cancel()
        await daemon.manager.drain(0.0)
        all_ended = await draining
    if not all_ended:  # said once the log lines of those are written
        console.say("some requests were cut")
    console.say("stopped")
    return ExitCode.OK


class _StopSignals:
    """The signals that say stop: *first* is set by the first, *second* by the next."""

    def __init__(self) -> None:
        self.first, self.second = asyncio.Event(), asyncio.Event()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)

    def _stop(self) -> None:
        (self.second if self.first.is_set() else self.first).set()


@asynccontextmanager
async def _reloading(daemon: Daemon, options: ServeOptions) -> AsyncIterator[None]:
    """Take up changes of the configuration while the block runs; without *options.reload* only on SIGHUP."""
    from llm_pool.engine import Reloader, ended_unexpectedly

    def ended(watcher: asyncio.Task[object]) -> None:
        if not watcher.cancelled() and (error := watcher.exception()) is not None:
            failure = ended_unexpectedly(daemon.manager.config, "watching its files", error)
            daemon.manager.record_refused(failure)

    reloader = Reloader(daemon.manager.config, options.read, daemon.apply, daemon.manager.record_refused)
    tasks = set[asyncio.Task[object]]()
    if options.reload:
        watcher: asyncio.Task[object] = asyncio.create_task(reloader.watch(), name="watch the configuration")
        watcher.add_done_callback(ended)
        tasks.add(watcher)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, lambda: tasks.add(asyncio.create_task(reloader.reload())))
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _read(
    place: ConfigLocation, console: Console, *, http_addr: str | None, grpc_addr: str | None, json: bool
) -> Config:
    """The configuration, with what the command line says; raises ConfigError where it cannot be served."""
    from llm_pool.config import LogFormat
    from llm_pool.engine import effective_config
    from llm_pool.server.components import check_addresses

    config, note = effective_config(place)
    if note:
        console.say(f"note: {escaped(note)}")
    said = {name: addr for name, addr in (("http_addr", http_addr), ("grpc_addr", grpc_addr)) if addr is not None}
    if said:
        server = msgspec.structs.replace(config.server, listen_addr=None, **said)
        config = msgspec.structs.replace(config, server=server)
    if json:
        telemetry = msgspec.structs.replace(config.telemetry, log_format=LogFormat.JSON)
        config = msgspec.structs.replace(config, telemetry=telemetry)
    check_addresses(config)
    return config


def _announce(daemon: Daemon, options: ServeOptions, console: Console) -> None:
    """Say where the daemon listens, and what to type next."""
    config = daemon.manager.config
    console.say(f"llm-pool {__version__} serves {config.path} ({options.place.why}), pid {os.getpid()}")
    for url in daemon.urls:
        console.say(f"  {url}")
    needs_proof = config.tenancy or config.security.jwt or config.server.client_ca
    console.say(f"  {'clients must prove who they are' if needs_proof else 'no authentication: for this machine only'}")
    http = next((url for url in daemon.urls if url.startswith("http")), None)
    if http is not None and not needs_proof:
        console.say(f"  try  {_TRY.format(url=http)}")

"""``llm-pool serve``: the pool as a daemon, over HTTP and gRPC."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
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
    from collections.abc import AsyncIterator, Callable, Sequence

    from llm_pool.cli.console import Console
    from llm_pool.config import Config
    from llm_pool.config.locations import ConfigLocation
    from llm_pool.server.daemon import Daemon
    from llm_pool.server.worker import Worker

_EXAMPLES = """\
llm-pool serve
llm-pool serve --http-addr 127.0.0.1:0      # any free port; the first lines say which
llm-pool serve --config /etc/llm-pool.toml --grace 30s"""
_STOPPING = "stopping within {:g} s; once more stops at once"
_TRY = """curl -s {url}/v1/infer -d '{{"task":"expand_queries","prompt":"cinematic lounge videos"}}'"""


class ServeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """
    What ``serve`` was asked to do.

    Attributes:
        place: the configuration.
        read: reads it, with what the command line changes of it.
        grace: seconds that requests in flight get at the end.
        reload: take up a changed configuration without being told to.
        worker: this process is one of several; None: it is the only one, or starts the others.
    """

    place: ConfigLocation
    read: Callable[[], Config]
    grace: float
    reload: bool
    worker: Worker | None = None


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
    workers: Annotated[
        int,
        Option(
            "--workers",
            metavar="N",
            min=1,
            max=64,
            help="processes that serve together; more than one needs Redis, see docs/daemon.md",
        ),
    ] = 1,
    no_reload: Annotated[bool, Option("--no-reload", help="reload a changed configuration on SIGHUP only")] = False,
) -> int:
    """Serve the pool over HTTP and gRPC until SIGTERM or Ctrl-C; SIGHUP reads the configuration again."""
    from llm_pool.config import find
    from llm_pool.server.event_loop import loop_factory
    from llm_pool.server.worker import Worker, share_of

    console, json, worker = ctx.obj.console, ctx.obj.json, Worker.of_this_process()
    place = find(ctx.obj.config)

    def read() -> Config:
        config, note = _read(place, http_addr=http_addr, grpc_addr=grpc_addr, json=json)
        if worker is not None:
            return share_of(config, worker)
        if note:
            console.say(f"note: {escaped(note)}")
        return config

    options = ServeOptions(place=place, read=read, grace=grace, reload=not no_reload, worker=worker)
    if worker is None and workers > 1:
        return _supervise(options, workers, console)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(serve(options, console))


async def serve(options: ServeOptions, console: Console) -> int:
    """Listen until a signal says stop; a second one says at once. Raises ConfigError where it cannot begin."""
    from llm_pool.server.components import build_components
    from llm_pool.server.daemon import open_daemon
    from llm_pool.server.garbage import settle
    from llm_pool.server.preloading import preload

    stops, worker = _StopSignals(), options.worker
    config = await asyncio.to_thread(options.read)  # it may ask servers, on a loop of its own
    await asyncio.to_thread(preload)
    async with open_daemon(config, build_components(config, worker)) as daemon:
        async with _reloading(daemon, options):
            settle()
            if worker is None:
                _announce(config, daemon.urls, options, console)
            else:
                _report_ready(worker, stops)
            await stops.first.wait()
        if worker is None:
            console.say(_STOPPING.format(options.grace))
        draining = asyncio.create_task(daemon.manager.drain(options.grace))
        forcing = asyncio.create_task(stops.second.wait())
        await asyncio.wait({draining, forcing}, return_when=asyncio.FIRST_COMPLETED)
        forcing.cancel()
        await daemon.manager.drain(0.0)
        all_ended = await draining
    if not all_ended:  # said once the log lines of those are written
        console.say("some requests were cut")
    if worker is None:
        console.say("stopped")
    return ExitCode.OK


def _supervise(options: ServeOptions, workers: int, console: Console) -> int:
    """Have *workers* processes serve until a signal says stop. Raises ConfigError where they cannot."""
    from llm_pool.server.supervisor import Supervisor, worker_command
    from llm_pool.server.worker import check_sharing

    config = options.read()
    check_sharing(config, workers)

    def announce(urls: Sequence[str]) -> None:
        _announce(config, urls, options, console)
        console.say(f"  {workers} workers")

    code = Supervisor(worker_command(), workers, options.grace, console.say).run(config, announce)
    if code == ExitCode.OK:
        console.say("stopped")
    return code


def _report_ready(worker: Worker, stops: _StopSignals) -> None:
    """Tell the supervisor that *worker* serves, and stop when it is gone."""
    from llm_pool.server.supervisor import READY

    lifeline = socket.socket(fileno=worker.lifeline_fd)
    lifeline.setblocking(False)
    lifeline.send(READY)
    loop = asyncio.get_running_loop()

    def gone() -> None:
        loop.remove_reader(lifeline)
        lifeline.close()
        stops.stop()

    loop.add_reader(lifeline, gone)


class _StopSignals:
    """The signals that say stop: *first* is set by the first, *second* by the next."""

    def __init__(self) -> None:
        self.first, self.second = asyncio.Event(), asyncio.Event()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)

    def stop(self) -> None:
        """As a signal does."""
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


def _read(place: ConfigLocation, *, http_addr: str | None, grpc_addr: str | None, json: bool) -> tuple[Config, str]:
    """
    The configuration, with what the command line says, and what a person should know of it.

    Raises:
        ConfigError: it cannot be served.
    """
    from llm_pool.config import LogFormat
    from llm_pool.engine import effective_config
    from llm_pool.server.sockets import check_addresses

    config, note = effective_config(place)
    said = {name: addr for name, addr in (("http_addr", http_addr), ("grpc_addr", grpc_addr)) if addr is not None}
    if said:
        server = msgspec.structs.replace(config.server, listen_addr=None, **said)
        config = msgspec.structs.replace(config, server=server)
    if json:
        telemetry = msgspec.structs.replace(config.telemetry, log_format=LogFormat.JSON)
        config = msgspec.structs.replace(config, telemetry=telemetry)
    check_addresses(config)
    return config, note


def _announce(config: Config, urls: Sequence[str], options: ServeOptions, console: Console) -> None:
    """Say that *config* is served at *urls*, and what to type next."""
    console.say(f"llm-pool {__version__} serves {config.path} ({options.place.why}), pid {os.getpid()}")
    for url in urls:
        console.say(f"  {url}")
    needs_proof = config.tenancy or config.security.jwt or config.server.client_ca
    console.say(f"  {'clients must prove who they are' if needs_proof else 'no authentication: for this machine only'}")
    http = next((url for url in urls if url.startswith("http")), None)
    if http is not None and not needs_proof:
        console.say(f"  try  {_TRY.format(url=http)}")

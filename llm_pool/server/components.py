"""Which parts a daemon has: the one place that knows them all."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from llm_pool.app import emit_to
from llm_pool.clock import SystemClock
from llm_pool.errors import ConfigError
from llm_pool.security.tenants import must_prove
from llm_pool.security.tls import context_for, files_of, grpc_credentials, renewing
from llm_pool.server import ollama, openai
from llm_pool.server.doors import Doors
from llm_pool.server.listening import Parts
from llm_pool.server.observing import Watching

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from llm_pool.config import Config
    from llm_pool.security.tls import Files
    from llm_pool.server.listening import Server

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


def parts_for(config: Config) -> Parts:
    """
    The parts of a daemon for *config*.

    Raises:
        ConfigError: others than this machine could connect, and nobody would be asked who they are; or the
            certificate cannot be used.
    """
    check_addresses(config)
    watching = Watching(config)
    observers = watching.observers
    door = Doors(config, SystemClock(), emit_to(observers))
    observers.append(door)
    files, tls = files_of(config), None
    beside: list[Callable[[], AbstractAsyncContextManager[object]]] = [watching.writing, door.opened]
    if files is not None:
        tls = context_for(files)
        beside.append(partial(renewing, tls, files))
    return Parts(
        door=door,
        observers=observers,
        servers=_servers(config, files),
        faces=(watching.face, openai.add, ollama.add),
        tls=tls,
        preparing=(door.prepare,),
        beside=beside,
    )


def _servers(config: Config, files: Files | None) -> list[Server]:
    """Those that listen beside HTTP."""
    if not config.server.enable_grpc:
        return []
    from llm_pool.server.grpc import grpc_server

    return [grpc_server(config.server.grpc_addr, None if files is None else grpc_credentials(files))]


def check_addresses(config: Config) -> None:
    """Raise ConfigError where strangers could connect, and nobody would ask who they are."""
    server = config.server
    if must_prove(config) or server.client_ca:
        return
    http = ("http_addr", server.http_addr, server.enable_http)
    grpc = ("grpc_addr", server.grpc_addr, server.enable_grpc)
    for key, addr, enabled in (http, grpc):
        if enabled and addr.rpartition(":")[0] not in LOOPBACK:
            raise ConfigError(
                path=None,
                key=f"server.{key}",
                got=f"{addr}, where everybody could come in",
                want="127.0.0.1, or clients that prove who they are",
                hint="llm-pool keys create NAME  makes the first client; docs/security.md says more",
            )

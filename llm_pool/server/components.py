"""Builds the components of a daemon from its configuration: the one place that knows them all."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import ConfigError
from llm_pool.engine import emit_to
from llm_pool.security.tenants import requires_authentication
from llm_pool.security.tls import context_for, grpc_credentials, reload_certificates, tls_files
from llm_pool.server import anthropic, completions, embeddings, ollama, openai, responses
from llm_pool.server.access_control import TenantAccessControl
from llm_pool.server.daemon import Components
from llm_pool.server.monitoring import Monitoring
from llm_pool.server.siblings import Siblings
from llm_pool.server.sockets import LOOPBACK, check_addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from llm_pool.config import Config
    from llm_pool.security.tls import TlsFiles
    from llm_pool.server.daemon import Server
    from llm_pool.server.worker import Worker

APIS = (openai, completions, embeddings, responses, anthropic, ollama)
"""The APIs of others that are served."""


def build_components(config: Config, worker: Worker | None = None) -> Components:
    """
    The parts of a daemon for *config*, or of *worker*, which is one of several.

    Raises:
        ConfigError: others than this machine could connect, and nobody would be asked who they are; or the
            certificate cannot be used.
    """
    check_addresses(config)
    siblings = Siblings(worker)
    monitoring = Monitoring(config, siblings)
    observers = monitoring.observers
    access = TenantAccessControl(config, SystemClock(), emit_to(observers))
    observers.append(access)
    files, tls = tls_files(config), None
    lifespans: list[Callable[[], AbstractAsyncContextManager[object]]] = [monitoring.lifespan, access.opened]
    if files is not None:
        tls = context_for(files)
        lifespans.append(partial(reload_certificates, tls, files))
    return Components(
        access=access,
        observers=observers,
        servers=_servers(config, files, shares=worker is not None),
        extensions=(monitoring.add_routes, *(api.add_routes for api in APIS)),
        listener=None if worker is None or worker.http_fd is None else socket.socket(fileno=worker.http_fd),
        tls=tls,
        prepare_hooks=(access.prepare,),
        lifespans=lifespans,
        check=partial(check_listeners, has_client_ca=config.server.client_ca is not None),
    )


def _servers(config: Config, files: TlsFiles | None, *, shares: bool) -> list[Server]:
    """Those that listen beside HTTP; *shares*: at addresses where other workers do too."""
    if not config.server.enable_grpc:
        return []
    from llm_pool.server.grpc import grpc_server

    credentials = None if files is None else grpc_credentials(files)
    return [grpc_server(config.server.grpc_addr, credentials, shares=shares)]


def check_listeners(config: Config, urls: Sequence[str], *, has_client_ca: bool) -> None:
    """
    Raise ConfigError where *config* asks nobody who they are, but sockets are open beyond this machine.

    Addresses are bound once, at the start, so it is the sockets that are looked at, not what *config* would bind.

    Args:
        config: a new configuration.
        urls: where the daemon listens, ``scheme://host:port``.
        has_client_ca: those sockets let only clients with a certificate in.
    """
    if requires_authentication(config) or has_client_ca:
        return
    for url in urls:
        address = url.partition("://")[2]
        if address.rpartition(":")[0] not in LOOPBACK:
            raise ConfigError(
                path=config.path,
                key="tenancy",
                got=f"nobody to authenticate while the daemon listens at {address}",
                want="clients that prove who they are",
                hint="addresses are bound at the start: restart llm-pool serve to listen elsewhere",
            )

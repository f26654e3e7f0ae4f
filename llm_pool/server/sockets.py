"""Addresses of the daemon: who may reach them; bound where it listens itself, reserved where its workers do."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from llm_pool.core.errors import ConfigError
from llm_pool.security.tenants import requires_authentication

if TYPE_CHECKING:
    from llm_pool.config import Config

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


def bind_socket(addr: str, key: str) -> socket.socket:
    """A socket listening at *addr*, ``host:port`` or ``[host]:port``; raises ConfigError, which names *key*."""
    host, port = _parts(addr)
    try:
        return socket.create_server((host, port), family=_family(host), backlog=1024)
    except (OSError, OverflowError) as error:
        raise address_taken(addr, key, error) from None


def reserve(addr: str, key: str) -> socket.socket:
    """
    A socket that holds *addr* and does not listen: those who say ``SO_REUSEPORT`` may listen there beside it.

    Raises:
        ConfigError: somebody else has the address, also one who would share it.
    """
    with bind_socket(addr, key) as probe:  # alone: it is refused an address that others share already
        port = probe.getsockname()[1]
    host, _ = _parts(addr)
    held = socket.socket(_family(host), socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        held.bind((host, port))
    except OSError as error:
        held.close()
        raise address_taken(addr, key, error) from None
    return held


def address_of(listener: socket.socket) -> str:
    """``host:port`` as it goes into a URL."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address_taken(addr: str, key: str, error: Exception) -> ConfigError:
    """That *addr* cannot be had, by *error* of the system."""
    reason = (getattr(error, "strerror", None) or str(error)).partition(" (")[0].lower()
    return ConfigError(
        path=None,
        key=key,
        got=f"{addr} ({reason})",
        want="an address that is free",
        hint="another llm-pool may be running there; port 0 takes any free port",
    )


def check_addresses(config: Config) -> None:
    """Raise ConfigError where strangers could connect, and nobody would ask who they are."""
    server = config.server
    if requires_authentication(config) or server.client_ca:
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


def _parts(addr: str) -> tuple[str, int]:
    host, _, port = addr.rpartition(":")
    return host.strip("[]"), int(port)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET

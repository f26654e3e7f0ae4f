"""Which parts a daemon has: the one place that knows them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.errors import ConfigError
from llm_pool.server.listening import Parts

if TYPE_CHECKING:
    from llm_pool.config import Config

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


def parts_for(config: Config) -> Parts:
    """
    The parts of a daemon for *config*.

    Raises:
        ConfigError: others than this machine could connect, and nobody would be asked who they are.
    """
    check_addresses(config)
    return Parts()


def check_addresses(config: Config) -> None:
    """Raise ConfigError where strangers could connect, and nobody would ask who they are."""
    server = config.server
    if config.tenancy or config.security.jwt or server.client_ca:
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
                hint="llm-pool keys create NAME  makes the first client; docs/daemon.md says more",
            )

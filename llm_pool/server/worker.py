"""
One of several processes that serve on the same addresses: who it is, and what it may have.

What must be one for all is in Redis, or the daemon does not start. So are the slots of each machine, unless there are
enough for each worker to have some of its own, and nobody else asks that machine: then they are divided, which costs a
request nothing. Either way all workers together ask a machine no more than one process would.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

import msgspec

from llm_pool.config import CacheDriver
from llm_pool.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from llm_pool.config import Config, GroupSettings, ProviderSettings

MAX_WORKERS = 64
VARIABLE = "LLM_POOL_WORKER"
"""How a worker hears who it is."""


class Worker(msgspec.Struct, frozen=True):
    """
    A worker, as its supervisor started it.

    Attributes:
        index: from 0 to *count* - 1; who takes the place of a dead one has its index.
        http_fd: the socket that HTTP listens on, which all workers accept from; None where HTTP is not served.
        http_addr: its address; *grpc_addr*: where gRPC listens, beside the other workers.
        lifeline_fd: a socket to the supervisor: it hears there that the worker is ready, and its end is the worker's.
        folder: where the workers find each other.
    """

    index: int
    count: int
    http_fd: int | None
    http_addr: str
    grpc_addr: str
    lifeline_fd: int
    folder: str

    @classmethod
    def of_this_process(cls, environment: MutableMapping[str, str] = os.environ) -> Self | None:
        """Who this process is; None where it is no worker. Processes that it starts are none."""
        text = environment.pop(VARIABLE, None)
        return None if text is None else msgspec.json.decode(text, type=cls)

    def as_text(self) -> str:
        """For the environment."""
        return msgspec.json.encode(self).decode()


def check_sharing(config: Config, count: int) -> None:
    """
    Check that *count* processes may serve *config* together.

    Raises:
        ConfigError: something must be one for all, and would not be.
    """
    cache, security = config.cache, config.security
    if cache.enabled and cache.driver is CacheDriver.MEMORY:
        raise _refused(config, "cache.driver", '"memory", which each worker would have for itself', '"redis"', count)
    if config.shared_redis is None:
        raise _refused(config, "security.redis_url", "nothing", "the Redis server that knows request ids", count)
    if security.redis_url is None and (config.tenancy or security.jwt):
        raise _refused(config, "security.redis_url", "nothing", "the Redis server that counts nonces and rates", count)
    for machine in dict.fromkeys(provider.machine for provider in config.active_providers):
        group = config.group(machine)
        if group.shared is False and (group.slots or 1) < count:
            got = f"false, with {group.slots or 'nothing'} for its slots"
            raise _refused(config, f'groups."{machine}".shared', got, f"true, or {count} slots to be divided", count)


def share_of(config: Config, worker: Worker) -> Config:
    """
    *config* as *worker* serves it: at the addresses of all, with the slots of each machine shared or divided.

    Raises:
        ConfigError: as ``check_sharing``.
    """
    check_sharing(config, worker.count)
    machines = {provider.machine: provider for provider in config.active_providers}
    groups = config.groups | {machine: _group(config, provider, worker) for machine, provider in machines.items()}
    server = msgspec.structs.replace(
        config.server, http_addr=worker.http_addr, grpc_addr=worker.grpc_addr, listen_addr=None
    )
    return msgspec.structs.replace(config, groups=groups, server=server)


def _group(config: Config, provider: ProviderSettings, worker: Worker) -> GroupSettings:
    """The group of *provider*, with a part of its slots; with all of them where Redis counts them for all."""
    from llm_pool.engine import is_used_by_others

    group = config.group(provider.machine)
    if is_used_by_others(provider, config) or group.slots is None or group.slots < worker.count:
        return msgspec.structs.replace(group, shared=True)
    slots = group.slots // worker.count + (worker.index < group.slots % worker.count)
    return msgspec.structs.replace(group, slots=slots, shared=False)


def _refused(config: Config, key: str, got: str, want: str, count: int) -> ConfigError:
    hint = f"{count} workers must share it; --workers 1 needs none of it"
    return ConfigError(path=config.path, key=key, got=got, want=want, hint=hint)

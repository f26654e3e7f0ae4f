"""The Redis server that several processes share for nonces and rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.core.errors import ConfigError

if TYPE_CHECKING:
    from redis.asyncio import Redis

REDIS_TIMEOUT = 0.5
"""Seconds to reach it, and for its answer: a request waits for it."""


def redis_client(url: str) -> Redis:
    """
    A client; it connects when it is used.

    Raises:
        ConfigError: *url* is no such address, or the package ``redis`` is not installed.
    """
    try:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError:
        raise ConfigError(
            path=None,
            key="security.redis_url",
            got="an address",
            want="the redis package with it",
            hint="pip install 'llm-pool[redis]'",
        ) from None
    try:
        return Redis.from_url(
            url,
            socket_timeout=REDIS_TIMEOUT,
            socket_connect_timeout=REDIS_TIMEOUT,
            driver_info=None,  # to tell who we are, redis-py would look its version up on disk, at each connection
            retry=Retry(NoBackoff(), 1),  # once, for a kept connection that a restarted server has closed
        )
    except ValueError:  # its message would quote the address, and a password in it
        raise ConfigError(
            path=None, key="security.redis_url", got="no such address", want='"redis://host:port/0"'
        ) from None

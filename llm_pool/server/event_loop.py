"""The event loop of the daemon."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from llm_pool.core.threads import in_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Callable


class PatientLoop(asyncio.SelectorEventLoop):
    """
    asyncio's loop, looking names up in threads that nobody has to wait for.

    For libraries that resolve by themselves, such as redis-py: with a resolver that hangs, asyncio's own lookups take
    all threads of ``asyncio.to_thread``, and are joined before the process may end. uvloop keeps them apart already.
    """

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002  # the name that asyncio gives it
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """As everywhere."""
        return await in_daemon_thread(
            lambda: socket.getaddrinfo(host, port, family, type, proto, flags), f"look up {host!r}"
        )


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """The loop of uvloop where it is installed: it takes a third of the time for the same sockets."""
    try:
        import uvloop
    except ImportError:
        return PatientLoop
    return uvloop.new_event_loop

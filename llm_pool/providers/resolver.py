"""
Names to addresses, within a time limit.

``getaddrinfo`` cannot be interrupted: a resolver that hangs holds its thread for as long as the system likes, often
30 seconds. Its threads are daemons (``core.threads``), so that neither an asker nor the end of the process waits.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from llm_pool.core.threads import in_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

RESOLVE_TIMEOUT = 2.0
"""
Seconds a lookup may take, from its first asker on: who comes later to one that hangs is told at once.

A cache answers within milliseconds, a recursive resolver that has to ask the world within a second or so.
"""


class Address(msgspec.Struct, frozen=True):
    """Where a socket of *family* connects to."""

    family: int
    sockaddr: tuple[str | int | bytes, ...]


class _Lookup(msgspec.Struct, frozen=True, eq=False):
    found: asyncio.Future[list[Address]]
    until: float


class Resolver:
    """Looks names up; equal ones together, so that a name that hangs takes one thread however many ask for it."""

    def __init__(self, timeout: float = RESOLVE_TIMEOUT) -> None:
        self._timeout = timeout
        self._lookups: dict[tuple[str, int], _Lookup] = {}

    async def resolve(self, host: str, port: int) -> list[Address]:
        """
        The addresses of *host*, in the order to try them.

        May be cancelled at any time: the lookup goes on for who else asks for the name.

        Raises:
            socket.gaierror: it has none, or the resolver said nothing within the time limit (EAI_AGAIN).
            BlockingIOError: too many lookups hang already.
        """
        literal = _literal(host, port)
        if literal is not None:
            return [literal]
        lookup = self._lookups.get((host, port)) or self._begin(host, port)
        try:
            async with asyncio.timeout_at(lookup.until):
                return await asyncio.shield(lookup.found)
        except TimeoutError:
            reason = f"the resolver did not answer within {self._timeout:g} s"
            raise socket.gaierror(socket.EAI_AGAIN, reason) from None

    def _begin(self, host: str, port: int) -> _Lookup:
        found = in_daemon_thread(lambda: _look_up(host, port), f"look up {host}")
        lookup = _Lookup(found, asyncio.get_running_loop().time() + self._timeout)
        self._lookups[host, port] = lookup
        found.add_done_callback(lambda _: self._lookups.pop((host, port), None))
        return lookup


def alternating(addresses: Sequence[Address]) -> list[Address]:
    """*addresses* with the families in turn, beginning with the system's first choice. Source: RFC 8305, section 4."""
    families = dict.fromkeys(address.family for address in addresses)
    queues = [[address for address in addresses if address.family == family] for family in families]
    longest = max(map(len, queues), default=0)
    return [queue[place] for place in range(longest) for queue in queues if place < len(queue)]


def _look_up(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # a label that is empty or too long
        raise socket.gaierror(socket.EAI_NONAME, "no name that can be looked up") from None
    return alternating([Address(family, sockaddr) for family, _, _, _, sockaddr in found])


def _literal(host: str, port: int) -> Address | None:
    """*host* if it is an address already; nobody needs to be asked for it."""
    for family, rest in ((socket.AF_INET, ()), (socket.AF_INET6, (0, 0))):
        with suppress(OSError, ValueError):
            socket.inet_pton(family, host)
            return Address(family, (host, port, *rest))
    return None

"""
The first of several addresses that can be reached: Happy Eyeballs, version 2.

::

    address 1 ──────────────────────────▶ (a black hole: nothing comes back)
    address 2     250 ms later ──▶ open   wins; the other attempt is given up
    address 3     never tried

An attempt that fails makes the next one begin at once. Our own, because in CPython 3.11 those of asyncio, cancelled at
a bad moment, leave the winner's socket open, and uvloop has none.

Source: RFC 8305, section 5.
"""

from __future__ import annotations

import asyncio
import math
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.providers.resolver import Address

ATTEMPT_DELAY = 0.25
"""Seconds that an address has before the next one is tried as well. Source: RFC 8305, section 8."""


async def open_socket(addresses: Sequence[Address], *, delay: float = ATTEMPT_DELAY) -> socket.socket:
    """
    A socket, not blocking, connected to the first of *addresses* that can be reached.

    Cancelled, or with one winner, it leaves no other socket open.

    Args:
        addresses: in the order to try them, at least one.
        delay: seconds between the beginnings of two attempts.

    Raises:
        OSError: none can be reached; the first error there was.
    """
    attempts: list[asyncio.Task[socket.socket]] = []
    winner: asyncio.Task[socket.socket] | None = None
    try:
        for address in addresses:
            attempts.append(asyncio.create_task(_connect(address)))
            span = delay if len(attempts) < len(addresses) else math.inf
            winner = await _first_open(attempts, span)
            if winner is not None:
                return winner.result()
        raise _first_error(attempts)
    finally:
        for attempt in attempts:
            if attempt is not winner:
                attempt.cancel()
                attempt.add_done_callback(_close)


async def _first_open(
    attempts: Sequence[asyncio.Task[socket.socket]], span: float
) -> asyncio.Task[socket.socket] | None:
    """
    The attempt that got through; None once *span* seconds have passed, or the latest attempt has failed before.

    With an endless *span* it waits for all of them.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + span
    while True:
        running = [attempt for attempt in attempts if not attempt.done()]
        opened = (attempt for attempt in attempts if attempt.done() and attempt.exception() is None)
        if (winner := next(opened, None)) is not None:
            return winner
        left = until - loop.time()
        if not running or left <= 0 or (attempts[-1].done() and span < math.inf):
            return None
        await asyncio.wait(running, timeout=None if left == math.inf else left, return_when=asyncio.FIRST_COMPLETED)


async def _connect(address: Address) -> socket.socket:
    connected = socket.socket(
        address.family, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )  # asyncio looks at it for TCP_NODELAY
    try:
        connected.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connected, address.sockaddr)
    except BaseException:
        connected.close()
        raise
    return connected


def _first_error(attempts: Sequence[asyncio.Task[socket.socket]]) -> BaseException:
    return next(error for attempt in attempts if (error := attempt.exception()) is not None)


def _close(attempt: asyncio.Task[socket.socket]) -> None:
    """Close the socket of an attempt that got through too late."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()

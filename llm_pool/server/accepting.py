"""
Taking connections in, also when file descriptors run out.

Of a process that has none left, ``accept`` fails with EMFILE while the connection stays in the kernel's queue: tried
again at once, that is a busy loop. So accepting pauses, and room is made: connections that are kept although nothing is
asked over them are closed, the longest silent first. A client that loses one of those opens another (RFC 9112, 9.3.1).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from llm_pool.core.shortage import lacking

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

ACCEPT_PAUSE = 0.1
"""Seconds until ``accept`` is tried again after it failed."""
TLS_HANDSHAKE_TIMEOUT = 10.0
"""Seconds a client may take to agree on TLS."""
REPORT_EVERY = 10.0
"""Seconds between two log lines that say that descriptors have run out."""

_log = logging.getLogger("llm_pool.server")


class Acceptor:
    """
    Accepts connections while ``run`` runs.

    Args:
        listener: a listening socket, not blocking.
        make_protocol: a protocol for each connection.
        tls: None is plain TCP.
        make_room: closes connections that can be done without, and says how many.
    """

    def __init__(
        self,
        listener: socket.socket,
        make_protocol: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None,
        make_room: Callable[[], int],
    ) -> None:
        self._listener, self._make_protocol, self._tls, self._make_room = listener, make_protocol, tls, make_room
        self._greeting: set[asyncio.Task[None]] = set()
        self._report_at = float("-inf")

    async def run(self) -> None:
        """Accept until cancelled; then also give up those that have not agreed on TLS yet."""
        try:
            while True:
                try:
                    connection, _ = await asyncio.get_running_loop().sock_accept(self._listener)
                except OSError as error:  # ECONNABORTED and the like mean that one client; a shortage passes
                    if (what := lacking(error)) is not None:
                        self._report(what, self._make_room())
                        await asyncio.sleep(ACCEPT_PAUSE)
                    continue
                greeting = asyncio.create_task(self._greet(connection))
                self._greeting.add(greeting)
                greeting.add_done_callback(self._greeting.discard)
        finally:
            for greeting in self._greeting:
                greeting.cancel()

    async def _greet(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        timeout = None if self._tls is None else TLS_HANDSHAKE_TIMEOUT
        try:
            await loop.connect_accepted_socket(
                self._make_protocol, connection, ssl=self._tls, ssl_handshake_timeout=timeout
            )
        except (OSError, asyncio.CancelledError):  # the client left, or speaks no TLS
            connection.close()

    def _report(self, what: str, closed: int) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._report_at:
            self._report_at = now + REPORT_EVERY
            _log.warning("no more %s: accepting pauses, %d idle connections were closed", what, closed)

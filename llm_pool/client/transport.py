"""What both ways to a server have in common: a request, and what a transport does with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from llm_pool.core.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from llm_pool.core.messages import Answer, ProviderState, Query
    from llm_pool.wire.json import StreamEvent

CONNECT = 5.0
"""Seconds a connection may take to come about."""


class Health(msgspec.Struct, frozen=True):
    """How a server's backends are; *healthy* when one of them can answer."""

    healthy: bool
    states: tuple[ProviderState, ...]
    version: str


class Transport(Protocol):
    """A way to one server. Spans are seconds; None waits as long as the server takes."""

    async def infer(self, query: Query, remaining: float | None) -> Answer:
        """The answer; raises what the server raised, and Unreachable."""

    def stream(self, query: Query, remaining: float | None) -> AsyncGenerator[StreamEvent]:
        """What happens, last the answer; raises as ``infer`` does."""

    async def health(self) -> Health:
        """How the backends are."""

    async def feedback(self, request_id: str, *, good: bool) -> bool:
        """Whether something was learned of it."""

    async def aclose(self) -> None:
        """Close connections. Idempotent."""


def unreachable(url: str, reason: str) -> Unreachable:
    """The error where nobody answers at *url*."""
    return Unreachable(url, f"no answer from {url}: {reason}", hint="llm-pool serve  starts a daemon")

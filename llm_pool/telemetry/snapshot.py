"""A snapshot of the pool: the gauges that metrics and the status page show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


class Machine(msgspec.Struct, frozen=True):
    """A group: slots that are taken, slots there are, requests that wait for one."""

    group: str
    busy: int
    slots: int
    waiting: int


class PoolSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """
    A pool at one moment.

    Attributes:
        tasks: asyncio's, all there are on the loop.
        budget_left: further calls that could be paid for now.
        breakers: the state of every breaker that has been used, by provider and task.
        healthy: whether each provider's backend can answer now.
        reload_at: Unix seconds of the last reading of the configuration; *reload_ok*: whether it was taken.
    """

    version: str
    generation: int
    in_flight: int
    tasks: int
    budget_left: float
    machines: tuple[Machine, ...]
    breakers: Mapping[tuple[str, str], str]
    healthy: Mapping[str, bool]
    reload_at: float
    reload_ok: bool

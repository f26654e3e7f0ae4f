"""Who asks."""

from __future__ import annotations

import msgspec

from llm_pool.config.values import Scope
from llm_pool.core.messages import Caps, StrategyName


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a tenant may have; None is no limit.

    Attributes:
        rate: requests per second, on average.
        burst: requests at once, at least 1.
        in_flight: requests that are being answered at the same time.
        tokens_per_day: prompt and completion tokens of all models asked; they refill evenly over the day.
        tasks: those it may ask for; empty: all.
        strategies: those it may ask for; empty: all. The first stands in where a task's own is not among them.
    """

    rate: float | None = None
    burst: float = 1.0
    in_flight: int | None = None
    tokens_per_day: int | None = None
    caps: Caps = Caps()
    tasks: tuple[str, ...] = ()
    strategies: tuple[StrategyName, ...] = ()


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """
    Who asks.

    Attributes:
        name: of the key, or the subject of the token; for logs.
        tenant_id: whose cache, history and limits count; empty where nobody authenticates.
        project_id: the only project it may name; empty: any.
    """

    name: str
    tenant_id: str = ""
    project_id: str = ""
    scopes: frozenset[Scope] = frozenset({Scope.INFER})
    grant: Grant = Grant()

    @property
    def is_anonymous(self) -> bool:
        """Nobody authenticates here: somebody on this machine."""
        return self is ANONYMOUS


ANONYMOUS = Principal(name="anonymous", scopes=frozenset(Scope))
"""Everybody, where no client is configured: on loopback, or behind a client certificate."""

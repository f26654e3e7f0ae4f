"""A query as its sender may ask it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from llm_pool.core.errors import PermissionDenied

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_pool.core.messages import Query, StrategyName
    from llm_pool.security.principal import Principal


def authorized_query(principal: Principal, query: Query, strategy_for: Callable[[str], StrategyName]) -> Query:
    """
    *query* with the sender's own tenant and project, within the sender's caps.

    Args:
        principal: who sends it.
        query: as it came.
        strategy_for: the strategy of a task where the query names none.

    Raises:
        PermissionDenied: it is for another tenant or project, or for a task or strategy that is not the sender's.
    """
    if principal.is_anonymous:
        return query
    grant = principal.grant
    if query.tenant_id not in {"", principal.tenant_id}:
        raise PermissionDenied("tenant_id: it is not yours")
    if principal.project_id and query.project_id not in {"", principal.project_id}:
        raise PermissionDenied("project_id: it is not yours")
    if grant.tasks and query.task not in grant.tasks:
        raise PermissionDenied(f"task: '{query.task}' is not among yours: {', '.join(grant.tasks)}")
    return msgspec.structs.replace(
        query,
        tenant_id=principal.tenant_id,
        project_id=principal.project_id or query.project_id,
        strategy=_strategy(grant.strategies, query, strategy_for),
        caps=grant.caps,
    )


def _strategy(
    ours: tuple[StrategyName, ...], query: Query, strategy_for: Callable[[str], StrategyName]
) -> StrategyName | None:
    if not ours or query.strategy in ours:
        return query.strategy
    if query.strategy is not None:
        raise PermissionDenied(f"strategy: {query.strategy} is not among yours: {', '.join(ours)}")
    return None if strategy_for(query.task) in ours else ours[0]

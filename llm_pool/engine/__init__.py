"""
The engine: how a pool is put together, and what it does with a query.

The names below are what the command line, the servers and the client may use of it; each is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_pool.engine.admission import ANY_OBJECT, NO_LIMIT, TOKEN_LIMIT, parse_strategy, parse_think
    from llm_pool.engine.assembly import is_used_by_others
    from llm_pool.engine.composition import App, emit_to, open_app
    from llm_pool.engine.configuration import EffectiveConfig, effective_config
    from llm_pool.engine.embedding import embedding_query
    from llm_pool.engine.generations import PoolManager, ReloadResult, RunningRequest
    from llm_pool.engine.health import Health
    from llm_pool.engine.orchestrator import Orchestrator
    from llm_pool.engine.panel import Plan
    from llm_pool.engine.reload import Reloader, ended_unexpectedly
    from llm_pool.engine.state import PoolState

_MODULES = {
    "ANY_OBJECT": "admission",
    "App": "composition",
    "Health": "health",
    "NO_LIMIT": "admission",
    "Orchestrator": "orchestrator",
    "Plan": "panel",
    "PoolManager": "generations",
    "PoolState": "state",
    "ReloadResult": "generations",
    "Reloader": "reload",
    "RunningRequest": "generations",
    "TOKEN_LIMIT": "admission",
    "EffectiveConfig": "configuration",
    "effective_config": "configuration",
    "embedding_query": "embedding",
    "emit_to": "composition",
    "ended_unexpectedly": "reload",
    "is_used_by_others": "assembly",
    "open_app": "composition",
    "parse_strategy": "admission",
    "parse_think": "admission",
}

__all__ = [
    "ANY_OBJECT",
    "NO_LIMIT",
    "TOKEN_LIMIT",
    "App",
    "EffectiveConfig",
    "Health",
    "Orchestrator",
    "Plan",
    "PoolManager",
    "PoolState",
    "ReloadResult",
    "Reloader",
    "RunningRequest",
    "effective_config",
    "embedding_query",
    "emit_to",
    "ended_unexpectedly",
    "is_used_by_others",
    "open_app",
    "parse_strategy",
    "parse_think",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(f"llm_pool.engine.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'llm_pool.engine' has no attribute '{name}'")

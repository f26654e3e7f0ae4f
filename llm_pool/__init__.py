"""
One question to several local language models at once, one answer.

::

    import asyncio
    from llm_pool import Query, open_app

    async def main() -> None:
        async with open_app() as app:
            print((await app.orchestrator.infer(Query(prompt="Is 17 prime?"))).content)

    asyncio.run(main())

The public names are loaded on first use: the command line starts faster for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_pool.config import Config, load
    from llm_pool.core.errors import (
        AllProvidersFailed,
        ConfigError,
        DeadlineExceeded,
        InvalidRequest,
        LlmPoolError,
        NoConsensus,
        Overloaded,
        PermissionDenied,
        ProviderError,
        RateLimited,
        Unauthenticated,
    )
    from llm_pool.core.messages import Answer, Attempt, Decision, Query, StrategyName
    from llm_pool.engine.composition import App, open_app
    from llm_pool.engine.orchestrator import Orchestrator

__version__ = "0.1.0"

_HOMES = {
    "AllProvidersFailed": "core.errors",
    "Answer": "core.messages",
    "App": "engine.composition",
    "Attempt": "core.messages",
    "Config": "config",
    "ConfigError": "core.errors",
    "DeadlineExceeded": "core.errors",
    "Decision": "core.messages",
    "InvalidRequest": "core.errors",
    "LlmPoolError": "core.errors",
    "NoConsensus": "core.errors",
    "Orchestrator": "engine.orchestrator",
    "Overloaded": "core.errors",
    "PermissionDenied": "core.errors",
    "ProviderError": "core.errors",
    "Query": "core.messages",
    "RateLimited": "core.errors",
    "StrategyName": "core.messages",
    "Unauthenticated": "core.errors",
    "load": "config",
    "open_app": "engine.composition",
}

__all__ = [
    "AllProvidersFailed",
    "Answer",
    "App",
    "Attempt",
    "Config",
    "ConfigError",
    "DeadlineExceeded",
    "Decision",
    "InvalidRequest",
    "LlmPoolError",
    "NoConsensus",
    "Orchestrator",
    "Overloaded",
    "PermissionDenied",
    "ProviderError",
    "Query",
    "RateLimited",
    "StrategyName",
    "Unauthenticated",
    "load",
    "open_app",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"llm_pool.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'llm_pool' has no attribute '{name}'")

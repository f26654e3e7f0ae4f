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
    from llm_pool.app import App, open_app
    from llm_pool.config import Config, load
    from llm_pool.errors import (
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
    from llm_pool.messages import Answer, Attempt, Decision, Query, StrategyName
    from llm_pool.orchestrator import Orchestrator

__version__ = "0.1.0"

_HOMES = {
    "AllProvidersFailed": "errors",
    "Answer": "messages",
    "App": "app",
    "Attempt": "messages",
    "Config": "config",
    "ConfigError": "errors",
    "DeadlineExceeded": "errors",
    "Decision": "messages",
    "InvalidRequest": "errors",
    "LlmPoolError": "errors",
    "NoConsensus": "errors",
    "Orchestrator": "orchestrator",
    "Overloaded": "errors",
    "PermissionDenied": "errors",
    "ProviderError": "errors",
    "Query": "messages",
    "RateLimited": "errors",
    "StrategyName": "messages",
    "Unauthenticated": "errors",
    "load": "config",
    "open_app": "app",
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

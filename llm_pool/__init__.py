"""
One question to several local language models at once, one answer.

::

    from llm_pool import Pool

    with Pool() as pool:
        answer = pool.infer("Is 17 prime?", strategy="voting")
        print(answer.content, answer.winner, answer.decision.agreement)

The public names are loaded on first use: what a program does not use costs it nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_pool.client import Health, HmacKey, Tls, Token
    from llm_pool.config import Config, load
    from llm_pool.core.errors import (
        AllProvidersFailed,
        BadReply,
        Cancelled,
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
        Unreachable,
    )
    from llm_pool.core.messages import Attempt, Decision, Query, StrategyName
    from llm_pool.facade.answer import Answer
    from llm_pool.facade.async_pool import AsyncPool
    from llm_pool.facade.pool import Pool
    from llm_pool.facade.providers import LlamaCpp, Ollama, OpenAI

__version__ = "0.1.0"

_HOMES = {
    "AllProvidersFailed": "core.errors",
    "Answer": "facade.answer",
    "AsyncPool": "facade.async_pool",
    "Attempt": "core.messages",
    "BadReply": "core.errors",
    "Cancelled": "core.errors",
    "Config": "config",
    "ConfigError": "core.errors",
    "DeadlineExceeded": "core.errors",
    "Decision": "core.messages",
    "Health": "client",
    "HmacKey": "client",
    "InvalidRequest": "core.errors",
    "LlamaCpp": "facade.providers",
    "LlmPoolError": "core.errors",
    "NoConsensus": "core.errors",
    "Ollama": "facade.providers",
    "OpenAI": "facade.providers",
    "Overloaded": "core.errors",
    "PermissionDenied": "core.errors",
    "Pool": "facade.pool",
    "ProviderError": "core.errors",
    "Query": "core.messages",
    "RateLimited": "core.errors",
    "StrategyName": "core.messages",
    "Tls": "client",
    "Token": "client",
    "Unauthenticated": "core.errors",
    "Unreachable": "core.errors",
    "load": "config",
}

__all__ = [
    "AllProvidersFailed",
    "Answer",
    "AsyncPool",
    "Attempt",
    "BadReply",
    "Cancelled",
    "Config",
    "ConfigError",
    "DeadlineExceeded",
    "Decision",
    "Health",
    "HmacKey",
    "InvalidRequest",
    "LlamaCpp",
    "LlmPoolError",
    "NoConsensus",
    "Ollama",
    "OpenAI",
    "Overloaded",
    "PermissionDenied",
    "Pool",
    "ProviderError",
    "Query",
    "RateLimited",
    "StrategyName",
    "Tls",
    "Token",
    "Unauthenticated",
    "Unreachable",
    "load",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"llm_pool.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'llm_pool' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*globals(), *__all__]

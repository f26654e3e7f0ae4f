"""
What the first requests need, imported before anybody asks.

A command imports what it uses; a daemon uses nearly everything sooner or later, and an import holds the event loop for
tens of milliseconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

MODULES: Final = (
    "anyio._backends._asyncio",
    "difflib",
    "email.utils",
    "html",
    "jsonschema_rs",
    "llm_pool.ensemble.consensus",
    "llm_pool.ensemble.entailment",
    "llm_pool.ensemble.formulas",
    "llm_pool.ensemble.judge",
    "llm_pool.ensemble.voting",
    "llm_pool.ensemble.weighted",
    "llm_pool.reading.tolerant",
    "llm_pool.reading.tool_calls",
    "llm_pool.reading.valued",
    "prometheus_client.core",
    "prometheus_client.exposition",
    "rapidfuzz",
    "urllib.parse",
)


def preload() -> None:
    """Import MODULES; takes about a tenth of a second."""
    for module in MODULES:
        import_module(module)

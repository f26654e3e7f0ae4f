"""How the backends of a pool are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from llm_pool.core.messages import ProviderState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from llm_pool.core.interfaces import Provider

TIMEOUT = 1.0
"""Seconds a backend has to say how it is before it counts as unreachable."""


class Health(msgspec.Struct, frozen=True):
    """How the backends are; *ready* when one of them can answer, if need be after loading its model."""

    ready: bool
    states: tuple[ProviderState, ...]


async def check_health(providers: Collection[Provider], models: Mapping[str, str]) -> Health:
    """
    How *providers* are, at most ``TIMEOUT`` seconds from now.

    Args:
        providers: asked all at once.
        models: the model of each, by its name.
    """
    states = await asyncio.gather(*(_state(provider, models[provider.name]) for provider in providers))
    return Health(any(state.condition in {"healthy", "warming"} for state in states), tuple(states))


async def _state(provider: Provider, model: str) -> ProviderState:
    try:
        async with asyncio.timeout(TIMEOUT):
            return await provider.state()
    except TimeoutError:
        return ProviderState(
            name=provider.name, model=model, condition="unreachable", detail=f"no answer within {TIMEOUT:g} s"
        )

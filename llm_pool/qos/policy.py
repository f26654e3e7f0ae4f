"""A Provider around a Provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from llm_pool.core.interfaces import Provider
    from llm_pool.core.messages import Call, Delta, ProviderState


class Policy:
    """
    What a policy does not change it passes on to *inner*.

    Attributes:
        name: the provider's.
    """

    def __init__(self, inner: Provider) -> None:
        self.inner, self.name = inner, inner.name

    def stream(self, call: Call) -> AsyncGenerator[Delta]:
        """Ask *inner*."""
        return self.inner.stream(call)

    async def state(self) -> ProviderState:
        """What the backend says, whatever the policy thinks of it."""
        return await self.inner.state()

    async def load(self) -> None:
        """Make the model ready; raises ProviderError."""
        await self.inner.load()

    async def aclose(self) -> None:
        """Close *inner*."""
        await self.inner.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inner!r})"

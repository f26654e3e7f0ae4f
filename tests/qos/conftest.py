"""What the tests of policies share."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from llm_pool.testing import a_call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llm_pool.core.interfaces import Provider
    from llm_pool.core.messages import Call


@pytest.fixture
def ask() -> Callable[..., Awaitable[str]]:
    """A function that asks a provider, a plain question or a given call, and gives the whole text."""

    async def gathered(provider: Provider, call: Call | None = None) -> str:
        async with aclosing(provider.stream(call or a_call())) as deltas:
            return "".join([delta.text async for delta in deltas])

    return gathered

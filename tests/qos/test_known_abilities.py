"""What models can do: asked of their backends now and then, and never for long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import Unreachable
from llm_pool.core.messages import Abilities
from llm_pool.qos.known_abilities import ASK_INTERVAL, ASK_TIMEOUT, RETRY_INTERVAL, KnownAbilities

pytestmark = pytest.mark.anyio


class Backend:
    """A provider that learns what its model can, as often as it is asked to."""

    def __init__(self, name: str = "phi3", *, error: Exception | None = None, takes: float = 0.0) -> None:
        self.name, self._error, self._takes = name, error, takes
        self.asked, self.abilities = 0, Abilities()

    async def learn_abilities(self) -> None:
        self.asked += 1
        await asyncio.sleep(self._takes)
        if self._error is not None:
            raise self._error
        self.abilities = Abilities(frozenset({"tools"}))


def known(backend: Any) -> KnownAbilities:
    abilities = KnownAbilities(SystemClock())
    abilities.add(backend)
    return abilities


async def test_a_backend_that_told_is_asked_again_after_a_while() -> None:
    backend = Backend()
    abilities = known(backend)

    for _ in range(3):
        await abilities.refresh(["phi3"])
    assert (backend.asked, abilities.of("phi3").can) == (1, frozenset({"tools"}))

    await asyncio.sleep(ASK_INTERVAL)
    await abilities.refresh(["phi3"])
    assert backend.asked == 2


@pytest.mark.parametrize("backend", [Backend(error=Unreachable("phi3", "refused")), Backend(takes=60.0)])
async def test_one_that_does_not_tell_holds_nobody_up(backend: Backend) -> None:
    """It is asked again soon; until then nothing is known of its model."""
    abilities, began = known(backend), asyncio.get_running_loop().time()

    await abilities.refresh(["phi3"])

    assert asyncio.get_running_loop().time() - began <= ASK_TIMEOUT + 1e-6
    assert abilities.of("phi3") == Abilities()
    await asyncio.sleep(RETRY_INTERVAL)
    await abilities.refresh(["phi3"])
    assert backend.asked == 2


async def test_of_a_provider_that_says_nothing_nothing_is_known() -> None:
    class Silent:
        name = "silent"

    abilities = known(Silent())
    await abilities.refresh(["silent", "nobody"])

    assert abilities.of("silent") == abilities.of("nobody") == Abilities()

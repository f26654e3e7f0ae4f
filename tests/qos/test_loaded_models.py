"""What is known of a machine's memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from llm_pool.clock import SystemClock
from llm_pool.errors import Unreachable
from llm_pool.qos.residency import FRESH, LOOK_TIMEOUT, Residency

if TYPE_CHECKING:
    from collections.abc import Collection

pytestmark = pytest.mark.anyio


class Backend:
    """Says what a test lets it say."""

    def __init__(self, says: Collection[str] | None, *, after: float = 0.0) -> None:
        self.says, self.after, self.asked = says, after, 0

    async def look(self) -> Collection[str] | None:
        self.asked += 1
        await asyncio.sleep(self.after)
        if self.says is not None and "broken" in self.says:
            raise Unreachable("box", "refused")
        return self.says


async def test_a_look_is_worth_five_seconds() -> None:
    """A hundred requests in a moment cost one question."""
    backend = Backend(["A"])
    residency = Residency(SystemClock(), backend.look)

    await asyncio.gather(*(residency.refresh() for _ in range(100)))
    once = backend.asked
    await asyncio.sleep(FRESH)
    await residency.refresh()

    assert (once, backend.asked) == (1, 2)
    assert residency.loaded == ("A",)


async def test_our_order_of_use_survives_a_look() -> None:
    """The backend tells who is there, our calls tell who was used last."""
    residency = Residency(SystemClock(), Backend(["C", "A", "B"]).look)
    residency.arrives("B")
    residency.arrives("A")
    residency.arrives("gone")

    await residency.refresh()

    assert residency.loaded == ("B", "A", "C")


async def test_a_hanging_backend_costs_a_quarter_of_a_second_and_no_knowledge() -> None:
    """What we believed stays; that the backend told so does not."""
    backend = Backend(["A"])
    residency = Residency(SystemClock(), backend.look)
    await residency.refresh()
    backend.after = 1000.0
    await asyncio.sleep(FRESH)
    began = asyncio.get_running_loop().time()

    await residency.refresh()

    assert asyncio.get_running_loop().time() - began == pytest.approx(LOOK_TIMEOUT)
    assert residency.loaded == ("A",)
    assert not residency.knows


@pytest.mark.parametrize("says", [["broken"], None])
async def test_a_backend_that_cannot_tell_leaves_us_to_our_own_eyes(says: list[str] | None) -> None:
    """Refusing and not knowing are the same."""
    residency = Residency(SystemClock(), Backend(says).look)
    residency.arrives("A")

    await residency.refresh()

    assert residency.loaded == ("A",)
    assert not residency.knows


async def test_what_happened_during_a_look_is_newer_than_its_answer() -> None:
    """A model that a request brings in while the backend answers is not forgotten."""
    residency = Residency(SystemClock(), Backend(["A"], after=0.1).look)
    looking = asyncio.create_task(residency.refresh())
    await asyncio.sleep(0.05)

    residency.arrives("B", evicting=("A",))
    await looking

    assert residency.loaded == ("B",)
    assert residency.knows


async def test_sizes_are_learned_and_kept() -> None:
    """A backend that tells megabytes is remembered even for a model that has left."""
    backend = Backend({"A": 2300.0})
    residency = Residency(SystemClock(), backend.look)
    await residency.refresh()
    backend.says = {"B": 4900.0}
    await asyncio.sleep(FRESH)

    await residency.refresh()

    assert residency.sizes == {"A": 2300.0, "B": 4900.0}
    assert residency.loaded == ("B",)


async def test_a_model_that_did_not_load_leaves() -> None:
    """And nothing else does."""
    residency = Residency(SystemClock())
    residency.arrives("A")
    residency.arrives("B")

    residency.leaves("B")

    assert residency.loaded == ("A",)

"""What is known of a machine's memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import Unreachable
from llm_pool.qos.loaded_models import REFRESH_INTERVAL, REFRESH_TIMEOUT, SECOND_LOOK_AFTER, LoadedModels

if TYPE_CHECKING:
    from collections.abc import Collection

pytestmark = pytest.mark.anyio


class Backend:
    """Says what a test lets it say."""

    def __init__(self, says: Collection[str] | None, *, after: float = 0.0) -> None:
        self.says, self.after, self.asked = says, after, 0

    async def list_loaded(self) -> Collection[str] | None:
        self.asked += 1
        await asyncio.sleep(self.after)
        if self.says is not None and "broken" in self.says:
            raise Unreachable("box", "refused")
        return self.says


async def test_a_look_is_worth_five_seconds() -> None:
    """A hundred requests in a moment cost one question."""
    backend = Backend(["A"])
    loaded_models = LoadedModels(SystemClock(), backend.list_loaded)

    await asyncio.gather(*(loaded_models.refresh() for _ in range(100)))
    once = backend.asked
    await asyncio.sleep(REFRESH_INTERVAL)
    await loaded_models.refresh()

    assert (once, backend.asked) == (1, 2)
    assert loaded_models.loaded == ("A",)


async def test_our_order_of_use_survives_a_look() -> None:
    """The backend tells who is there, our calls tell who was used last."""
    loaded_models = LoadedModels(SystemClock(), Backend(["C", "A", "B"]).list_loaded)
    loaded_models.mark_used("B")
    loaded_models.mark_used("A")
    loaded_models.mark_used("gone")

    await loaded_models.refresh()

    assert loaded_models.loaded == ("B", "A", "C")


async def test_a_hanging_backend_costs_a_quarter_of_a_second_and_no_knowledge() -> None:
    """What we believed stays; that the backend told so does not."""
    backend = Backend(["A"])
    loaded_models = LoadedModels(SystemClock(), backend.list_loaded)
    await loaded_models.refresh()
    backend.after = 1000.0
    await asyncio.sleep(REFRESH_INTERVAL)
    began = asyncio.get_running_loop().time()

    await loaded_models.refresh()

    assert asyncio.get_running_loop().time() - began == pytest.approx(REFRESH_TIMEOUT)
    assert loaded_models.loaded == ("A",)
    assert not loaded_models.is_authoritative


@pytest.mark.parametrize("says", [["broken"], None])
async def test_a_backend_that_cannot_tell_leaves_us_to_our_own_eyes(says: list[str] | None) -> None:
    """Refusing and not knowing are the same."""
    loaded_models = LoadedModels(SystemClock(), Backend(says).list_loaded)
    loaded_models.mark_used("A")

    await loaded_models.refresh()

    assert loaded_models.loaded == ("A",)
    assert not loaded_models.is_authoritative


async def test_what_happened_during_a_look_is_newer_than_its_answer() -> None:
    """A model that a request brings in while the backend answers is not forgotten."""
    loaded_models = LoadedModels(SystemClock(), Backend(["A"], after=0.1).list_loaded)
    looking = asyncio.create_task(loaded_models.refresh())
    await asyncio.sleep(0.05)

    loaded_models.mark_used("B", evicting=("A",))
    await looking

    assert loaded_models.loaded == ("B",)
    assert loaded_models.is_authoritative


async def test_sizes_are_learned_and_kept() -> None:
    """A backend that tells megabytes is remembered even for a model that has left."""
    backend = Backend({"A": 2300.0})
    loaded_models = LoadedModels(SystemClock(), backend.list_loaded)
    await loaded_models.refresh()
    backend.says = {"B": 4900.0}
    await asyncio.sleep(REFRESH_INTERVAL)

    await loaded_models.refresh()

    assert loaded_models.sizes == {"A": 2300.0, "B": 4900.0}
    assert loaded_models.loaded == ("B",)


async def test_a_model_that_did_not_load_leaves() -> None:
    """And nothing else does."""
    loaded_models = LoadedModels(SystemClock())
    loaded_models.mark_used("A")
    loaded_models.mark_used("B")

    loaded_models.mark_unloaded("B")

    assert loaded_models.loaded == ("A",)


async def test_how_many_fit_is_learned_by_looking() -> None:
    """And unlearned when a load puts a model out."""
    backend = Backend(["A", "B"])
    loaded_models = LoadedModels(SystemClock(), backend.list_loaded)
    nothing = loaded_models.capacity

    await loaded_models.look()
    two = loaded_models.capacity
    loaded_models.learn("C", before=["A", "B"], after=["C"])
    one = loaded_models.capacity
    loaded_models.learn("D", before=["C"], after=["C"])  # it did not come: that says nothing

    assert [(each.at_least, each.at_most) for each in (nothing, two, one)] == [(1, None), (2, None), (1, 1)]
    assert loaded_models.capacity == one


async def test_a_doubt_makes_the_next_request_look() -> None:
    """However short ago the last look was."""
    backend = Backend(["A"])
    loaded_models = LoadedModels(SystemClock(), backend.list_loaded)
    await loaded_models.refresh()

    loaded_models.doubt()
    await loaded_models.refresh()
    await loaded_models.refresh()

    assert backend.asked == 2


async def test_who_comes_while_somebody_looks_waits_for_what_he_sees() -> None:
    """The first requests after a start come together, and all know what is loaded."""
    loaded_models = LoadedModels(SystemClock(), Backend(["A"], after=0.1).list_loaded)

    async def refreshed() -> tuple[str, ...]:
        await loaded_models.refresh()
        return loaded_models.loaded

    assert await asyncio.gather(*(refreshed() for _ in range(5))) == [("A",)] * 5


async def test_a_first_failure_is_looked_into_soon_and_further_ones_are_not() -> None:
    """A busy moment does not leave us blind; a server that is silent does not cost every request a look."""
    backend = Backend(["A"], after=1000.0)
    loaded_models = LoadedModels(SystemClock(), backend.list_loaded)

    await loaded_models.refresh()
    await asyncio.sleep(SECOND_LOOK_AFTER)
    await loaded_models.refresh()
    await asyncio.sleep(SECOND_LOOK_AFTER)
    await loaded_models.refresh()

    assert backend.asked == 2
    assert not loaded_models.has_told

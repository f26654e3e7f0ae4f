"""Asking once more."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import (
    BadReply,
    BreakerOpen,
    Busy,
    Failed,
    Loading,
    ProviderError,
    QueueFull,
    Rejected,
    TimedOut,
    Unreachable,
)
from llm_pool.qos.budget import Budget
from llm_pool.qos.retrying import LAST_POLL_MARGIN, MAX_POLL, MIN_POLL, Retrying, poll_delay
from llm_pool.testing import Reply, ScriptedProvider, a_call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Ask = Callable[..., Awaitable[str]]

pytestmark = pytest.mark.anyio


def retrying(
    replies: Reply | Sequence[Reply], *, retries: int = 1, budget: Budget | None = None
) -> tuple[Retrying, ScriptedProvider]:
    backend = ScriptedProvider("phi3", replies)
    return Retrying(backend, budget or Budget(), SystemClock(), Random(5), retries=retries), backend


@pytest.mark.parametrize("error", [Unreachable("phi3", "reset"), Failed("phi3", "500"), Busy("phi3", "503")])
async def test_a_passing_failure_is_asked_again(ask: Ask, error: ProviderError) -> None:
    """The second attempt answers."""
    provider, backend = retrying([Reply.failing(error), Reply("blue")])

    assert await ask(provider) == "blue"
    assert len(backend.calls) == 2


@pytest.mark.parametrize("kind", [Rejected, BadReply, TimedOut, BreakerOpen, QueueFull])
async def test_what_would_not_get_better_is_not(ask: Ask, kind: type[ProviderError]) -> None:
    """And it leaves the budget as it was."""
    budget = Budget()
    provider, backend = retrying([Reply.failing(kind("phi3", "no")), Reply("blue")], budget=budget)

    with pytest.raises(kind):
        await ask(provider)

    assert len(backend.calls) == 1
    assert budget.left(asyncio.get_running_loop().time()) == 10


async def test_never_after_the_first_text(ask: Ask) -> None:
    """What was read cannot be taken back."""
    provider, backend = retrying([Reply("half an", error=Failed("phi3", "cut")), Reply("blue")])

    with pytest.raises(Failed):
        await ask(provider)

    assert len(backend.calls) == 1


async def test_the_last_error_stands_after_the_last_retry(ask: Ask) -> None:
    """Two retries are three attempts."""
    provider, backend = retrying(Reply.failing(Failed("phi3", "500")), retries=2)

    with pytest.raises(Failed):
        await ask(provider)

    assert len(backend.calls) == 3


async def test_no_retries_configured_means_none(ask: Ask) -> None:
    """And no wait either."""
    provider, backend = retrying(Reply.failing(Failed("phi3", "500")), retries=0)

    with pytest.raises(Failed):
        await ask(provider)

    assert len(backend.calls) == 1


async def test_an_exhausted_budget_stops_retries_and_never_the_first_call(ask: Ask) -> None:
    """The first error stands; an answer without trouble needs no budget (failsafe-go issue 141)."""
    broke = Budget(ratio=0.0, floor=0.0)
    failing, backend = retrying([Reply.failing(Failed("phi3", "500")), Reply("blue")], budget=broke)
    healthy, _ = retrying(Reply("blue"), budget=broke)

    with pytest.raises(Failed):
        await ask(failing)

    assert len(backend.calls) == 1
    assert await ask(healthy) == "blue"


async def test_the_wait_is_jittered_and_short(ask: Ask) -> None:
    """Full jitter: between nothing and 100 ms before the first retry, at most 200 ms before the second."""
    waits = []
    for _ in range(20):
        provider, _ = retrying([Reply.failing(Failed("phi3", "500")), Reply("x", ttft=0.0, duration=0.0)])
        began = asyncio.get_running_loop().time()
        await ask(provider)
        waits.append(asyncio.get_running_loop().time() - began)
        await asyncio.sleep(10)

    assert 0.0 <= min(waits) <= max(waits) <= 0.1


async def test_retry_after_is_honoured(ask: Ask) -> None:
    """The backend said three seconds: not before."""
    busy = Busy("phi3", "503", retry_after=3.0)
    provider, _ = retrying([Reply.failing(busy), Reply("blue", ttft=0.0, duration=0.0)])
    began = asyncio.get_running_loop().time()

    assert await ask(provider) == "blue"
    assert 3.0 <= asyncio.get_running_loop().time() - began <= 3.1


async def test_a_wait_beyond_the_deadline_is_not_begun(ask: Ask) -> None:
    """The error comes at once, with budget untouched."""
    budget = Budget()
    provider, _ = retrying(Reply.failing(Busy("phi3", "503", retry_after=30.0)), budget=budget)
    began = asyncio.get_running_loop().time()

    with pytest.raises(Busy):
        await ask(provider, a_call(deadline=began + 20.0))

    assert asyncio.get_running_loop().time() == began
    assert budget.left(began) == 10


LOADING = Reply.failing(Loading("phi3", "503: Loading model"), after=0.001)


async def test_a_loading_backend_is_asked_until_it_is_there(ask: Ask) -> None:
    """Gently, without retries and without budget: nothing has failed."""
    budget, began = Budget(ratio=0.0, floor=0.0), asyncio.get_running_loop().time()
    ready_at = began + 8.0

    def script(_call: object) -> Reply:
        return LOADING if asyncio.get_running_loop().time() < ready_at else Reply("blue", ttft=0.1, duration=0.2)

    backend = ScriptedProvider("phi3", script)
    provider = Retrying(backend, budget, SystemClock(), Random(5), retries=0)

    assert await ask(provider, a_call(deadline=began + 15.0)) == "blue"
    assert 8.0 <= asyncio.get_running_loop().time() - began <= 8.2 + MAX_POLL
    assert len(backend.calls) <= 8 / MAX_POLL + 6


async def test_a_backend_that_loads_too_long_is_told_of_in_its_words_before_the_deadline(ask: Ask) -> None:
    """The last question comes just before it."""
    provider, backend = retrying(LOADING, retries=0)
    began = asyncio.get_running_loop().time()

    with pytest.raises(Loading, match="Loading model"):
        await ask(provider, a_call(deadline=began + 4.0))

    assert 4.0 - 2 * LAST_POLL_MARGIN <= asyncio.get_running_loop().time() - began < 4.0
    assert len(backend.calls) < 12


async def test_a_failure_after_a_load_is_a_failure(ask: Ask) -> None:
    """Loading counted for no retry, so there is one left."""
    provider, backend = retrying([LOADING, LOADING, Reply.failing(Failed("phi3", "500")), Reply("blue")])

    assert await ask(provider) == "blue"
    assert len(backend.calls) == 4


@given(st.integers(0, 10_000), st.floats(0, 1e6), st.floats(0, 1e4))
def test_a_poll_never_passes_the_deadline_and_never_hurries(polls: int, left: float, at_least: float) -> None:
    wait = poll_delay(polls, left, at_least=at_least)

    if wait is None:
        assert left - LAST_POLL_MARGIN < MIN_POLL
    else:
        assert MIN_POLL <= wait <= left - LAST_POLL_MARGIN
        assert wait >= min(at_least, left - LAST_POLL_MARGIN)
        assert wait <= max(MAX_POLL, at_least)

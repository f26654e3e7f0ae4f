"""The client against a daemon, over HTTP and gRPC alike."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.client import AsyncClient, Client, HmacKey, Tls, Token
from llm_pool.core.errors import (
    DeadlineExceeded,
    InvalidRequest,
    LlmPoolError,
    RateLimited,
    Stopping,
    Unauthenticated,
    Unreachable,
)
from llm_pool.core.events import AttemptEnded, AttemptStarted, TextArrived
from llm_pool.core.messages import Answer, Query, StrategyName
from llm_pool.qos.budget import Budget
from tests.security.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

KEY, SECRET = "signing-client-1", "lpsk_" + "s" * 43
TENANTS = f"""
[tenancy.acme]
api_key = "{SECRET}"
"""


async def test_a_question_gets_its_answer(pool: AsyncClient) -> None:
    """Typed as in process."""
    answer = await pool.infer("lounge videos", task="expand_queries", deadline=3.0)

    assert isinstance(answer, Answer)
    assert answer.strategy_used is StrategyName.FASTEST
    assert answer.winner == "phi3"
    assert answer.json is not None
    assert answer.decision.attempts[0].outcome == "ok"
    assert 0 < answer.duration < 3


async def test_a_stream_tells_events_and_ends_with_the_answer(pool: AsyncClient) -> None:
    """The events of the pool itself."""
    events = [event async for event in pool.stream(Query(prompt="hello"))]

    assert isinstance(events[0], AttemptStarted)
    assert isinstance(events[-1], Answer)
    text = "".join(event.text for event in events if isinstance(event, TextArrived) and event.committed)
    assert text == events[-1].content
    [ended] = [event.attempt for event in events if isinstance(event, AttemptEnded)]
    assert ended.reading is not None
    assert ended.reading.content == text


async def test_an_error_is_the_one_the_server_raised(pool: AsyncClient) -> None:
    """With its field and its way out."""
    with pytest.raises(InvalidRequest) as caught:
        await pool.infer("hello", task="expand_querys")

    assert caught.value.field == "task"
    assert "expand_queries" in caught.value.hint


async def test_a_streams_error_is_raised_too(pool: AsyncClient) -> None:
    """Before its first event."""
    with pytest.raises(InvalidRequest, match="task"):
        async for _ in pool.stream("hello", task="nope"):
            pass


async def test_health_and_feedback(pool: AsyncClient) -> None:
    """The small calls."""
    health = await pool.health()
    with pytest.raises(InvalidRequest):
        await pool.feedback("nobody-asked-this", good=True)

    assert health.healthy
    assert [state.name for state in health.states] == ["phi3", "llama3.1", "gemma2"]


async def test_the_deadline_reaches_the_server(daemons: Callable[..., Any], protocol: str) -> None:
    """The server gives up, and says who was asked."""
    async with daemons(ttft="const:30") as daemon, AsyncClient(daemon.urls[protocol]) as pool:
        with pytest.raises(DeadlineExceeded) as caught:
            await pool.infer("hello", deadline=0.4)
        in_flight = daemon.manager.in_flight

    assert caught.value.attempts
    assert in_flight == 0


async def test_leaving_a_stream_ends_the_request(daemons: Callable[..., Any], protocol: str) -> None:
    """Closing the generator is enough."""
    async with daemons(ttft="const:30") as daemon, AsyncClient(daemon.urls[protocol]) as pool:
        events = pool.stream("hello")
        await anext(events)

        await events.aclose()

        async with asyncio.timeout(5):
            while daemon.manager.in_flight:  # noqa: ASYNC110  # the server has no event for it
                await asyncio.sleep(0.01)


async def test_what_was_not_taken_is_sent_again(daemons: Callable[..., Any], protocol: str) -> None:
    """A server that stops sends its clients elsewhere, here to the end of the drain."""
    async with daemons() as daemon, AsyncClient(daemon.urls[protocol]) as pool:
        daemon.manager.is_draining = True
        asking = asyncio.create_task(pool.infer("hello", deadline=4.0))
        await asyncio.sleep(0.3)
        daemon.manager.is_draining = False

        answer = await asking

    assert answer.content


async def test_retries_end_with_the_budget(daemons: Callable[..., Any], protocol: str) -> None:
    """Clients of a server in need do not make it worse."""
    async with daemons() as daemon, AsyncClient(daemon.urls[protocol], budget=Budget(ratio=0.0, floor=0.0)) as pool:
        daemon.manager.is_draining = True

        with pytest.raises(Stopping):
            await pool.infer("hello")


async def test_nobody_there_is_unreachable(protocol: str) -> None:
    """With what to type next."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        async with AsyncClient(f"{protocol}://127.0.0.1:{free.getsockname()[1]}", retries=0) as pool:
            with pytest.raises(Unreachable) as caught:
                await pool.infer("hello")

    assert "llm-pool serve" in caught.value.hint


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:7071", "http://", "http://me:pw@host"])
async def test_an_address_of_another_shape_is_refused(url: str) -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidRequest, match="url"):
        AsyncClient(url)


async def test_signed_requests_come_in_and_others_do_not(daemons: Callable[..., Any], protocol: str) -> None:
    """Unary, streamed, and the wrong secret."""
    async with daemons(TENANTS) as daemon:
        url = daemon.urls[protocol]
        good, bad, none = HmacKey("acme", SECRET), HmacKey("acme", "x" * 40), None
        async with AsyncClient(url, credentials=good) as pool:
            answer = await pool.infer("hello", deadline=3.0)
            events = [event async for event in pool.stream("hello again")]
            health = await pool.health()
        for credentials in (bad, none, Token("nonsense")):
            async with AsyncClient(url, credentials=credentials) as pool:
                with pytest.raises(Unauthenticated):
                    await pool.infer("hello")

    assert answer.content
    assert isinstance(events[-1], Answer)
    assert health.healthy


async def test_a_rate_that_is_spent_is_waited_for(daemons: Callable[..., Any], protocol: str) -> None:
    """As long as the server says, if the deadline allows it."""
    limits = f"{TENANTS}rate_limit_rps = 2\nrate_limit_burst = 1\n"
    async with (
        daemons(limits) as daemon,
        AsyncClient(daemon.urls[protocol], credentials=HmacKey("acme", SECRET), budget=Budget(1.0, 9.0)) as pool,
    ):
        await pool.infer("one", deadline=3.0)
        again = await pool.infer("two", deadline=3.0)
        with pytest.raises(RateLimited):
            await pool.infer("three", deadline=0.1)

    assert again.content


async def test_both_sides_prove_themselves_over_tls(daemons: Callable[..., Any], protocol: str, tmp_path: Path) -> None:
    """With authorities of one's own; who has no certificate stays outside."""
    ours, clients = Authority(tmp_path, "ours"), Authority(tmp_path, "clients")
    ours.issue("server")
    cert, key = clients.issue("me")
    files = 'tls_cert = "server.cert.pem"\ntls_key = "server.key.pem"\nclient_ca = "clients.pem"\n'

    async with daemons(server=files) as daemon:
        url = daemon.urls[f"{protocol}s"]
        async with AsyncClient(url, tls=Tls(ca=ours.path, cert=cert, key=key)) as pool:
            answer = await pool.infer("hello", deadline=3.0)
        async with AsyncClient(url, tls=Tls(ca=ours.path), retries=0) as nobody:
            with pytest.raises(Unreachable):
                await nobody.infer("hello", deadline=3.0)

    assert answer.content


async def test_the_same_without_await(daemons: Callable[..., Any], protocol: str) -> None:
    """One implementation, in a thread of its own."""

    def use(url: str) -> tuple[Answer, list[Any], LlmPoolError | None, bool]:
        with Client(url) as pool:
            caught = None
            try:
                pool.infer("hello", task="nope")
            except InvalidRequest as error:
                caught = error
            return pool.infer("hello"), list(pool.stream("hello")), caught, pool.health().healthy

    async with daemons() as daemon:
        answer, events, error, healthy = await asyncio.to_thread(use, daemon.urls[protocol])

    assert answer.content == events[-1].content
    assert error is not None
    assert healthy

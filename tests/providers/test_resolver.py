"""Names to addresses: families in turn, equal lookups together, and a resolver that hangs costs its limit once."""

from __future__ import annotations

import asyncio
import socket
import threading
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.providers.resolver import Address, Resolver, alternating

if TYPE_CHECKING:
    from collections.abc import Iterator

FOUR, SIX = socket.AF_INET, socket.AF_INET6


class HangingResolver:
    """The system's resolver, which says nothing until it is released."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.release = threading.Event()

    def getaddrinfo(self, host: str, port: int, **_kwargs: Any) -> list[Any]:
        self.asked.append(host)
        self.release.wait(30)
        return [(FOUR, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[HangingResolver]:
    resolver = HangingResolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver.getaddrinfo)
    yield resolver
    resolver.release.set()


@given(st.lists(st.sampled_from([FOUR, SIX])))
def test_families_alternate_and_nothing_is_lost(families: list[int]) -> None:
    """RFC 8305, section 4: as long as both families have addresses left, no two of one follow each other."""
    addresses = [Address(family, ("::", place)) for place, family in enumerate(families)]

    ordered = alternating(addresses)

    assert sorted(a.sockaddr[1] for a in ordered) == list(range(len(addresses)))
    assert ordered[:1] == addresses[:1]
    for family in (FOUR, SIX):
        own = [a for a in ordered if a.family == family]
        assert own == [a for a in addresses if a.family == family]
    both = 2 * min(families.count(FOUR), families.count(SIX))
    assert all(a.family != b.family for a, b in pairwise(ordered[:both]))


@pytest.mark.anyio
@pytest.mark.real_loop
@pytest.mark.parametrize(("host", "sockaddr"), [("127.0.0.1", ("127.0.0.1", 80)), ("::1", ("::1", 80, 0, 0))])
async def test_an_address_needs_no_resolver(hanging: HangingResolver, host: str, sockaddr: Any) -> None:
    assert [found.sockaddr for found in await Resolver().resolve(host, 80)] == [sockaddr]
    assert hanging.asked == []


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_all_who_ask_for_a_name_share_one_lookup(hanging: HangingResolver) -> None:
    resolver = Resolver()
    askers = [asyncio.create_task(resolver.resolve("backend", 80)) for _ in range(50)]
    await asyncio.sleep(0)
    askers[0].cancel()  # the one whose lookup it is leaves

    hanging.release.set()

    results = await asyncio.gather(*askers, return_exceptions=True)
    assert {found[0].sockaddr for found in results[1:]} == {("127.0.0.1", 80)}  # type: ignore[index]
    assert hanging.asked == ["backend"]


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_a_resolver_that_hangs_costs_its_limit_once(hanging: HangingResolver) -> None:
    """The limit counts from the first asker; who comes after it is told at once, and other names go on."""
    resolver, loop = Resolver(timeout=0.2), asyncio.get_running_loop()
    with pytest.raises(socket.gaierror, match=r"did not answer within 0\.2 s"):
        await resolver.resolve("backend", 80)

    began = loop.time()
    with pytest.raises(socket.gaierror, match=r"did not answer within 0\.2 s"):
        await resolver.resolve("backend", 80)

    assert loop.time() - began < 0.1
    assert hanging.asked == ["backend"]


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_a_resolver_that_comes_back_is_asked_again(hanging: HangingResolver) -> None:
    resolver = Resolver(timeout=0.05)
    with pytest.raises(socket.gaierror):
        await resolver.resolve("backend", 80)

    hanging.release.set()
    async with asyncio.timeout(10):
        while resolver._lookups:  # noqa: ASYNC110  # it ends in a thread
            await asyncio.sleep(0.001)

    assert (await resolver.resolve("backend", 80))[0].sockaddr == ("127.0.0.1", 80)


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_a_name_that_cannot_be_one_has_no_address() -> None:
    with pytest.raises(socket.gaierror):
        await Resolver().resolve("a" * 300 + ".invalid", 80)

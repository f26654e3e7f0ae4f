"""Turns between tenants."""

from __future__ import annotations

from collections import Counter

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.qos.fair_queueing import Turns, displaced_by, in_turn


class Request(msgspec.Struct, frozen=True):
    tenant: str
    urgency: tuple[float, float, int]


def requests(tenants: str) -> list[Request]:
    """One for each letter, the first the most urgent."""
    return [Request(tenant, (float(at), 0.0, at)) for at, tenant in enumerate(tenants)]


def order(waiting: list[Request], turns: Turns) -> str:
    """Serves all of *waiting*."""
    served = ""
    while waiting:
        chosen = in_turn(waiting, turns.ahead)[0]
        waiting.remove(chosen)
        turns.serve(chosen.tenant, last=not waiting)
        served += chosen.tenant
    return served


def test_who_asks_once_waits_for_one_of_many() -> None:
    assert order(requests("AAAAAAB"), Turns()) == "ABAAAAA"


def test_tenants_alternate() -> None:
    assert order(requests("AAABBBC"), Turns()) == "ABCABAB"


def test_being_away_gains_nothing() -> None:
    """B had nothing to ask while A was served ten times among others; its turns do not add up."""
    turns = Turns()
    for _ in range(10):
        turns.serve("A", last=False)

    assert order(requests("AAABBB"), turns) == "BABABA"


def test_after_a_busy_period_all_are_equal() -> None:
    turns = Turns()
    turns.serve("A", last=False)
    turns.serve("A", last=True)

    assert turns.ahead == {}


many = st.text(alphabet="ABCDE", min_size=1, max_size=40)


@given(many)
def test_one_tenant_is_served_by_urgency_alone(tenants: str) -> None:
    waiting = requests("A" * len(tenants))

    assert in_turn(waiting, {}) == waiting


@given(many)
def test_the_order_that_is_told_is_the_order_that_is_served(tenants: str) -> None:
    """Who waits can be told how many are ahead."""
    waiting = requests(tenants)

    assert order(list(waiting), Turns()) == "".join(each.tenant for each in in_turn(waiting, {}))


@given(st.lists(st.one_of(st.sampled_from("ABCDE"), st.none()), max_size=200))
def test_no_tenant_that_waits_gets_two_turns_less_than_another(happenings: list[str | None]) -> None:
    """Goyal, theorem 1: over any time in which both wait, two tenants' turns differ by two at most."""
    turns, waiting, ticket = Turns(), list[Request](), 0
    served: dict[tuple[str, str], Counter[str]] = {}
    for happening in happenings:
        if happening is not None:
            ticket += 1
            waiting.append(Request(happening, (float(ticket), 0.0, ticket)))
            continue
        backlogged = {each.tenant for each in waiting}
        served = {
            pair: served.get(pair, Counter()) for pair in ((a, b) for a in backlogged for b in backlogged if a < b)
        }
        if not waiting:
            continue
        chosen = in_turn(waiting, turns.ahead)[0]
        waiting.remove(chosen)
        turns.serve(chosen.tenant, last=not waiting)
        for pair, counts in served.items():
            counts[chosen.tenant] += 1
            assert abs(counts[pair[0]] - counts[pair[1]]) <= 2


@given(st.lists(st.sampled_from("ABCDEFGHIJ"), max_size=200))
def test_what_is_remembered_is_bounded_by_who_is_ahead(served: list[str]) -> None:
    turns = Turns()
    for tenant in served:
        turns.serve(tenant, last=False)
        assert all(ahead > 0 for ahead in turns.ahead.values())


@given(many, st.sampled_from("ABCDEF"))
def test_a_full_queue_takes_from_who_has_most(tenants: str, newcomer: str) -> None:
    """Never from one who would then have fewer than the newcomer, and the least urgent of its requests."""
    waiting, counts = requests(tenants), Counter(tenants)

    leaving = displaced_by(Request(newcomer, (-1.0, 0.0, -1)), waiting)

    if leaving is None:
        assert max(counts.values()) <= counts[newcomer] + 1
    else:
        assert counts[leaving.tenant] == max(counts.values()) > counts[newcomer] + 1
        assert leaving is [each for each in waiting if each.tenant == leaving.tenant][-1]
